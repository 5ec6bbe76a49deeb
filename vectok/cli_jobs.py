"""What the verbs of the command ``vectok`` share that turn files and folders into other files."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus", ".aac", ".aif", ".aiff", ".g722", ".als", ".webm")


class Job(NamedTuple):
    """One input, where its output goes, and its place below the folder that was given, without a suffix."""

    source: Path
    output: Path
    place: Path


def find_jobs(inputs: Sequence[Path], out: Path, suffixes: tuple[str, ...], new_suffix: str) -> list[Job]:
    """Files as they are and folders searched through, each with its output under ``out``.

    What lies in a folder keeps its place below it.

    Raises:
        ValueError: Nothing to do, two inputs with one output, or an output that would replace an input.
    """
    jobs = []
    for given in inputs:
        found = files_below(given, out, suffixes) if given.is_dir() else [given]
        base = given if given.is_dir() else given.parent
        places = [path.relative_to(base).with_suffix("") for path in found]
        outputs = [out / place.with_name(place.name + new_suffix) for place in places]
        jobs += map(Job, found, outputs, places)
    if not jobs:
        raise ValueError(f"{', '.join(map(str, inputs))}: no file with one of {', '.join(suffixes)}: check the path")
    taken: dict[Path, Path] = {}
    for source, output, _ in jobs:
        if (other := taken.setdefault(output, source)) != source:
            raise ValueError(f"{source} and {other} would both become {output}: convert them into two folders")
    sources = {source.resolve() for source, *_ in jobs}
    if clash := [str(output) for _, output, _ in jobs if output.resolve() in sources]:
        raise ValueError(f"{clash[0]} is an input and would be replaced: choose another --out")
    return jobs


def files_below(folder: Path, out: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files of a folder by suffix, without the outputs of an earlier run when ``out`` lies inside it."""
    inside = out.resolve() if folder.resolve() in out.resolve().parents else None
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    return [path for path in found if inside is None or inside not in path.resolve().parents]


def run_jobs(jobs: list[Job], work: Callable[[Job], None], label: str) -> int:
    """Does every job; reports those that fail by name, and returns how many did."""
    n_failed = 0
    for job in tqdm(jobs, desc=label, unit="file", disable=len(jobs) == 1):
        try:
            work(job)
        except (ValueError, OSError, RuntimeError) as error:
            n_failed += 1
            text = str(error) if str(error).startswith(str(job.source)) else f"{job.source}: {error}"
            tqdm.write(f"error: {text}", file=sys.stderr)
    print(f"{len(jobs) - n_failed} of {len(jobs)} files done", file=sys.stderr)
    return n_failed


def add_common(parser: argparse.ArgumentParser, inputs: str) -> None:
    """What all these verbs take.

    Arguments:
        parser: Of the verb.
        inputs: What the inputs are, for the help.
    """
    parser.add_argument("inputs", nargs="+", type=Path, help=inputs)
    parser.add_argument("--out", type=Path, required=True, help="folder that receives one output for each input")
    parser.add_argument("--model", default="embedded", help="a profile, or the folder of a release (default: embedded)")


def add_format(parser: argparse.ArgumentParser) -> None:
    """What those take besides that make sound."""
    parser.add_argument("--format", choices=("wav", "flac", "ogg"), default="wav", help="of the outputs (default: wav)")


def add_guidance(parser: argparse.ArgumentParser, default: float | None = None) -> None:
    """What those take that say tokens in a given voice.

    Arguments:
        parser: Of the verb.
        default: Weight; the model's own where there is none.
    """
    usual = "the model's own" if default is None else f"{default:g}"
    parser.add_argument(
        "--guidance",
        type=float,
        default=default,
        metavar="WEIGHT",
        help="how far the voice goes away from the source's: 0 keeps most of the words, more changes more of the voice "
        f"(default: {usual})",
    )
