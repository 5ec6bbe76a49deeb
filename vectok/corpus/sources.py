"""Brings the archives of asterisk, drascula, kde and queen here, from wherever they can be had, and unpacks them.

Each archive is looked for in data/downloads/ first (what is there was fetched before or put there by hand), then at the
upstream URL, then by ``apt-get download`` without root. The committed SHA-256 lists decide what is used.
"""

import gzip
import http.client
import re
import subprocess
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vectok.corpus.archives import unpack
from vectok.corpus.hashes import read_hashes, remove_unknown, sha256
from vectok.corpus.queen import DATA, split_lines
from vectok.layout import HASHES

ASTERISK_LANGUAGES = ("en", "es", "fr", "it", "ru")
ASTERISK_UPSTREAM = "https://downloads.asterisk.org/pub/telephony/sounds/releases/"
UPSTREAM_TIMEOUT_SECONDS = 5.0
APT_TIMEOUT_SECONDS = 240.0
SHARE_THAT_MAY_MISS = 0.02  # of a list's files; beyond that the corpus would be another one
AUDIO_SUFFIXES = {
    "asterisk": (".g722",),
    "drascula": (".als",),
    "kde": (".ogg", ".opus", ".wav"),
    "queen": (".mp3",),
}
KDE_MEMBER = re.compile(  # spellings of one language (sr@latin) share their recordings
    r"usr/share/(klettres|ktuberling)/(?:sounds/)?([a-z]{2,3}(?:_[A-Z]{2})?/(?:(?:alpha|syllab)/)?[^/]+\.(?:ogg|opus|wav))"
)


class SourceError(ValueError):
    """An archive that no source gives: names the sources, what each said, and the folder to fill by hand."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One archive a corpus needs: what it is called in a folder, its URL upstream (if it has one) and its package."""

    pattern: str
    package: str
    upstream: str | None = None


Fetcher = Callable[[Archive, Path], Path]


def archives_of(corpus: str) -> list[list[Archive]]:
    """Alternatives for each part of a corpus: every archive of one inner list is needed, with its links.

    Raises:
        ValueError: Unknown corpus.
    """
    if corpus == "drascula":
        names = ("drascula", "drascula-spanish")
        return [[Archive(pattern=f"{name}_*.deb", package=name) for name in names]]
    if corpus == "kde":
        return [[Archive(pattern=f"{name}_*.deb", package=name)] for name in ("klettres-data", "ktuberling-data")]
    if corpus == "queen":
        return [[Archive(pattern="flight-of-the-amazon-queen_*.deb", package="flight-of-the-amazon-queen")]]
    if corpus != "asterisk":
        raise ValueError(f"unknown corpus {corpus!r}: archives are known for {', '.join(AUDIO_SUFFIXES)}")
    return [
        [
            Archive(
                pattern=f"asterisk-core-sounds-{code}-g722[_-]*",
                package=f"asterisk-core-sounds-{code}-g722",
                upstream=f"{ASTERISK_UPSTREAM}asterisk-core-sounds-{code}-g722-1.6.1.tar.gz",
            ),
            # The upstream archive holds the texts as well, the Debian package of the recordings does not.
            Archive(pattern=f"asterisk-core-sounds-{code}_*.deb", package=f"asterisk-core-sounds-{code}"),
        ]
        for code in ASTERISK_LANGUAGES
    ]


def fetch_upstream(archive: Archive, downloads: Path) -> Path:
    """Downloads one archive from its upstream URL.

    Raises:
        SourceError: No URL, no network, no answer within five seconds, or a wrong hash.
    """
    if archive.upstream is None:
        raise SourceError(f"{archive.package} has no upstream URL")
    target = downloads / archive.upstream.rpartition("/")[2]
    partial = target.with_name(f".{target.name}.partial")
    try:
        with urllib.request.urlopen(archive.upstream, timeout=UPSTREAM_TIMEOUT_SECONDS) as answer:
            partial.write_bytes(answer.read())
    except (OSError, http.client.HTTPException) as error:
        partial.unlink(missing_ok=True)
        raise SourceError(f"{archive.upstream} did not answer ({error})") from None
    partial.rename(target)
    return _in_folder(archive, downloads)


def fetch_apt(archive: Archive, downloads: Path) -> Path:
    """Downloads one Debian package without root: apt gets private folders for its state.

    Raises:
        SourceError: No apt, no network, or no such package.
    """
    state = (downloads / ".apt").resolve()
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    options = ["-q", "-o", f"Dir::State::lists={state / 'lists'}", "-o", f"Dir::Cache={state / 'cache'}"]
    options += ["-o", "APT::Sandbox::User="]
    download = ["apt-get", *options, "download", archive.package]
    try:
        _apt(download, downloads)
    except SourceError:  # no package lists yet, or old ones
        _apt(["apt-get", *options, "update"], downloads)
        _apt(download, downloads)
    return _in_folder(archive, downloads)


def _apt(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=APT_TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"apt-get cannot be used ({error})") from None
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise SourceError(f"apt-get gave an error ({lines[-1] if lines else done.returncode})")


def _in_folder(archive: Archive, downloads: Path) -> Path:
    """The archive in the folder, if it is there and its hash, where it is known, is right."""
    found = sorted(path for path in downloads.glob(archive.pattern) if not path.name.startswith("."))
    if not found:
        raise SourceError(f"{downloads} holds no {archive.pattern}")
    known = read_hashes(HASHES / "archives.sha256")
    if found[-1].name in known and known[found[-1].name] != sha256(found[-1]):
        raise SourceError(f"{found[-1]} has a wrong SHA-256: remove it")
    return found[-1]


class Finder:
    """Finds archives: in the folder, upstream, by apt. A source that failed once is not asked again.

    One archive at a time, whatever threads ask: apt locks its folders.

    Arguments:
        downloads: The folder that is looked into, filled, and named in errors.
        fetchers: What to try, by name, when the folder lacks an archive.
    """

    def __init__(self, downloads: Path, fetchers: dict[str, Fetcher] | None = None) -> None:
        self.downloads = downloads
        self.fetchers = {"upstream": fetch_upstream, "apt": fetch_apt} if fetchers is None else fetchers
        self.failures: dict[str, str] = {}
        self._turn = threading.Lock()
        downloads.mkdir(parents=True, exist_ok=True)

    def find(self, archive: Archive) -> Path:
        """One archive, from the first source that gives it.

        Raises:
            SourceError: No source has it.
        """
        with self._turn:
            return self._find(archive)

    def _find(self, archive: Archive) -> Path:
        said = []
        for name, fetch in {"folder": _in_folder, **self.fetchers}.items():
            if name in self.failures or (name == "upstream" and archive.upstream is None):
                continue
            try:
                return fetch(archive, self.downloads)
            except SourceError as error:
                said.append(f"{name}: {error}")
                if name != "folder":
                    self.failures[name] = str(error)
        said += [f"{name}: {error}" for name, error in self.failures.items() if f"{name}: {error}" not in said]
        url = archive.upstream or "no upstream URL"
        raise SourceError(
            f"cannot get {archive.package} ({'; '.join(said)}): put {url.rpartition('/')[2]} (from {url}) or the "
            f"Debian package {archive.package} into {self.downloads} by hand and run again"
        )


def place_of(member: str) -> str | None:
    """Where a member of an archive goes: ``<language>/<id>.g722``, ``<program>/<language>/<word>.ogg``, or nowhere.

    Example:
        >>> place_of("usr/share/asterisk/sounds/fr_CA_f_June/digits/1.g722")
        'fr/digits/1.g722'
        >>> place_of("usr/share/scummvm/drascula/es/VB12.ALS"), place_of("usr/share/doc/x")
        ('es/VB12.als', None)
        >>> place_of("usr/share/ktuberling/sounds/sl/hat.ogg"), place_of("usr/share/klettres/pt_BR/alpha/a-0.ogg")
        ('ktuberling/sl/hat.ogg', 'klettres/pt_BR/alpha/a-0.ogg')
    """
    if found := re.fullmatch(r"usr/share/asterisk/sounds/([a-z]{2})_[^/]+/(.+\.g722)", member):
        return f"{found[1]}/{found[2]}"
    if found := re.fullmatch(r"usr/share/scummvm/drascula/(en|es)/([A-Z]*\d+)\.ALS", member):
        return f"{found[1]}/{found[2]}.als"
    if member == f"usr/share/scummvm/flight-of-the-amazon-queen/{DATA}":
        return DATA
    if found := KDE_MEMBER.fullmatch(member):
        return f"{found[1]}/{found[2]}"
    if found := re.fullmatch(r"(?:.*/)?core-sounds-([a-z]{2})\.txt(\.gz)?", member):
        return f"{found[1]}/core-sounds-{found[1]}.txt{found[2] or ''}"
    return None


def place_in(language: str) -> Callable[[str], str | None]:
    """As :func:`place_of`, for an upstream archive, whose members have no language in their names."""

    def place(member: str) -> str | None:
        return f"{language}/{member}" if member.endswith(".g722") and "usr/" not in member else place_of(member)

    return place


def fetch_corpus(corpus: str, into: Path, finder: Finder) -> list[str]:
    """Fetches, unpacks and checks a corpus: ``into`` then holds only files that the committed list knows.

    Arguments:
        corpus: asterisk, drascula, kde or queen.
        into: A folder for ``<language>/<file>``.
        finder: Where archives come from.
    Returns: One line for each file that was left out and why.
    Raises:
        SourceError: An archive is nowhere to be had, broken, or too many files miss or differ.
    """
    for parts in archives_of(corpus):
        found = [finder.find(parts[0])]
        if found[0].suffix == ".deb":
            found += [finder.find(part) for part in parts[1:]]
        language = re.search(r"sounds-([a-z]{2})-g722", parts[0].package)
        try:
            unpack(found, into, place_in(language[1]) if language else place_of)
            if (into / DATA).is_file():
                split_lines(into)
        except ValueError as error:
            raise SourceError(str(error)) from None
    for packed in into.rglob("*.txt.gz"):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    return check_files(corpus, into)


def check_files(corpus: str, folder: Path, is_whole: bool = True) -> list[str]:
    """Holds a folder against the corpus's committed hash list; files that differ are removed and named.

    Raises:
        SourceError: More than 2 % of the list's files miss or differ (only when ``is_whole``).
    """
    digests = read_hashes(HASHES / f"{corpus}.sha256")
    problems = remove_unknown(folder, AUDIO_SUFFIXES[corpus], digests)
    missing = [name for name in digests if not (folder / name).is_file()]
    if is_whole and len(missing) > SHARE_THAT_MAY_MISS * len(digests):
        raise SourceError(
            f"{corpus}: {len(missing)} of {len(digests)} files miss or differ from data/hashes/{corpus}.sha256, first "
            f"{missing[0]}: remove its archives from the downloads folder and run again"
        )
    return problems + ([f"{corpus}/{name}: missing from its archive" for name in missing] if is_whole else [])
