"""The corpus drascula: acted dialogue of ten characters in English and Spanish, 8 bits at 11,025 Hz, without texts.

The letters before a file's number are the character. Sound effects are left out, and so are the Spanish files that are
the English recording once more.
"""

import re
from pathlib import Path

from vectok.corpus.entries import Entry
from vectok.corpus.hashes import sha256

BANDWIDTH_HZ = 5_512  # half of 11,025 Hz
LICENCE = "Drascula-License"
CHARACTERS = {
    "": "john_hacker",
    "B": "drunk",
    "BJ": "bj",
    "D": "drascula",
    "E": "mus",
    "I": "igor",
    "L": "werewolf",
    "P": "pianist",
    "T": "bartender",
    "VB": "von_braun",
}


def read_drascula(folder: Path) -> list[Entry]:
    """Every line of dialogue of ``<folder>/<language>/<character><number>.als``.

    Raises:
        ValueError: None is there.
    """
    paths = sorted(folder.glob("en/*.als")) + sorted(folder.glob("es/*.als"))
    entries = []
    for path in paths:
        language, prefix = path.parent.name, re.sub(r"\d+$", "", path.stem)
        twin = folder / "en" / path.name
        is_copy = language == "es" and twin.is_file() and sha256(twin) == sha256(path)
        if prefix in CHARACTERS and not is_copy:
            entries.append(
                Entry(
                    corpus="drascula",
                    language=language,
                    name=path.stem,
                    speaker=f"drascula-{language}-{CHARACTERS[prefix]}",
                    path=path,
                    licence=LICENCE,
                    bandwidth_hz=BANDWIDTH_HZ,
                )
            )
    if not entries:
        raise ValueError(f"{folder}: expected <language>/<character><number>.als in it, found none")
    return entries
