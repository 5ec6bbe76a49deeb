"""The verbs of the command ``vectok`` that need the language models: say, translate, continue, transcribe."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vectok import audio

if TYPE_CHECKING:
    from vectok.language import LanguageSystem, Spoken

SUFFIXES = (".wav", ".flac", ".ogg")


def _write(spoken: "Spoken", output: Path) -> int:
    """Writes the audio and says what it holds."""
    audio.write(output, spoken.audio)
    ended = "" if spoken.stopped else " (a part ran on and was cut)"
    print(f"{output}: {spoken.text or 'goes on'}{ended}", file=sys.stderr)
    return 0


def say(arguments: argparse.Namespace, system: "LanguageSystem") -> int:
    """``vectok say``."""
    text = arguments.text
    spoken = system.say(
        text, arguments.language, arguments.voice, arguments.style, arguments.candidates, arguments.seed
    )
    return _write(spoken, arguments.out)


def translate(arguments: argparse.Namespace, system: "LanguageSystem") -> int:
    """``vectok translate``."""
    spoken = system.translate(
        arguments.input, arguments.source, arguments.target, arguments.voice, arguments.candidates, arguments.seed
    )
    return _write(spoken, arguments.out)


def carry_on(arguments: argparse.Namespace, system: "LanguageSystem") -> int:
    """``vectok continue``."""
    spoken = system.continue_speech(
        arguments.input, arguments.language, arguments.seconds, arguments.candidates, arguments.seed
    )
    return _write(spoken, arguments.out)


def transcribe(arguments: argparse.Namespace, system: "LanguageSystem") -> int:
    """``vectok transcribe``: one line an input; inputs that cannot be read are named, the rest goes on."""
    system.tasks.check("asr", arguments.language)
    n_failed = 0
    for path in arguments.inputs:
        try:
            text = system.transcribe(path, arguments.language)
            print(text if len(arguments.inputs) == 1 else f"{path}\t{text}")
        except (ValueError, OSError) as error:
            n_failed += 1
            print(f"error: {error}", file=sys.stderr)
    return n_failed


def _output(value: str) -> Path:
    """A sound file's path."""
    path = Path(value)
    if path.suffix.lower() not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"{value}: expected a file ending in {', '.join(SUFFIXES)}")
    return path


def _positive(value: str) -> int:
    """A number of candidates."""
    if not value.isdigit() or not 1 <= int(value) <= 1024:
        raise argparse.ArgumentTypeError(f"{value}: expected a whole number from 1 to 1024")
    return int(value)


def _add_sounding(parser: argparse.ArgumentParser) -> None:
    """What all verbs take that make sound."""
    parser.add_argument("-o", "--out", type=_output, required=True, help="sound file to write (.wav, .flac, .ogg)")
    parser.add_argument("--candidates", type=_positive, default=16, help="sampled, one is chosen (default: 16)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise: same seed, same speech")


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="embedded", help="a profile, or the folder of a release (default: embedded)")


def add_verbs(verbs: argparse._SubParsersAction) -> None:
    """Adds the four verbs to the command's parser."""
    saying = verbs.add_parser("say", help="text to speech", description="Says a text in the voice of a recording.")
    saying.add_argument("text", help="what is to be said")
    saying.add_argument("--language", required=True, help="of the text: a code such as en")
    saying.add_argument("--voice", type=Path, required=True, help="1 to 30 s of the voice to speak with")
    saying.add_argument("--style", type=Path, help="1 to 30 s of how to say it (default: the voice itself)")
    translating = verbs.add_parser("translate", help="speech to speech in another language", description="Translates.")
    translating.add_argument("input", type=Path, help="recording of 0.4 to 30 s")
    translating.add_argument("--from", dest="source", required=True, help="language of the recording")
    translating.add_argument("--to", dest="target", required=True, help="language to say it in")
    translating.add_argument("--voice", type=Path, help="1 to 30 s of another voice (default: the recording's own)")
    continuing = verbs.add_parser("continue", help="speech that goes on", description="Goes on where a recording ends.")
    continuing.add_argument("input", type=Path, help="recording of 1 to 30 s")
    continuing.add_argument("--language", required=True, help="of the recording")
    continuing.add_argument("--seconds", type=float, default=5.0, help="to generate, at most 20 (default: 5)")
    reading = verbs.add_parser("transcribe", help="speech to text", description="Writes what recordings say.")
    reading.add_argument("inputs", nargs="+", type=Path, help="recordings of 0.4 to 30 s")
    reading.add_argument("--language", required=True, help="of the recordings")
    for parser, run in ((saying, say), (translating, translate), (continuing, carry_on), (reading, transcribe)):
        if parser is not reading:
            _add_sounding(parser)
        _add_model(parser)
        parser.set_defaults(run=run, speaks=True)
