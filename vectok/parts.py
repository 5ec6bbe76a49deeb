"""The folders that make up a system: where the stages of a profile leave them, and where a release has them.

A release is a folder with SHA256SUMS over all of its files; :mod:`vectok.release` packs one.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

from vectok.layout import stage_folder

HASHES = "SHA256SUMS"


class Parts(NamedTuple):
    """The folders that make up one system."""

    encoder: Path
    kmeans: Path
    bpe: Path
    codec: Path
    vocoder: Path

    @property
    def home(self) -> Path:
        """The folder of the profile or of the release, which may hold what a system can do without, too."""
        return self.bpe.parent


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
    lm=("config.json", "vocabulary.json", "model.safetensors", "bpe.model", "memory.json"),
    clvp=("config.json", "vocabulary.json", "model.safetensors"),
)
BITSTREAM, VOICES = "bitstream", "voices"  # folders of a home: the coder of .vtok files, voices to anonymise with
PRODUCT_FILES = {BITSTREAM: ("config.json", "model.safetensors"), VOICES: ("config.json", "voices.safetensors")}
STAGES = Parts(encoder="features", kmeans="kmeans", bpe="bpe", codec="codec", vocoder="vocoder_tuning")


def parts_of_profile(profile: str) -> Parts:
    """Where the stages of a profile leave their parts.

    Raises:
        ValueError: A stage has not run; all such stages are named.
    """
    parts = Parts(*(stage_folder(profile, stage) for stage in STAGES))
    parts = parts._replace(encoder=parts.encoder / "encoder")
    missing = [stage for stage, part, files in zip(STAGES, parts, FILES, strict=True) if not has_all(part, files)]
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
    return [name for name, part, files in named if not has_all(part, files)]


def has_all(folder: Path, files: tuple[str, ...]) -> bool:
    """Whether a folder holds all of some files."""
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
    for part, files in (LANGUAGE_FILES._asdict() | PRODUCT_FILES).items():
        listed |= {f"{part}/{name}" for name in files if (folder / part).is_dir()}
    if unlisted := sorted(listed - stated.keys()):
        raise ValueError(f"{folder}: {HASHES} does not name {', '.join(unlisted)}: fetch the release again")
    return parts


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
