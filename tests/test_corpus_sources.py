"""Archives, hashes and sources, without a network."""

import gzip
import io
import struct
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor

import av
import pytest
import torch
import torchaudio

from vectok import audio
from vectok.corpus import kde, lent, queen, sources
from vectok.corpus.archives import ArchiveError, unpack
from vectok.corpus.hashes import read_hashes, sha256, write_hashes
from vectok.corpus.manifest import measure
from vectok.corpus.sources import Archive, Finder, SourceError, check_files, fetch_corpus, place_of
from vectok.frames import SAMPLE_RATE_HZ
from vectok.layout import HASHES, SAMPLE


def tar_bytes(members: dict[str, bytes | tuple[bytes, str]], mode: str = "w:gz") -> bytes:
    """A tar of files {name: content} and of links {name: (type, target)}."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                member.type, member.linkname = content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def deb_bytes(members: dict[str, bytes | tuple[bytes, str]]) -> bytes:
    """A Debian package around such a tar."""
    content = b"!<arch>\n"
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": tar_bytes(members, "w:xz")}
    for name, data in parts.items():
        content += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
        content += data + b"\n" * (len(data) % 2)
    return content


def written(tmp_path, content: bytes, name: str = "a.tar.gz"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_tar_and_package_give_the_same_files(tmp_path):
    members = {"./usr/a.txt": b"one", "usr/b/c.txt": b"two"}
    for number, archive in enumerate(
        (written(tmp_path, tar_bytes(members)), written(tmp_path, deb_bytes(members), "a.deb"))
    ):
        unpack([archive], tmp_path / str(number), lambda name: name)
        assert (tmp_path / str(number) / "usr/a.txt").read_bytes() == b"one"
        assert (tmp_path / str(number) / "usr/b/c.txt").read_bytes() == b"two"


@pytest.mark.parametrize(
    "members",
    [
        {"/etc/passwd": b"x"},
        {"../outside": b"x"},
        {"a/../../outside": b"x"},
        {"c:\\outside": b"x"},
        {"link": (tarfile.SYMTYPE, "/etc/passwd")},
        {"a/link": (tarfile.SYMTYPE, "../../outside")},
        {"link": (tarfile.LNKTYPE, "../outside")},
        {"pipe": (tarfile.FIFOTYPE, "")},
        {"device": (tarfile.CHRTYPE, "")},
    ],
    ids=lambda members: next(iter(members)),
)
def test_evil_members_are_refused(tmp_path, members):
    inside = tmp_path / "deep" / "inside"
    with pytest.raises(ArchiveError, match=r"a\.tar\.gz: .*do not use this archive"):
        unpack([written(tmp_path, tar_bytes(members))], inside, lambda name: name)
    assert not any(path.is_file() for path in tmp_path.rglob("*") if path.name != "a.tar.gz")


def test_a_file_cannot_be_written_through_a_link(tmp_path):
    members = {"here": (tarfile.SYMTYPE, "there"), "there": b"x", "here/a": b"y"}
    unpack([written(tmp_path, tar_bytes(members))], tmp_path / "in", lambda name: name if name != "here" else None)
    assert not (tmp_path / "in" / "here").is_symlink()
    assert (tmp_path / "in" / "here" / "a").read_bytes() == b"y"


def test_links_into_another_archive_become_copies(tmp_path):
    english = written(tmp_path, deb_bytes({"data/en/1": b"voice"}), "en.deb")
    spanish = written(tmp_path, deb_bytes({"data/es/1": (tarfile.SYMTYPE, "../en/1")}), "es.deb")
    unpack([spanish, english], tmp_path / "in", lambda name: name)
    assert (tmp_path / "in/data/es/1").read_bytes() == b"voice"
    assert not (tmp_path / "in/data/es/1").is_symlink()


@pytest.mark.parametrize("cut", [0.02, 0.5, 0.9])
def test_broken_archives(tmp_path, cut):
    for name, content in (
        ("a.tar.gz", tar_bytes({"a": bytes(range(256)) * 99})),
        ("a.deb", deb_bytes({"a": b"x" * 99})),
    ):
        broken = written(tmp_path, content[: int(len(content) * cut)], name)
        with pytest.raises(ArchiveError, match=f"{name}: is .*broken.*fetch it again"):
            unpack([broken], tmp_path / "in", lambda name: name)


def test_hash_lists_know_the_sample():
    known = read_hashes(HASHES / "asterisk.sha256")
    files = sorted((SAMPLE / "asterisk").rglob("*.g722"))
    assert len(files) >= 60
    for path in files:
        assert known[path.relative_to(SAMPLE / "asterisk").as_posix()] == sha256(path)


def test_sample_is_small_and_parallel():
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) <= 3_000_000
    ids = [{path.name for path in (SAMPLE / "asterisk" / code).glob("*.g722")} for code in sources.ASTERISK_LANGUAGES]
    assert all(len(names) >= 12 for names in ids)
    assert len(set.intersection(*ids)) >= 8
    assert (SAMPLE / "asterisk" / "LICENSE.md").is_file()


def test_odd_hash_list(tmp_path):
    (tmp_path / "list").write_text("abc  file\n")
    with pytest.raises(ValueError, match="list, line 1: expected"):
        read_hashes(tmp_path / "list")


def small_world(tmp_path, monkeypatch, content: bytes = b"sound" * 50) -> None:
    """A corpus of one language and three files, with its own hash lists."""
    monkeypatch.setattr(sources, "HASHES", tmp_path)
    monkeypatch.setattr(sources, "ASTERISK_LANGUAGES", ("en",))
    tree = tmp_path / "truth"
    for name in ("a", "b", "digits/1"):
        (tree / "en" / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / "en" / f"{name}.g722").write_bytes(content + name.encode())
    write_hashes(tmp_path / "asterisk.sha256", tree, ["en/a.g722", "en/b.g722", "en/digits/1.g722"])
    (tmp_path / "archives.sha256").touch()


def upstream_archive(content: bytes = b"sound" * 50) -> bytes:
    names = ("a", "b", "digits/1")
    files = {f"{name}.g722": content + name.encode() for name in names}
    return tar_bytes({**files, "core-sounds-en.txt": b"a: One.\nb: Two.\n", "CREDITS": b"x"})


def debian_packages(tmp_path) -> None:
    names, place = ("a", "b", "digits/1"), "usr/share/asterisk/sounds/en_US_f_Allison"
    files = {f"{place}/{name}.g722": b"sound" * 50 + name.encode() for name in names}
    written(tmp_path, deb_bytes(files), "asterisk-core-sounds-en-g722_1_all.deb")
    texts = {"usr/share/doc/x/core-sounds-en.txt.gz": gzip.compress(b"a: One.\nb: Two.\n")}
    written(tmp_path, deb_bytes(texts), "asterisk-core-sounds-en_1_all.deb")


def test_both_kinds_of_archive_give_the_same_corpus(tmp_path, monkeypatch):
    small_world(tmp_path, monkeypatch)
    for kind in ("upstream", "debian"):
        downloads = tmp_path / kind
        downloads.mkdir()
        if kind == "upstream":
            written(downloads, upstream_archive(), "asterisk-core-sounds-en-g722-1.6.1.tar.gz")
        else:
            debian_packages(downloads)
        assert fetch_corpus("asterisk", tmp_path / f"{kind}-out", Finder(downloads, {})) == []
    both = [
        {path.relative_to(tmp_path / f"{kind}-out").as_posix(): path.read_bytes() for path in files}
        for kind in ("upstream", "debian")
        for files in [[path for path in (tmp_path / f"{kind}-out").rglob("*") if path.is_file()]]
    ]
    assert both[0] == both[1]
    assert sorted(both[0]) == ["en/a.g722", "en/b.g722", "en/core-sounds-en.txt", "en/digits/1.g722"]


def test_threads_fetch_one_archive_at_a_time(tmp_path):
    under_way, most = [], []

    def slow(archive, folder):
        under_way.append(archive)
        most.append(len(under_way))
        time.sleep(0.05)
        under_way.remove(archive)
        return folder / archive.package

    finder = Finder(tmp_path, {"apt": slow})
    archives = [Archive(pattern="none*", package=f"archive-{n}") for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(finder.find, archives))
    assert found == [tmp_path / f"archive-{n}" for n in range(4)] and most == [1, 1, 1, 1]


def test_no_network_names_every_source_and_the_folder(tmp_path):
    def refuse(archive: Archive, downloads) -> None:
        raise SourceError("no network")

    finder = Finder(tmp_path / "downloads", {"upstream": refuse, "apt": refuse})
    with pytest.raises(SourceError, match="no network") as error:
        fetch_corpus("asterisk", tmp_path / "out", finder)
    said = str(error.value)
    assert "\n" not in said
    for part in ("asterisk-core-sounds-en-g722-1.6.1.tar.gz", "Debian package asterisk-core-sounds-en-g722", "by hand"):
        assert part in said
    assert str(tmp_path / "downloads") in said


def test_a_source_that_failed_is_not_asked_again(tmp_path):
    asked = []

    def refuse(archive: Archive, downloads) -> None:
        asked.append(archive.package)
        raise SourceError("no network")

    finder = Finder(tmp_path, {"upstream": refuse})
    for _ in range(3):
        with pytest.raises(SourceError):
            finder.find(Archive(pattern="x*", package="x", upstream="x.tar.gz"))
    assert asked == ["x"]


def test_upstream_and_apt_without_a_network_are_source_errors(tmp_path, monkeypatch):
    archive = Archive(pattern="x*", package="no-such-package", upstream="x.tar.gz")

    def no_network(*_, **__):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(sources.urllib.request, "urlopen", no_network)
    with pytest.raises(SourceError, match="did not answer"):
        sources.fetch_upstream(archive, tmp_path)
    monkeypatch.setattr(sources.subprocess, "run", no_network)
    with pytest.raises(SourceError, match="apt-get cannot be used"):
        sources.fetch_apt(archive, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_wrong_archive_hash_is_never_unpacked(tmp_path, monkeypatch):
    small_world(tmp_path, monkeypatch)
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    path = written(downloads, upstream_archive(), "asterisk-core-sounds-en-g722-1.6.1.tar.gz")
    (tmp_path / "archives.sha256").write_text(f"{'0' * 64}  {path.name}\n")
    with pytest.raises(SourceError, match=r"1\.6\.1\.tar\.gz has a wrong SHA-256: remove it"):
        fetch_corpus("asterisk", tmp_path / "out", Finder(downloads, {}))
    assert not (tmp_path / "out").exists()


def test_wrong_files_are_removed_and_named(tmp_path, monkeypatch):
    small_world(tmp_path, monkeypatch)
    (tmp_path / "truth/en/a.g722").write_bytes(b"other")
    (tmp_path / "truth/en/new.g722").write_bytes(b"other")
    problems = check_files("asterisk", tmp_path / "truth", is_whole=False)
    assert [problem.split(":")[0] for problem in problems] == ["en/a.g722", "en/new.g722"]
    assert not (tmp_path / "truth/en/a.g722").exists()
    assert (tmp_path / "truth/en/b.g722").exists()
    with pytest.raises(SourceError, match=r"1 of 3 files miss or differ .*first en/a\.g722"):
        check_files("asterisk", tmp_path / "truth")


def test_places():
    assert place_of("usr/share/scummvm/drascula/en/12.ALS") == "en/12.als"
    assert place_of("usr/share/scummvm/drascula/en/12.ALG") is None
    assert place_of("usr/share/asterisk/sounds/ru_RU_f_IvrvoiceRU/vm-intro.g722") == "ru/vm-intro.g722"
    with pytest.raises(ValueError, match="unknown corpus"):
        sources.archives_of("voices")


def test_words_of_a_voice_are_trimmed_joined_and_capped():
    noise = torch.rand(SAMPLE_RATE_HZ) - 0.5
    word = torch.cat([torch.zeros(8000), noise, torch.zeros(8000)])
    assert lent.trim(torch.zeros(4000)).numel() == 0
    kept = lent.trim(word)
    assert abs(len(kept) / SAMPLE_RATE_HZ - (1 + 2 * lent.MARGIN_SECONDS)) <= 0.02, "a second and its margins"
    utterances = lent.joined(iter([word] * 30), 20.0)
    seconds = [len(utterance) / SAMPLE_RATE_HZ for utterance in utterances]
    assert all(4.0 <= each < 9.0 for each in seconds) and 20.0 <= sum(seconds) < 22.0
    assert lent.joined(iter([word] * 3), 20.0) == [], "three words fill no utterance"


def test_voices_of_kde_become_entries(tmp_path):
    word = torch.rand(SAMPLE_RATE_HZ) - 0.5
    for number in range(9):
        audio.write(tmp_path / "ktuberling" / "sl" / f"{number}.wav", word)
        audio.write(tmp_path / "klettres" / "pt_BR" / "alpha" / f"{number}.wav", word)
    audio.write(tmp_path / "klettres" / "pt_BR" / "syllab" / "loud.wav", torch.ones(SAMPLE_RATE_HZ))
    audio.write(tmp_path / "ktuberling" / "fi" / "one.wav", word)
    entries = kde.read_kde(tmp_path)
    assert {entry.speaker for entry in entries} == {"kde-klettres-pt_BR", "kde-ktuberling-sl"}, "fi is too short"
    assert all(not entry.text and entry.split == "voices" and entry.path.is_file() for entry in entries)
    assert len(measure(entries, tmp_path, 30.0).rows) == len(entries), "no language is unknown to lent voices"
    assert max(audio.clipped_fraction(audio.read(entry.path)) for entry in entries) < 0.001
    assert [entry.utterance for entry in kde.read_kde(tmp_path)] == [entry.utterance for entry in entries]
    with pytest.raises(ValueError, match="found no voice"):
        kde.read_kde(tmp_path / "nowhere")


def queen_data(members, version=b"CEM10\0\0\0\1"):
    """The data file of the game, of members by name."""
    start, table, body = 15 + 21 * len(members), b"", b""
    for name, content in members.items():
        table += name.encode().ljust(12, b"\0") + b"\1" + struct.pack(">II", start + len(body), len(content))
        body += content
    return b"QTBL" + version + struct.pack(">H", len(members)) + table + body


def test_lines_of_queen_come_out_of_its_data_file(tmp_path):
    members = {"020001P2.SB": b"one", "020006J1.SB": b"hero", "0C00A6P1.SB": b"two!", "QUEEN.JAS": b"text", "X.SB": b""}
    (tmp_path / queen.DATA).write_bytes(queen_data(members))
    queen.split_lines(tmp_path)
    found = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"en/02/0001-2.mp3": b"one", "en/0C/00A6-1.mp3": b"two!"}, "the hero and all else is left out"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: b"RIFF" + data[4:], "begins with QTBL"),
        (lambda data: data[:9], "begins with QTBL"),
        (lambda data: data[:30], "within its table of 1 members"),
        (lambda data: data[:-1], r"020001P2\.SB ends at 39 of 38 bytes"),
        (lambda data: data[:13] + b"\xff\xff" + data[15:], "within its table of 65535 members"),
    ],
)
def test_a_broken_data_file_is_refused(tmp_path, spoil, said):
    (tmp_path / queen.DATA).write_bytes(spoil(queen_data({"020001P2.SB": b"one"})))
    with pytest.raises(ValueError, match=said):
        queen.split_lines(tmp_path)
    assert not list(tmp_path.rglob("*.mp3"))


def test_queen_is_fetched_split_and_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "HASHES", tmp_path)
    (tmp_path / "downloads").mkdir()
    data = queen_data({"020001P2.SB": b"one", "0C00A6P1.SB": b"two!"})
    member = f"./usr/share/scummvm/flight-of-the-amazon-queen/{queen.DATA}"
    archive = tmp_path / "downloads" / "flight-of-the-amazon-queen_1.0.0-9_all.deb"
    archive.write_bytes(tar_bytes({member: data, "./usr/share/doc/x/readme.txt": b"no"}))
    (tmp_path / "archives.sha256").write_text("")
    (tmp_path / "truth" / "en" / "02").mkdir(parents=True)
    (tmp_path / "truth" / "en" / "02" / "0001-2.mp3").write_bytes(b"one")
    write_hashes(tmp_path / "queen.sha256", tmp_path / "truth", ["en/02/0001-2.mp3"])
    problems = fetch_corpus("queen", tmp_path / "out", Finder(tmp_path / "downloads", {}))
    assert problems == ["en/0C/00A6-1.mp3: stands in no hash list: not used"]
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["0001-2.mp3"]
    archive.write_bytes(tar_bytes({member: data[:30]}))
    with pytest.raises(SourceError, match="cut short within its table"):
        fetch_corpus("queen", tmp_path / "again", Finder(tmp_path / "downloads", {}))


def test_conversations_of_queen_become_voices(tmp_path):
    line = 0.5 * (torch.rand(2 * SAMPLE_RATE_HZ) - 0.5)
    for place, n_lines in (("02", 6), ("0C", 3), ("71", 40)):
        for number in range(n_lines):
            write_mp3(tmp_path / "en" / place / f"{number:04d}-1.mp3", line)
    entries = queen.read_queen(tmp_path)
    assert {entry.speaker for entry in entries} == {"queen-02", "queen-71"}, "six seconds are too few"
    assert {entry.language for entry in entries} == {"en"} and {entry.split for entry in entries} == {"voices"}
    assert all(entry.bandwidth_hz == 5512 and entry.path.is_file() and not entry.text for entry in entries)
    seconds = [len(audio.read(entry.path)) / SAMPLE_RATE_HZ for entry in entries if entry.speaker == "queen-71"]
    assert queen.VOICE_SECONDS <= sum(seconds) < queen.VOICE_SECONDS + 5 and min(seconds) >= 4
    assert len(measure(entries, tmp_path, 30.0).rows) == len(entries)
    with pytest.raises(ValueError, match="found no voice"):
        queen.read_queen(tmp_path / "nowhere")


def write_mp3(path, samples):
    """A line as the game has it: MP3 at 11,025 Hz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp3") as container:
        stream = container.add_stream("mp3", rate=11_025, layout="mono", bit_rate=16_000)
        slow = torchaudio.functional.resample(samples, SAMPLE_RATE_HZ, 11_025)
        frame = av.AudioFrame.from_ndarray(slow[None].numpy(), format="fltp", layout="mono")
        frame.rate = 11_025
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
