"""Music to hide speech under: the on-hold recordings of Asterisk, where a package of them can be had."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from vectok import audio
from vectok.corpus.archives import ArchiveError, unpack
from vectok.corpus.hashes import sha256
from vectok.corpus.sources import Archive, Finder, SourceError, fetch_apt

PACKAGE = "asterisk-moh-opsound-g722"
ARCHIVE = Archive(pattern=f"{PACKAGE}_*.deb", package=PACKAGE)
SHA256 = "8d6b39d6f2e8feff54a042c4a25e1b72f3e2478d05ee372c92f77446fa0b1671"  # of version 2.03-1.1
LICENCE = "CC-BY-SA-3.0"
FOLDER = "usr/share/asterisk/moh/"


def fetch_music(into: Path, downloads: Path) -> list[Path]:
    """The recordings, unpacked below ``into``: from the downloads folder, or else by apt without root.

    Raises:
        SourceError: Neither has the package, or it is another one than is known.
    """
    package = Finder(downloads, {"apt": fetch_apt}).find(ARCHIVE)
    if (found := sha256(package)) != SHA256:
        raise SourceError(f"{package}: expected SHA-256 {SHA256}, got {found}: remove it and run again")
    try:
        written = unpack([package], into, _place)
    except ArchiveError as error:
        raise SourceError(str(error)) from None
    return sorted(written)


def _place(member: str) -> str | None:
    """Where a member goes: recordings by their own name, all else nowhere.

    Example:
        >>> _place("usr/share/asterisk/moh/reno_project-system.g722"), _place("usr/share/doc/x")
        ('reno_project-system.g722', None)
    """
    return member.removeprefix(FOLDER) if member.startswith(FOLDER) and member.endswith(".g722") else None


def read_music(paths: list[Path], seconds: float) -> list[Float[Tensor, " _samples"]]:
    """Some seconds of each recording, after its first ten, in which it may begin quietly.

    Arguments:
        paths: What :func:`fetch_music` gave.
        seconds: Of each, at most.
    """
    found = [audio.read(path, 10.0, 10.0 + seconds) for path in paths]
    return [part / part.abs().max().clamp(min=1e-6) for part in found if isinstance(part, torch.Tensor)]
