"""The command ``vectok``: encodes, decodes, converts, anonymises and mends files and folders, says texts, translates.

Each input that cannot be used is reported by name and the rest goes on; the exit code is then 1. Outputs are written
beside their place first, so that an interrupted run leaves no half-written file.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vectok import audio, cli_language, cli_tasks
from vectok.cli_jobs import AUDIO_SUFFIXES, Job, add_common, add_format, add_guidance, find_jobs, run_jobs

if TYPE_CHECKING:
    from vectok.api import VecTok
    from vectok.language import LanguageSystem

TOKEN_SUFFIX, VECTOR_SUFFIX = ".vtok", ".safetensors"


def encode(arguments: argparse.Namespace, model: "VecTok") -> int:
    """``vectok encode``."""
    import safetensors.torch

    from vectok.bitstream import files, stream, systems

    jobs = find_jobs(arguments.inputs, arguments.out, AUDIO_SUFFIXES, TOKEN_SUFFIX)
    coder = systems.coder_of(model)
    stream.Writer(coder, arguments.language).start()  # a language that is no code is an error once, not once a file
    given = None if arguments.prompt is None else model.prompt_vectors(arguments.prompt)
    seconds = arguments.prompt_seconds or systems.PROMPT_SECONDS

    def work(job: Job) -> None:
        samples = audio.read(job.source)
        encoding = model.encode(samples)
        prompt = encoding.vectors if given is None and arguments.prompt_seconds else given
        content = systems.content_of(model, coder, encoding, len(samples), arguments.language, prompt, seconds)
        files.write(job.output, coder, content)
        if arguments.vectors:
            data = safetensors.torch.save({"vectors": encoding.vectors.half().contiguous()})
            files.write_bytes(job.output.with_suffix(VECTOR_SUFFIX), data)

    return run_jobs(jobs, work, "encode")


def decode(arguments: argparse.Namespace, model: "VecTok") -> int:
    """``vectok decode``."""
    from vectok.bitstream import files, systems

    jobs = find_jobs(arguments.inputs, arguments.out, (TOKEN_SUFFIX,), f".{arguments.format}")
    coder = systems.coder_of(model)
    prompt = None if arguments.prompt is None else model.prompt_vectors(arguments.prompt)

    def work(job: Job) -> None:
        audio.write(job.output, systems.decode(model, coder, files.read(job.source, coder), prompt))

    return run_jobs(jobs, work, "decode")


def convert(arguments: argparse.Namespace, model: "VecTok") -> int:
    """``vectok convert``."""
    jobs = find_jobs(arguments.inputs, arguments.out, AUDIO_SUFFIXES, f".{arguments.format}")
    target = model.prompt_vectors(arguments.target)
    return run_jobs(jobs, lambda job: audio.write(job.output, model.convert(job.source, target)), "convert")


def _prompt_seconds(value: str) -> float:
    """How much of a prompt a file keeps."""
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 30:
        raise argparse.ArgumentTypeError(f"{value}: expected 1 to 30 seconds")
    return seconds


def _add_encode(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser(
        "encode",
        help="recordings to token files (.vtok)",
        description="Recordings to .vtok files: tokens, entropy-coded, and the voice to say them with if wished.",
    )
    add_common(parser, "recordings, or folders of them")
    parser.add_argument(
        "--prompt-seconds",
        type=_prompt_seconds,
        metavar="SECONDS",
        help="keep the voice in the file, so that it decodes on its own: the recording's own mean and this much of its "
        "beginning, as tokens (1 to 30; the paper's prompts have 3)",
    )
    parser.add_argument("--prompt", type=Path, help="keep this recording's voice in the files instead of their own")
    parser.add_argument("--language", default="", help="code that the files state, such as en (default: none)")
    parser.add_argument(
        "--vectors", action="store_true", help="write the speech vectors beside (.safetensors, fp16, 51 kB a second)"
    )
    parser.set_defaults(run=encode)


def _add_decode(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser(
        "decode",
        help="token files (.vtok) to audio",
        description="Token files to audio, in the voice that a file keeps or in that of a prompt.",
    )
    add_common(parser, "token files (.vtok), or folders of them")
    parser.add_argument("--prompt", type=Path, help="a second or more of the voice to speak with (default: the file's)")
    add_guidance(parser)
    add_format(parser)
    parser.set_defaults(run=decode)


def _add_convert(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("convert", help="recordings to another voice", description="Voice conversion.")
    add_common(parser, "recordings, or folders of them")
    parser.add_argument("--target", type=Path, required=True, help="a second or more of the target's voice")
    add_guidance(parser)
    add_format(parser)
    parser.set_defaults(run=convert)


def build_parser() -> argparse.ArgumentParser:
    """The command line of all verbs."""
    parser = argparse.ArgumentParser(
        prog="vectok", description="Speech to tokens, to other voices, languages and texts."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
    for add in (_add_encode, _add_decode, _add_convert, cli_tasks.add_verbs, cli_language.add_verbs):
        add(verbs)
    return parser


def _model(parsed: argparse.Namespace) -> "VecTok | LanguageSystem":
    """What the verb works with; imported after the arguments are read, so that --help does not wait for it."""
    if getattr(parsed, "speaks", False):
        from vectok.language import load_language

        return load_language(parsed.model)
    from vectok.api import load

    model = load(parsed.model)
    if getattr(parsed, "guidance", None) is not None:
        model.guidance = parsed.guidance
    return model


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; returns 0, or 1 when anything failed."""
    parsed = build_parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed, _model(parsed)) > 0)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
