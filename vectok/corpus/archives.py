"""Unpacks tar archives and Debian packages without trusting them.

A member is written only if its name is relative and free of ``..``; a link only counts if its target is a file of the
same archive set, and then it becomes a copy of it. Devices and other special members are refused. Nothing that an
archive holds can therefore touch a file outside the folder it is unpacked into.
"""

import io
import lzma
import shutil
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

AR_MAGIC = b"!<arch>\n"
AR_HEADER = 60
LARGEST_MEMBER = 64 * 1024**2


class ArchiveError(ValueError):
    """An archive that is broken or not to be trusted: names the file, the fault and the remedy."""


def unpack(archives: list[Path], into: Path, rename: Callable[[str], str | None]) -> list[Path]:
    """Unpacks archives into one folder, so that links from one into another resolve.

    Arguments:
        archives: ``.deb`` or ``.tar``, ``.tar.gz``, ``.tar.xz`` files.
        into: The folder; members never leave it.
        rename: Gives a member's new name in the folder, or None to leave it out.
    Returns: The files written.
    Raises:
        ArchiveError: Broken archive, absolute name, ``..``, link to the outside, special file, huge member.
    """
    written: dict[str, Path] = {}
    links: dict[str, str] = {}
    for archive in archives:
        try:
            with _open_tar(archive) as tar:
                for member in tar:
                    _unpack_member(archive, tar, member, into, rename, written, links)
        except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
            first_line = str(error).partition("\n")[0]
            raise ArchiveError(f"{archive}: is broken ({first_line}): remove it and fetch it again") from None
    for name, target in links.items():
        new = rename(name)
        if new is not None and target in written:
            written[name] = into / new
            written[name].parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(written[target], written[name])
    return list(written.values())


def _unpack_member(
    archive: Path,
    tar: tarfile.TarFile,
    member: tarfile.TarInfo,
    into: Path,
    rename: Callable[[str], str | None],
    written: dict[str, Path],
    links: dict[str, str],
) -> None:
    """Writes one member, or notes where it links to."""
    name = _safe_name(archive, member.name)
    if member.isdir():
        return
    if member.issym() or member.islnk():
        base = PurePosixPath(name).parent if member.issym() else PurePosixPath()
        links[name] = _resolve(archive, name, base, member.linkname)
        return
    if not member.isfile():
        raise ArchiveError(f"{archive}: member {name!r} is a special file: do not use this archive")
    if member.size > LARGEST_MEMBER:
        raise ArchiveError(f"{archive}: member {name!r} has {member.size} bytes: do not use this archive")
    new = rename(name)
    if new is None:
        return
    target = into / _safe_name(archive, new)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tar.extractfile(member) as source, open(target, "wb") as file:
        shutil.copyfileobj(source, file)
    written[name] = target


def _safe_name(archive: Path, name: str) -> str:
    """A member's name without a leading ``./``.

    Raises:
        ArchiveError: The name is absolute or climbs out.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise ArchiveError(f"{archive}: member {name!r} would leave the folder: do not use this archive")
    return path.as_posix()


def _resolve(archive: Path, name: str, base: PurePosixPath, target: str) -> str:
    """Where a link points, as a member's name."""
    parts: list[str] = []
    for part in (base / target).parts:
        if part == ".." and parts:
            parts.pop()
        elif part in {"..", "/"}:
            raise ArchiveError(f"{archive}: link {name!r} points outside, to {target!r}: do not use this archive")
        else:
            parts.append(part)
    return "/".join(parts)


def _open_tar(archive: Path) -> tarfile.TarFile:
    if not archive.is_file():
        raise ArchiveError(f"{archive}: no such archive: fetch it")
    with open(archive, "rb") as file:
        is_deb = file.read(len(AR_MAGIC)) == AR_MAGIC
    return tarfile.open(fileobj=_data_of_deb(archive)) if is_deb else tarfile.open(archive)


def _data_of_deb(archive: Path) -> io.BytesIO:
    """The ``data.tar.*`` inside a Debian package, which is an ``ar`` archive of three members."""
    content = archive.read_bytes()
    position = len(AR_MAGIC)
    while position + AR_HEADER <= len(content):
        header = content[position : position + AR_HEADER]
        name, size = header[:16].decode("ascii", "replace").strip().rstrip("/"), header[48:58].strip()
        if not size.isdigit():
            break
        start, stop = position + AR_HEADER, position + AR_HEADER + int(size)
        if name.startswith("data.tar"):
            if stop > len(content):
                break
            if name.endswith(".zst"):
                raise ArchiveError(f"{archive}: holds {name}, which needs zstd: use Debian's own package (xz)")
            return io.BytesIO(content[start:stop])
        position = stop + stop % 2
    raise ArchiveError(f"{archive}: is a broken package without a whole data.tar: remove it and fetch it again")
