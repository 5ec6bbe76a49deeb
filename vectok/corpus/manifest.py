"""The manifest: one checked row for each utterance, measured from its recording."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from vectok.audio import AudioError, Recording, clipped_fraction, decode, read, to_mono
from vectok.corpus.entries import Entry
from vectok.corpus.pauses import cut_at_pauses
from vectok.corpus.text import LANGUAGES, normalise
from vectok.frames import SAMPLE_RATE_HZ, seconds_of_samples
from vectok.layout import REPOSITORY

COLUMNS = (
    "utterance",
    "speaker",
    "language",
    "text",
    "seconds",
    "bandwidth_hz",
    "licence",
    "split",
    "group",
    "corpus",
    "path",
    "start_seconds",
    "end_seconds",
)
SPLITS = ("train", "dev", "test", "unseen", "voices")  # voices: heard by codec and vocoder alone
CLIPPED_SHARE = 0.001
SILENT_LEVEL = 1e-3
PLAIN = "plain"  # extra columns while the corpus is being built: no digit, bracket or symbol in the text,
PROMPT = "prompt"  # and what was said, in whatever language


class Measured(NamedTuple):
    """Rows of the utterances that can be used, and one line on each of the others (or on what is odd about one)."""

    rows: pd.DataFrame
    problems: list[str]


def measure(entries: Iterable[Entry], folder: Path, longest_seconds: float) -> Measured:
    """Reads every recording once, and makes the rows of the manifest, without split and group.

    A recording that cannot be used is reported by name and left out; the rest goes on. Recordings longer than
    ``longest_seconds`` become several utterances, cut at pauses, whose texts are unknown.

    Arguments:
        entries: What the corpora describe.
        folder: Where the manifest will lie; paths count from there.
        longest_seconds: Longest utterance.
    Raises:
        ValueError: No utterance is left, or two have one name.
    """
    rows, problems, without_text = [], [], {}
    for entry in entries:
        try:
            recording = decode(entry.path)
            audio = to_mono(recording, entry.path)
            text = "" if entry.split == "voices" else normalise(entry.text, entry.language)
        except ValueError as error:
            problems.append(f"{entry.utterance}: left out: {_relative(str(error), folder)}")
            continue
        fault = _fault(audio)
        if fault == "silent":
            problems.append(f"{entry.utterance}: left out: it is silent: remove it or record it again")
            continue
        problems += [f"{entry.utterance}: {fault}"] if fault else []
        rows += _rows(entry, recording, audio, text, folder, longest_seconds)
        without_text.setdefault((entry.corpus, entry.language), []).append("" if text else entry.utterance)
    problems += _missing_texts(without_text)
    if not rows:
        raise ValueError(f"no utterance can be used: {problems[0] if problems else 'the sources hold none'}")
    table = pd.DataFrame(rows)
    audio_only = table.groupby(["corpus", "language"])["text"].transform(lambda texts: (texts == "").all())
    table[PLAIN] |= audio_only  # where no text is known, none can be objected to
    if twice := sorted(table.loc[table["utterance"].duplicated(), "utterance"]):
        raise ValueError(f"utterance {twice[0]} appears twice: give the two corpora or files different names")
    return Measured(table, problems)


def _relative(message: str, folder: Path) -> str:
    """A message without the place of this checkout, as reports are published."""
    return message.replace(f"{folder}{os.sep}", "").replace(f"{REPOSITORY}{os.sep}", "")


def _fault(audio: Float[Tensor, " samples"]) -> str:
    """What is odd about a readable recording, or nothing."""
    if float(audio.abs().max()) < SILENT_LEVEL:
        return "silent"
    clipped = clipped_fraction(audio)
    return f"{100 * clipped:.1f} % of its samples are clipped: used as it is" if clipped > CLIPPED_SHARE else ""


def _missing_texts(names: dict[tuple[str, str], list[str]]) -> list[str]:
    """One line for each missing text, or for a whole corpus that has none."""
    lines = []
    for (corpus, language), utterances in names.items():
        if all(utterances):
            lines.append(f"{corpus}/{language}: has no texts: used as audio only")
        else:
            lines += [
                f"{name}: has no text: used as audio only, or add its line to the texts" for name in utterances if name
            ]
    return lines


def _rows(
    entry: Entry,
    recording: Recording,
    audio: Float[Tensor, " samples"],
    text: str,
    folder: Path,
    longest_seconds: float,
) -> list[dict[str, object]]:
    """The row of one recording, or those of its pieces."""
    whole = [(0.0, seconds_of_samples(len(audio)))]
    pieces = whole if whole[0][1] <= longest_seconds else cut_at_pauses(audio, longest_seconds)
    is_plain = bool(text) and not any(letter.isdigit() or letter in "[]()<>{}#*&@%+/?" for letter in entry.text[:-1])
    common = {
        "speaker": entry.speaker,
        "language": entry.language,
        "text": text if len(pieces) == 1 else "",
        "bandwidth_hz": entry.bandwidth_hz or min(recording.rate_hz, SAMPLE_RATE_HZ) // 2,
        "licence": entry.licence,
        "split": entry.split,
        "group": "",
        "corpus": entry.corpus,
        "path": Path(os.path.relpath(entry.path, folder)).as_posix(),
        PLAIN: is_plain and len(pieces) == 1,
        PROMPT: entry.prompt,
    }
    return [
        {
            "utterance": entry.utterance if len(pieces) == 1 else f"{entry.utterance}.{number:02d}",
            "seconds": round(end - start, 4),
            "start_seconds": round(start, 4),
            "end_seconds": round(end, 4),
            **common,
        }
        for number, (start, end) in enumerate(pieces, 1)
    ]


def validate(manifest: pd.DataFrame, where: str = "manifest") -> pd.DataFrame:
    """Checks a manifest and returns its columns in order.

    Raises:
        ValueError: A column, value or name is not as it must be; the first utterance concerned is named.
    """
    if missing := [column for column in COLUMNS if column not in manifest.columns]:
        raise ValueError(f"{where}: columns {', '.join(missing)} are missing: run the corpus stage again")
    checks = {
        "two utterances have this name": manifest["utterance"].duplicated(),
        "speaker is empty": manifest["speaker"] == "",
        f"language is none of {', '.join(LANGUAGES)}": (
            ~manifest["language"].isin(LANGUAGES) & (manifest["split"] != "voices")
        ),
        f"split is none of {', '.join(SPLITS)}": ~manifest["split"].isin(SPLITS),
        "seconds is not above 0": ~(manifest["seconds"] > 0),
        "end_seconds - start_seconds is not seconds": (
            (manifest["end_seconds"] - manifest["start_seconds"] - manifest["seconds"]).abs() > 0.001
        ),
        "bandwidth_hz is not in (0, 8000]": ~manifest["bandwidth_hz"].between(1, SAMPLE_RATE_HZ // 2),
        "text is not normalised": manifest["text"].str.contains(r"[0-9A-ZА-Я\[\]]"),
        "its group also stands in another split": _is_leaky(manifest),
    }
    for fault, failed in checks.items():
        if failed.any():
            name = manifest.loc[failed, "utterance"].iloc[0]
            raise ValueError(f"{where}: {name}: {fault}: correct the source and run the corpus stage again")
    return manifest.loc[:, list(COLUMNS)]


def _is_leaky(manifest: pd.DataFrame) -> pd.Series:
    """Rows whose group spreads over train, dev and test; unseen speakers may say what others say."""
    seen = manifest[manifest["split"] != "unseen"]
    n_splits = seen.groupby("group")["split"].nunique()
    return manifest["group"].isin(n_splits.index[n_splits > 1])


def write_manifest(manifest: pd.DataFrame, folder: Path) -> Path:
    """Validates and writes ``manifest.csv`` into a folder; it appears whole or not at all."""
    path = folder / "manifest.csv"
    partial = folder / ".manifest.csv.partial"
    validate(manifest, str(path)).to_csv(partial, index=False)
    partial.rename(path)
    return path


def read_manifest(folder: Path) -> pd.DataFrame:
    """Reads the validated manifest of a corpus folder.

    Raises:
        ValueError: None is there, or it is not valid.
    """
    path = folder / "manifest.csv"
    if not path.is_file():
        raise ValueError(f"no manifest in {folder}: run the corpus stage first")
    return validate(pd.read_csv(path, keep_default_na=False), str(path))


def read_utterance(folder: Path, row: pd.Series) -> Float[Tensor, " samples"]:
    """Audio of one row of the manifest of a corpus folder.

    Raises:
        AudioError: The recording has gone or cannot be read.
    """
    path = folder / row["path"]
    if not path.is_file():
        raise AudioError(f"{path}: the recording of {row['utterance']} has gone: run the corpus stage again")
    return read(path, row["start_seconds"], row["end_seconds"])
