"""The corpus queen: dialogue of the game *Flight of the Amazon Queen*, by the seventy people its hero talks to.

All of it lies in one file: the letters QTBL, a version of nine bytes, the number of members, and of each member its
name (twelve bytes, filled with zeros), a byte, its place and its size (big-endian). Lines are MP3 at 11,025 Hz and
16 kbit/s, and their names say who speaks: the conversation (two signs), the sentence (four), P for whom the hero talks
to (J for the hero himself, who is left out), and the sentence's part. They have no texts here; as those of kde they
lend their voices.
"""

import re
import struct
from itertools import groupby
from pathlib import Path

from vectok.corpus import lent
from vectok.corpus.entries import Entry

DATA = "queen.1c"
LICENCE = "Flight-of-the-Amazon-Queen-License"
BANDWIDTH_HZ = 5_512  # half of 11,025 Hz
VOICE_SECONDS = 60.0  # of one conversation, at most
LINE = re.compile(r"([0-9A-Z]{2})([0-9A-Z]{4})P([0-9])\.SB")
_MAGIC, _HEADER, _MEMBER = b"QTBL", struct.Struct(">4s9xH"), struct.Struct(">12sxII")


def split_lines(folder: Path) -> None:
    """Replaces ``<folder>/queen.1c`` by the lines in it, ``<folder>/en/<conversation>/<sentence>-<part>.mp3``.

    Raises:
        ValueError: It is no such file, or broken: a member lies outside of it.
    """
    path = folder / DATA
    content = path.read_bytes()
    if len(content) < _HEADER.size or not content.startswith(_MAGIC):
        raise ValueError(f"{path}: expected the data of the talking version, which begins with QTBL: fetch it again")
    n_members = _HEADER.unpack_from(content)[1]
    if _HEADER.size + n_members * _MEMBER.size > len(content):
        raise ValueError(f"{path}: is cut short within its table of {n_members} members: fetch it again")
    for number in range(n_members):
        raw, start, size = _MEMBER.unpack_from(content, _HEADER.size + number * _MEMBER.size)
        if not (found := LINE.fullmatch(raw.rstrip(b"\0").decode("ascii", "replace"))):
            continue
        if start + size > len(content):
            raise ValueError(f"{path}: is cut short: {found[0]} ends at {start + size} of {len(content)} bytes")
        line = folder / "en" / found[1] / f"{found[2]}-{found[3]}.mp3"
        line.parent.mkdir(parents=True, exist_ok=True)
        line.write_bytes(content[start : start + size])
    path.unlink()


def read_queen(folder: Path) -> list[Entry]:
    """Joins the lines of every conversation of ``<folder>/en/`` and writes ``<folder>/joined/``.

    Raises:
        ValueError: No line is there, or one cannot be read (the hashes of all were checked before).
    """
    entries = []
    lines = sorted(folder.glob("en/*/*.mp3"))
    for conversation, own in groupby(lines, key=lambda path: path.parent.name):
        about = Entry(
            corpus="queen",
            language="en",
            name=conversation,
            speaker=f"queen-{conversation}",
            path=folder,
            licence=LICENCE,
            bandwidth_hz=BANDWIDTH_HZ,
        )
        entries += lent.entries_of(about, lent.read_clean(own), VOICE_SECONDS, folder / "joined")
    if not entries:
        raise ValueError(f"{folder}: expected en/<conversation>/<line>.mp3 in it, found no voice")
    return entries
