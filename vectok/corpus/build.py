"""From the names of sources to a folder of recordings and what they say about themselves."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from vectok.corpus.asterisk import read_asterisk
from vectok.corpus.drascula import read_drascula
from vectok.corpus.entries import Entry
from vectok.corpus.kde import read_kde
from vectok.corpus.layouts import read_layout
from vectok.corpus.queen import read_queen
from vectok.corpus.sources import Finder, check_files, fetch_corpus
from vectok.layout import REPOSITORY, SAMPLE
from vectok.reproducibility import N_THREADS

READERS = {"asterisk": read_asterisk, "drascula": read_drascula, "kde": read_kde, "queen": read_queen}


class Gathered(NamedTuple):
    """Entries of all sources, and one line on each file that was left out."""

    entries: list[Entry]
    problems: list[str]


def gather(sources: list[str], folder: Path, finder: Finder) -> Gathered:
    """Brings every source here, a few at a time: unpacking and decoding leave the other cores idle.

    Arguments:
        sources: ``sample`` (the committed part of asterisk), ``asterisk``, ``drascula``, ``kde``, ``queen``, or
            ``<layout>:<language>:<folder>`` with a layout of :mod:`vectok.corpus.layouts`; such a folder stays where it
            is, relative ones count from the repository.
        folder: The stage's folder; recordings of the first five go to ``<folder>/audio``.
        finder: Where archives come from.
    Raises:
        ValueError: An unknown source, or one that cannot be had.
    """
    with ThreadPoolExecutor(N_THREADS) as pool:
        parts = list(pool.map(lambda source: _gather(source, folder, finder), sources))
    return Gathered([e for part in parts for e in part.entries], [p for part in parts for p in part.problems])


def _gather(source: str, folder: Path, finder: Finder) -> Gathered:
    """Brings one source here."""
    if source == "sample":
        target = _fresh(folder / "audio" / "asterisk")
        shutil.copytree(SAMPLE / "asterisk", target, dirs_exist_ok=True)
        problems = check_files("asterisk", target, is_whole=False)
        return Gathered(read_asterisk(target), problems)
    if source in READERS:
        target = _fresh(folder / "audio" / source)
        problems = fetch_corpus(source, target, finder)
        return Gathered(READERS[source](target), problems)
    if source.count(":") >= 2:
        layout, language, place = source.split(":", 2)
        return Gathered(read_layout(layout, language, REPOSITORY / place), [])
    raise ValueError(
        f"unknown source {source!r}: expected sample, {', '.join(READERS)} or <layout>:<language>:<folder>"
    )


def _fresh(folder: Path) -> Path:
    """An empty folder: nothing that an earlier, broken run left there counts."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def summarise(manifest: pd.DataFrame) -> pd.DataFrame:
    """Utterances, minutes, groups and share with a text for each corpus, language and split."""
    rows = manifest.assign(has_text=manifest["text"] != "")
    table = rows.groupby(["corpus", "language", "split"]).agg(
        utterances=("utterance", "size"),
        minutes=("seconds", lambda seconds: round(seconds.sum() / 60, 2)),
        groups=("group", "nunique"),
        speakers=("speaker", "nunique"),
        with_text=("has_text", "mean"),
    )
    return table.round(4).reset_index()
