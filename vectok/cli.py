"""The command ``vectok``: encodes, decodes and converts files and whole folders, says texts and translates speech.

Each input that cannot be used is reported by name and the rest goes on; the exit code is then 1. Outputs are written
beside their place first, so that an interrupted run leaves no half-written file.
"""

import argparse
import os
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from vectok import audio, cli_language

if TYPE_CHECKING:
    from vectok.api import VecTok
    from vectok.language import LanguageSystem

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus", ".aac", ".aif", ".aiff", ".g722", ".als", ".webm")
TOKEN_SUFFIX = ".npz"


class Job(NamedTuple):
    """One input and where its output goes."""

    source: Path
    output: Path


def find_jobs(inputs: Sequence[Path], out: Path, suffixes: tuple[str, ...], new_suffix: str) -> list[Job]:
    """Files as they are and folders searched through, each with its output under ``out``.

    What lies in a folder keeps its place below it.

    Raises:
        ValueError: Nothing to do, two inputs with one output, or an output that would replace an input.
    """
    jobs = []
    for given in inputs:
        found = _files_below(given, out, suffixes) if given.is_dir() else [given]
        base = given if given.is_dir() else given.parent
        jobs += [Job(path, out / path.relative_to(base).with_suffix(new_suffix)) for path in found]
    if not jobs:
        raise ValueError(f"{', '.join(map(str, inputs))}: no file with one of {', '.join(suffixes)}: check the path")
    taken: dict[Path, Path] = {}
    for source, output in jobs:
        if (other := taken.setdefault(output, source)) != source:
            raise ValueError(f"{source} and {other} would both become {output}: convert them into two folders")
    sources = {source.resolve() for source, _ in jobs}
    if clash := [str(output) for _, output in jobs if output.resolve() in sources]:
        raise ValueError(f"{clash[0]} is an input and would be replaced: choose another --out")
    return jobs


def _files_below(folder: Path, out: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files of a folder by suffix, without the outputs of an earlier run when ``out`` lies inside it."""
    inside = out.resolve() if folder.resolve() in out.resolve().parents else None
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    return [path for path in found if inside is None or inside not in path.resolve().parents]


def run_jobs(jobs: list[Job], work: Callable[[Path, Path], None], label: str) -> int:
    """Does every job; reports those that fail by name, and returns how many did."""
    n_failed = 0
    for source, output in tqdm(jobs, desc=label, unit="file", disable=len(jobs) == 1):
        try:
            work(source, output)
        except (ValueError, OSError, RuntimeError, zipfile.BadZipFile) as error:
            n_failed += 1
            text = str(error) if str(error).startswith(str(source)) else f"{source}: {error}"
            tqdm.write(f"error: {text}", file=sys.stderr)
    print(f"{len(jobs) - n_failed} of {len(jobs)} files done", file=sys.stderr)
    return n_failed


def write_tokens(model: "VecTok", source: Path, output: Path, with_vectors: bool) -> None:
    """Encodes one recording into ``.npz``: tokens, pieces, n_samples, codebook hash, vectors when asked for."""
    samples = audio.read(source)
    encoding = model.encode(samples)
    arrays = {
        "tokens": encoding.tokens.numpy().astype(np.uint16),
        "pieces": encoding.pieces.numpy().astype(np.uint16),
        "n_samples": np.int64(len(samples)),
        "codebook_sha256": np.str_(model.codebook_hash),
    }
    if with_vectors:
        arrays["vectors"] = encoding.vectors.numpy().astype(np.float16)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            np.savez_compressed(file, **arrays)
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)


def read_tokens(path: Path, codebook_hash: str) -> tuple[torch.Tensor, int]:
    """Tokens and number of samples of a file that :func:`write_tokens` wrote.

    Raises:
        ValueError: It is no such file, or belongs to another codebook.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in ("tokens", "n_samples", "codebook_sha256")}
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: expected a token file of `vectok encode`, got something else ({error})") from error
    if str(found["codebook_sha256"]) != codebook_hash:
        raise ValueError(f"{path}: made with another codebook than this model's: encode the recording again")
    return torch.from_numpy(found["tokens"].astype(np.int64)), int(found["n_samples"])


def encode(arguments: argparse.Namespace, model: "VecTok") -> int:
    """``vectok encode``."""
    jobs = find_jobs(arguments.inputs, arguments.out, AUDIO_SUFFIXES, TOKEN_SUFFIX)
    return run_jobs(jobs, lambda source, output: write_tokens(model, source, output, arguments.vectors), "encode")


def decode(arguments: argparse.Namespace, model: "VecTok") -> int:
    """``vectok decode``."""
    jobs = find_jobs(arguments.inputs, arguments.out, (TOKEN_SUFFIX,), f".{arguments.format}")
    prompt = model.prompt_vectors(arguments.prompt)

    def work(source: Path, output: Path) -> None:
        tokens, n_samples = read_tokens(source, model.codebook_hash)
        audio.write(output, model.decode(tokens, prompt)[:n_samples])

    return run_jobs(jobs, work, "decode")


def convert(arguments: argparse.Namespace, model: "VecTok") -> int:
    """``vectok convert``."""
    jobs = find_jobs(arguments.inputs, arguments.out, AUDIO_SUFFIXES, f".{arguments.format}")
    target = model.prompt_vectors(arguments.target)
    return run_jobs(jobs, lambda source, output: audio.write(output, model.convert(source, target)), "convert")


def _add_common(parser: argparse.ArgumentParser, inputs: str) -> None:
    """What all three verbs take."""
    parser.add_argument("inputs", nargs="+", type=Path, help=inputs)
    parser.add_argument("--out", type=Path, required=True, help="folder that receives one output for each input")
    parser.add_argument("--model", default="embedded", help="a profile, or the folder of a release (default: embedded)")


def build_parser() -> argparse.ArgumentParser:
    """The command line of all verbs."""
    parser = argparse.ArgumentParser(
        prog="vectok", description="Speech to tokens, to other voices, languages and texts."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
    encoding = verbs.add_parser("encode", help="recordings to tokens (.npz)", description="Recordings to tokens.")
    _add_common(encoding, "recordings, or folders of them")
    encoding.add_argument("--vectors", action="store_true", help="keep the speech vectors too (fp16, 51 kB a second)")
    encoding.set_defaults(run=encode)
    decoding = verbs.add_parser("decode", help="tokens to audio", description="Tokens to audio in a prompt's voice.")
    _add_common(decoding, "token files (.npz), or folders of them")
    decoding.add_argument("--prompt", type=Path, required=True, help="a second or more of the voice to speak with")
    decoding.set_defaults(run=decode)
    converting = verbs.add_parser("convert", help="recordings to another voice", description="Voice conversion.")
    _add_common(converting, "recordings, or folders of them")
    converting.add_argument("--target", type=Path, required=True, help="a second or more of the target's voice")
    converting.set_defaults(run=convert)
    for sounding in (decoding, converting):
        sounding.add_argument("--format", choices=("wav", "flac", "ogg"), default="wav", help="of the outputs")
    cli_language.add_verbs(verbs)
    return parser


def _model(parsed: argparse.Namespace) -> "VecTok | LanguageSystem":
    """What the verb works with; imported after the arguments are read, so that --help does not wait for it."""
    if getattr(parsed, "speaks", False):
        from vectok.language import load_language

        return load_language(parsed.model)
    from vectok.api import load

    return load(parsed.model)


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
