"""SHA-256 of every audio file: the committed lists are the truth, whatever source the files came from."""

import hashlib
from pathlib import Path


def sha256(path: Path) -> str:
    """Hex digest of one file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_hashes(path: Path) -> dict[str, str]:
    """Reads a list in the format of sha256sum as {name: digest}.

    Raises:
        ValueError: A line that is no digest and name.
    """
    digests = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name:
            raise ValueError(f"{path}, line {number}: expected '<sha256>  <name>', got {line[:80]!r}: restore the list")
        digests[name] = digest
    return digests


def write_hashes(path: Path, folder: Path, names: list[str]) -> None:
    """Writes the list of some files of a folder, in the format of sha256sum."""
    lines = [f"{sha256(folder / name)}  {name}\n" for name in sorted(names)]
    path.write_text("".join(lines), encoding="utf-8")


def remove_unknown(folder: Path, suffixes: tuple[str, ...], digests: dict[str, str]) -> list[str]:
    """Removes every file of these suffixes that the list lacks or contradicts, and says which and what to do.

    Returns: One line for each removed file.
    """
    problems = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix in suffixes):
        name = path.relative_to(folder).as_posix()
        if name not in digests:
            problems.append(f"{name}: stands in no hash list: not used")
        elif sha256(path) != digests[name]:
            problems.append(f"{name}: its SHA-256 differs from the list: not used, fetch its archive again")
        else:
            continue
        path.unlink()
    return problems
