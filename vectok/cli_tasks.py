"""The verbs of the command ``vectok`` that say again what a recording says: anonymise, denoise, extend."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vectok import audio
from vectok.cli_jobs import AUDIO_SUFFIXES, Job, add_common, add_format, add_guidance, files_below, find_jobs, run_jobs

if TYPE_CHECKING:
    from vectok.api import VecTok

WORDS_FIRST = 0.0  # guidance: a prompt of the speaker, or a voice of training, needs none
METHODS, LEVELS = ("mix", "random", "fixed"), ("utterance", "speaker")  # those of vectok.tasks.anonymise


def _jobs(arguments: argparse.Namespace) -> list[Job]:
    return find_jobs(arguments.inputs, arguments.out, AUDIO_SUFFIXES, f".{arguments.format}")


def speaker_of(place: Path) -> str:
    """Who speaks in a recording: the first folder below the given one; nobody in particular directly in it.

    Example:
        >>> speaker_of(Path("84/121123/84-121123-0000")), speaker_of(Path("me"))
        ('84', '')
    """
    return place.parts[0] if len(place.parts) > 1 else ""


def anonymise(arguments: argparse.Namespace, model: "VecTok") -> int:
    """``vectok anonymise``."""
    from vectok.tasks import voices
    from vectok.tasks.anonymise import AnonymisationConfig, anonymise, draw

    jobs = _jobs(arguments)
    config = AnonymisationConfig(
        method=arguments.method, n_mixed=arguments.n_mixed, preservation=arguments.preservation,
        extrapolation=arguments.extrapolation, level=arguments.level, seed=arguments.seed,
    )  # fmt: skip
    if arguments.pool is None:
        pool = voices.of_home(model.home)
    elif arguments.pool.is_dir():
        pool = voices.RecordedVoices(model, files_below(arguments.pool, arguments.out, AUDIO_SUFFIXES))
    else:
        raise ValueError(f"{arguments.pool}: expected a folder with a recording a voice, got none: check the path")
    draw(list(pool), "", "", config)  # a pool too small is an error once, not once a file

    def work(job: Job) -> None:
        name, speaker = job.place.as_posix(), speaker_of(job.place)
        audio.write(job.output, anonymise(model, job.source, pool, config, name, speaker))

    return run_jobs(jobs, work, "anonymise")


def denoise(arguments: argparse.Namespace, model: "VecTok") -> int:
    """``vectok denoise``."""
    from vectok.tasks.denoise import denoise

    jobs, prompt = _jobs(arguments), model.prompt_vectors(arguments.prompt)

    def work(job: Job) -> None:
        audio.write(job.output, denoise(model, job.source, prompt, arguments.gate_first))

    return run_jobs(jobs, work, "denoise")


def extend(arguments: argparse.Namespace, model: "VecTok") -> int:
    """``vectok extend``."""
    from vectok.tasks.extend import extend

    jobs, prompt = _jobs(arguments), model.prompt_vectors(arguments.prompt)

    def work(job: Job) -> None:
        audio.write(job.output, extend(model, job.source, prompt, arguments.keep_below_hz))

    return run_jobs(jobs, work, "extend")


def _add_anonymise(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser(
        "anonymise",
        help="recordings in voices that nobody has",
        description="Recordings in the voice of a pseudo speaker. Words, timing and the course of the pitch stay, and "
        "still tell something of who spoke. The same names, pool and seed give the same voices: keep the seed to "
        "yourself.",
    )
    add_common(parser, "recordings, or folders of them")
    parser.add_argument(
        "--method",
        choices=METHODS,
        default="mix",
        help="a mixture of voices (default), one of them, or always the first",
    )
    parser.add_argument("--n-mixed", type=int, default=4, metavar="N", help="voices in a mixture (default: 4)")
    parser.add_argument(
        "--preservation", type=float, default=0.0, metavar="SHARE", help="of the source that stays, 0 to 1 (default: 0)"
    )
    parser.add_argument(
        "--extrapolation",
        type=float,
        default=0.0,
        metavar="E",
        help="of a mixture beyond its voices (default: 0)",
    )
    parser.add_argument(
        "--level",
        choices=LEVELS,
        default="utterance",
        help="whether a draw holds for an utterance (default), or for all of a speaker: the recordings of one folder "
        "directly below the given one",
    )
    parser.add_argument(
        "--pool",
        type=Path,
        help="folder with a recording a voice (default: pseudo voices of the model's training)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    add_guidance(parser, WORDS_FIRST)
    add_format(parser)
    parser.set_defaults(run=anonymise)


def _add_denoise(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser(
        "denoise",
        help="noisy recordings in a clean voice",
        description="Says again, in a voice that was recorded without noise, what is said in noisy recordings.",
    )
    add_common(parser, "noisy recordings, or folders of them")
    parser.add_argument(
        "--prompt", type=Path, required=True, help="a second or more of clean speech, the same speaker's or another's"
    )
    parser.add_argument(
        "--gate-first",
        action="store_true",
        help="take the tokens from the recording after spectral gating",
    )
    add_guidance(parser, WORDS_FIRST)
    add_format(parser)
    parser.set_defaults(run=denoise)


def _add_extend(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser(
        "extend",
        help="telephone-like recordings with the band above",
        description="Says again, in a voice that was recorded with the whole band up to 8 kHz, what narrow-band "
        "recordings say.",
    )
    add_common(parser, "narrow-band recordings, or folders of them")
    parser.add_argument(
        "--prompt",
        type=Path,
        required=True,
        help="a second or more of wide-band speech, the same speaker's or another's",
    )
    parser.add_argument(
        "--keep-below-hz",
        type=float,
        metavar="HZ",
        help="keep the recording itself below this frequency, such as 3800 at a sampling rate of 8 kHz (default: all "
        "is new)",
    )
    add_guidance(parser, WORDS_FIRST)
    add_format(parser)
    parser.set_defaults(run=extend)


def add_verbs(verbs: argparse._SubParsersAction) -> None:
    """Adds the three verbs to the command's parser."""
    for add in (_add_anonymise, _add_denoise, _add_extend):
        add(verbs)
