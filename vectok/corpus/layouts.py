"""Folders of recordings in the layouts of LibriSpeech, LibriTTS and VCTK, and plain CSV lists, as corpora."""

import csv
from collections.abc import Callable
from pathlib import Path

from vectok.corpus.entries import Entry

AUDIO_SUFFIXES = (".flac", ".wav", ".ogg", ".mp3", ".opus", ".m4a", ".g722")
CSV_COLUMNS = ("path", "speaker", "language")
CSV_OPTIONAL = ("name", "text", "licence", "split")


def read_layout(layout: str, language: str, folder: Path) -> list[Entry]:
    """Reads a folder (or a CSV file) in one of the known layouts.

    Arguments:
        layout: librispeech, libritts, vctk or csv.
        language: Of every recording; a CSV file names it line by line.
        folder: The corpus, or any folder above its speakers; the CSV file.
    Raises:
        ValueError: Unknown layout, no such folder, or nothing in it that fits.
    """
    if layout not in READERS:
        raise ValueError(f"unknown layout {layout!r}: expected one of {', '.join(READERS)}")
    if not folder.exists():
        raise ValueError(f"{folder}: no such file or folder: check the corpus stage's sources in params.yaml")
    entries = READERS[layout](folder, language)
    if not entries:
        raise ValueError(f"{folder}: holds no recording in the layout of {layout}: check layout and folder")
    return entries


def _audio_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)


def _subset_split(path: Path) -> str:
    """dev or test when a folder above says so (``dev-clean``, ``test-other``)."""
    names = {part.partition("-")[0] for part in path.parts[:-1] if "-" in part}
    return next((split for split in ("dev", "test") if split in names), "")


def _read_librispeech(folder: Path, language: str) -> list[Entry]:
    """``<subset>/<speaker>/<chapter>/<speaker>-<chapter>-<n>.flac`` and ``<speaker>-<chapter>.trans.txt``, if any."""
    texts: dict[str, str] = {}
    for path in sorted(folder.rglob("*.trans.txt")):
        lines = path.read_text(encoding="utf-8").splitlines()
        texts.update(line.split(" ", 1) for line in lines if " " in line)
    return [
        _libri_entry("librispeech", language, path, texts.get(path.stem, ""))
        for path in _audio_files(folder)
        if path.stem.count("-") == 2
    ]


def _read_libritts(folder: Path, language: str) -> list[Entry]:
    """``<subset>/<speaker>/<chapter>/<speaker>_<chapter>_<...>.wav`` with ``.normalized.txt`` beside it, if any."""
    return [
        _libri_entry("libritts", language, path, _text_of(path.with_suffix(".normalized.txt")))
        for path in _audio_files(folder)
        if path.stem.count("_") == 3
    ]


def _libri_entry(corpus: str, language: str, path: Path, text: str) -> Entry:
    return Entry(
        corpus=corpus,
        language=language,
        name=path.stem,
        speaker=f"{corpus}-{path.parent.parent.name}",
        path=path,
        text=text,
        licence="CC-BY-4.0",
        split=_subset_split(path),
    )


def _read_vctk(folder: Path, language: str) -> list[Entry]:
    """``wav48*/<speaker>/<speaker>_<n>[_mic1].flac`` (of two microphones the first) and ``txt/<speaker>/*.txt``."""
    entries = []
    for path in _audio_files(folder):
        name, speaker = path.stem.removesuffix("_mic1"), path.parent.name
        if not name.startswith(f"{speaker}_") or name.endswith("_mic2"):
            continue
        text = _text_of(folder / "txt" / speaker / f"{name}.txt")
        entries.append(
            Entry(
                corpus="vctk",
                language=language,
                name=name,
                speaker=f"vctk-{speaker}",
                path=path,
                text=text,
                licence="CC-BY-4.0",
            )
        )
    return entries


def _read_csv(path: Path, language: str) -> list[Entry]:
    """A list with the columns path, speaker, language and, if wanted, name, text, licence, split.

    Paths count from the folder of the list. The list's own name is the corpus.
    """
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        columns = set(rows.fieldnames or ())
        if missing := [column for column in CSV_COLUMNS if column not in columns]:
            raise ValueError(f"{path}: columns {', '.join(missing)} are missing: the first line must name them")
        if unknown := sorted(columns - {*CSV_COLUMNS, *CSV_OPTIONAL}):
            raise ValueError(f"{path}: unknown columns {', '.join(unknown)}: known are {CSV_COLUMNS + CSV_OPTIONAL}")
        return [_csv_entry(path, number, row, language) for number, row in enumerate(rows, 2)]


def _csv_entry(path: Path, number: int, row: dict[str, str | None], language: str) -> Entry:
    if not row["path"] or not row["speaker"]:
        raise ValueError(f"{path}, line {number}: path and speaker must not be empty: fill them in")
    return Entry(
        corpus=path.stem,
        language=row["language"] or language,
        name=row.get("name") or Path(row["path"]).with_suffix("").as_posix(),
        speaker=f"{path.stem}-{row['speaker']}",
        path=path.parent / row["path"],
        text=row.get("text") or "",
        licence=row.get("licence") or "unknown",
        split=row.get("split") or "",
    )


def _text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


READERS: dict[str, Callable[[Path, str], list[Entry]]] = {
    "librispeech": _read_librispeech,
    "libritts": _read_libritts,
    "vctk": _read_vctk,
    "csv": _read_csv,
}
