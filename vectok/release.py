"""Packs the trained parts of one profile into a folder that can be published and that ``vectok.load(path)`` takes.

``python -m vectok.release --profile embedded`` writes dist/vectok-embedded/: the encoder's name, hash and statistics,
the codebook, the BPE model, the codec and the vocoder, the language model and CLVP once their stages have run, a model
card, and SHA256SUMS over all of it (``sha256sum -c`` reads it too). Weights are safetensors, settings are JSON, nothing
is pickled.
"""

import argparse
import hashlib
import json
import shutil
import sys
from math import prod
from pathlib import Path
from typing import NamedTuple

from safetensors import safe_open

from vectok.folders import replacing
from vectok.layout import REPOSITORY, reports_folder, stage_folder
from vectok.model_card import model_card

HASHES = "SHA256SUMS"


class Parts(NamedTuple):
    """The folders that make up one system."""

    encoder: Path
    kmeans: Path
    bpe: Path
    codec: Path
    vocoder: Path


class LanguageParts(NamedTuple):
    """The folders that make a system speak texts, beside its :class:`Parts`."""

    lm: Path
    clvp: Path


# What a release takes of each part: never the discriminators, never the corpus' tokens.
FILES = Parts(
    encoder=("config.json", "statistics.safetensors"),
    kmeans=("config.json", "codebook.safetensors"),
    bpe=("config.json", "bpe.model"),
    codec=("config.json", "model.safetensors"),
    vocoder=("config.json", "model.safetensors"),
)
LANGUAGE_FILES = LanguageParts(
    lm=("config.json", "vocabulary.json", "model.safetensors"),
    clvp=("config.json", "vocabulary.json", "model.safetensors"),
)
STAGES = Parts(encoder="features", kmeans="kmeans", bpe="bpe", codec="codec", vocoder="vocoder_tuning")


def parts_of_profile(profile: str) -> Parts:
    """Where the stages of a profile leave their parts.

    Raises:
        ValueError: A stage has not run; all such stages are named.
    """
    parts = Parts(*(stage_folder(profile, stage) for stage in STAGES))
    parts = parts._replace(encoder=parts.encoder / "encoder")
    missing = [stage for stage, part, files in zip(STAGES, parts, FILES, strict=True) if not _has_all(part, files)]
    if missing:
        raise ValueError(f"profile {profile} lacks what the stages {', '.join(missing)} make: run `make repro` first")
    return parts


def language_parts_of_profile(profile: str) -> LanguageParts:
    """Where the stages of a profile leave its language models.

    Raises:
        ValueError: A stage has not run; all such stages are named.
    """
    parts = LanguageParts(*(stage_folder(profile, stage) for stage in LanguageParts._fields))
    if missing := _missing(parts):
        raise ValueError(
            f"profile {profile} has no language models, it lacks what the stages {', '.join(missing)} make: "
            "run `make repro` first"
        )
    return parts


def language_parts_of_release(folder: Path) -> LanguageParts:
    """The language models of a release whose hashes :func:`parts_of_release` has checked.

    Raises:
        ValueError: It was packed without them.
    """
    parts = LanguageParts(*(folder / name for name in LanguageParts._fields))
    if missing := _missing(parts):
        raise ValueError(f"{folder}: packed without {' and '.join(missing)}: run the stages, then `make release`")
    return parts


def _missing(parts: LanguageParts) -> list[str]:
    """Names of the language parts whose files are not all there."""
    named = zip(LanguageParts._fields, parts, LANGUAGE_FILES, strict=True)
    return [name for name, part, files in named if not _has_all(part, files)]


def _has_all(folder: Path, files: tuple[str, ...]) -> bool:
    return all((folder / name).is_file() for name in files)


def parts_of_release(folder: Path) -> Parts:
    """The parts of a packed release, once every file has the hash that SHA256SUMS states.

    Raises:
        ValueError: The folder is no release, or a file is missing or changed.
    """
    if not (folder / HASHES).is_file():
        raise ValueError(f"{folder}: expected a release with {HASHES}, got none: make one with `make release`")
    stated = dict(reversed(line.split("  ", 1)) for line in (folder / HASHES).read_text("utf-8").splitlines())
    for name, expected in stated.items():
        path = folder / name
        if not path.is_file() or sha256_of(path) != expected:
            raise ValueError(f"{path}: missing or not the published file: fetch the release again")
    parts = Parts(*(folder / name for name in Parts._fields))
    listed = {f"{part}/{name}" for part, files in zip(Parts._fields, FILES, strict=True) for name in files}
    for part, files in zip(LanguageParts._fields, LANGUAGE_FILES, strict=True):
        listed |= {f"{part}/{name}" for name in files if (folder / part).is_dir()}
    if unlisted := sorted(listed - stated.keys()):
        raise ValueError(f"{folder}: {HASHES} does not name {', '.join(unlisted)}: fetch the release again")
    return parts


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def n_parameters(weights: Path) -> int:
    """Numbers in a safetensors file, counted from its header."""
    with safe_open(weights, "pt") as file:
        names = file.keys()
        return sum(prod(file.get_slice(name).get_shape()) for name in names)


def _describe(folders: dict[str, Path]) -> dict[str, object]:
    """What the model card says of each part, read from the files."""
    configs = {name: json.loads((part / "config.json").read_text("utf-8")) for name, part in folders.items()}
    for name, part in folders.items():
        if (part / "model.safetensors").is_file():
            configs[name]["n_parameters"] = n_parameters(part / "model.safetensors")
    return configs


def _language_folders(profile: str) -> dict[str, Path]:
    """The profile's language models by name, none while their stages have not run."""
    try:
        return language_parts_of_profile(profile)._asdict()
    except ValueError as error:
        print(f"packed without language models: {error}", file=sys.stderr)
        return {}


def _metrics(profile: str) -> dict[str, object]:
    """What the profile's stages measured, by stage."""
    files = sorted((reports_folder(profile) / "metrics").glob("*.json"))
    return {path.stem: json.loads(path.read_text("utf-8")) for path in files}


def pack(profile: str, folder: Path) -> Path:
    """Writes the release of a profile into ``folder``, whole or not at all, and checks it.

    Raises:
        ValueError: A stage has not run.
    """
    folders, metrics = parts_of_profile(profile)._asdict() | _language_folders(profile), _metrics(profile)
    wanted = FILES._asdict() | LANGUAGE_FILES._asdict()
    with replacing(folder) as partial:
        for name, source in folders.items():
            (partial / name).mkdir()
            for file in wanted[name]:
                shutil.copyfile(source / file, partial / name / file)
        (partial / "README.md").write_text(model_card(profile, _describe(folders), metrics), encoding="utf-8")
        (partial / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        files = sorted(path for path in partial.rglob("*") if path.is_file())
        lines = [f"{sha256_of(path)}  {path.relative_to(partial).as_posix()}\n" for path in files]
        (partial / HASHES).write_text("".join(lines), encoding="utf-8")
    parts_of_release(folder)
    return folder


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m vectok.release", description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="embedded", help="a key of profiles in params.yaml")
    parser.add_argument("--out", type=Path, help="folder to write, dist/vectok-<profile> by default")
    arguments = parser.parse_args()
    try:
        folder = pack(arguments.profile, arguments.out or REPOSITORY / "dist" / f"vectok-{arguments.profile}")
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(f"{folder}: try vectok.load({str(folder)!r})")


if __name__ == "__main__":
    main()
