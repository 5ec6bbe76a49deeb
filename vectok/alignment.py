"""Which frames does each word of a text last? Alignments made once, by a hidden Markov model of characters.

*Deviation* ("interleaved"): two hours of speech are too few for a language model to find out by itself which text
belongs to which speech, so that the sequences it learns from are interleaved word by word, along these alignments.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vectok import alignment_hmm
from vectok.alignment_hmm import SILENCE, Hmm, Reading
from vectok.frames import SAMPLES_PER_FRAME
from vectok.store import FeatureStore
from vectok.text.front_end import FrontEnd, TextError
from vectok.tokens import TokenTable

COLUMNS = ("utterance", "position", "word", "start_frame", "end_frame", "character_ends")
LEAST_POWER = 1e-10  # of a frame, so that digital silence has a level


@dataclass(frozen=True, kw_only=True)
class AlignmentConfig:
    """How the models are trained.

    Arguments:
        n_clusters: Size of the codebook.
        n_iterations: Rounds of Viterbi and counting.
        smoothing: Pseudo-count of every token in every character.
        min_frames_per_character: Utterances with fewer are left out (1 at least): so much text was hardly said.
    """

    n_clusters: int
    n_iterations: int = 12
    smoothing: float = 0.1
    min_frames_per_character: float = 1.75


class Texts(NamedTuple):
    """Words of each utterance with a text, letter by letter, and why each of the others cannot be aligned."""

    words: dict[str, list[str]]
    left_out: dict[str, str]


class Sample(NamedTuple):
    """One utterance to be aligned: its words, its tokens, and which of its frames are quiet."""

    utterance: str
    language: str
    split: str
    words: tuple[str, ...]
    tokens: Int[np.ndarray, " frames"]
    quiet: Bool[np.ndarray, " frames"]


class AlignedWord(NamedTuple):
    """A word and its frames [start, end); its characters end before the pause that may follow it."""

    word: str
    start: int
    end: int
    character_ends: tuple[int, ...]


class Aligner(NamedTuple):
    """A trained model of one language, the characters it met, and the mean log-likelihood of a frame in each round."""

    model: Hmm
    characters: tuple[str, ...]
    curve: tuple[float, ...]


class Aligned(NamedTuple):
    """Words of each utterance, and the log-likelihood of a frame of it."""

    words: dict[str, list[AlignedWord]]
    log_likelihoods: dict[str, float]


def quiet_frames(audio: Float[Tensor, " samples"], n_frames: int, quiet_db: float) -> Bool[np.ndarray, " frames"]:
    """Frames whose power lies ``quiet_db`` or more below that of the loudest frame.

    Arguments:
        audio: One utterance at 16 kHz.
        n_frames: Of it.
        quiet_db: A positive number of decibels.
    """
    samples = np.zeros(n_frames * SAMPLES_PER_FRAME, dtype=np.float32)
    samples[: len(audio)] = audio.numpy()[: len(samples)]
    levels = 10 * np.log10((samples.reshape(n_frames, -1) ** 2).mean(1) + LEAST_POWER)
    return levels < levels.max() - quiet_db


def read_texts(index: pd.DataFrame) -> Texts:
    """Words of every utterance of a store's index that has a text, by the front end of its language.

    Arguments:
        index: With the columns ``utterance``, ``language`` and ``text``.
    """
    words, left_out, front_ends = {}, {}, {}
    for row in index[index["text"] != ""].itertuples():
        try:
            front_end = front_ends.setdefault(row.language, FrontEnd.load(row.language))
            words[row.utterance] = front_end.words(row.text)
        except TextError as error:
            left_out[row.utterance] = str(error)
    return Texts(words, left_out)


def samples_of_store(
    store: FeatureStore, tokens: TokenTable, words: Mapping[str, Sequence[str]], quiet_db: float
) -> list[Sample]:
    """Utterances of a store whose words are known, in the order of its index.

    Arguments:
        store: Recordings or augmented renditions.
        tokens: Of that store.
        words: Of each utterance that has a text; a rendition (column ``source_utterance``) has those of its source.
        quiet_db: See :func:`quiet_frames`.
    """
    index = store.index
    sources = index["source_utterance"] if "source_utterance" in index else index["utterance"]
    return [
        Sample(
            utterance=row.utterance,
            language=row.language,
            split=row.split,
            words=tuple(words[source]),
            tokens=tokens.tokens(row.utterance).numpy(),
            quiet=quiet_frames(store.audio(row.utterance), row.n_frames, quiet_db),
        )
        for row, source in zip(index.itertuples(), sources, strict=True)
        if source in words
    ]


def faults(samples: Sequence[Sample], config: AlignmentConfig) -> dict[str, str]:
    """Why some utterances cannot be aligned, by their names: too much text, or a language without training texts."""
    found, trained = {}, {sample.language for sample in samples if sample.split == "train"}
    for sample in samples:
        n_frames, n_characters = len(sample.tokens), sum(map(len, sample.words))
        if sample.language not in trained:
            found[sample.utterance] = f"no training utterance in its language ({sample.language}) has a text"
        elif n_frames < max(1.0, config.min_frames_per_character) * n_characters or not n_characters:
            found[sample.utterance] = f"{n_frames} frames are too few for its {n_characters} characters"
    return found


def _reading(sample: Sample, characters: Sequence[str]) -> Reading:
    """Symbols and tokens; a letter that training never met has the symbol after the last, which says nothing."""
    places = {letter: place for place, letter in enumerate(characters, SILENCE + 1)}
    unmet = len(characters) + 1
    symbols = [[places.get(letter, unmet) for letter in word] for word in sample.words]
    return Reading(alignment_hmm.states(symbols), sample.tokens)


def train(samples: Sequence[Sample], config: AlignmentConfig) -> Aligner:
    """Trains the model of one language from a flat start: quiet frames silent, the others shared by the characters.

    Arguments:
        samples: Training utterances of the language, without :func:`faults`.
        config: Codebook, rounds, smoothing.
    Raises:
        ValueError: No utterance, or one with more characters than frames.
    """
    if not samples:
        raise ValueError("expected at least one utterance with a text, got none: leave this language out")
    characters = tuple(sorted({letter for sample in samples for word in sample.words for letter in word}))
    readings = [_reading(sample, characters) for sample in samples]
    paths = [alignment_hmm.flat_path(reading, s.quiet) for reading, s in zip(readings, samples, strict=True)]
    n_frames, curve = sum(len(sample.tokens) for sample in samples), []
    sizes = (len(characters) + 2, config.n_clusters, config.smoothing)
    for _ in range(config.n_iterations):
        found = alignment_hmm.align(readings, alignment_hmm.estimate(readings, paths, *sizes))
        paths = found.states
        curve.append(float(found.log_likelihoods.sum() / n_frames))
    return Aligner(alignment_hmm.estimate(readings, paths, *sizes), characters, tuple(curve))


def train_languages(samples: Sequence[Sample], config: AlignmentConfig) -> dict[str, Aligner]:
    """:func:`train` for each language, on its training utterances, recordings and renditions alike."""
    by_language: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.split == "train":
            by_language.setdefault(sample.language, []).append(sample)
    return {language: train(of_language, config) for language, of_language in sorted(by_language.items())}


def align(samples: Sequence[Sample], aligners: Mapping[str, Aligner]) -> Aligned:
    """Words of each utterance on the best path, in the order of the samples.

    Leading silence belongs to the first word and a pause to the word before it, so that words tile the utterance.

    Arguments:
        samples: Utterances without :func:`faults`, of any language and split.
        aligners: Of each language.
    """
    found: dict[str, tuple[list[AlignedWord], float]] = {}
    for language, aligner in aligners.items():
        own = [sample for sample in samples if sample.language == language]
        readings = [_reading(sample, aligner.characters) for sample in own]
        paths = alignment_hmm.align(readings, aligner.model)
        for sample, reading, path, score in zip(own, readings, paths.states, paths.log_likelihoods, strict=True):
            found[sample.utterance] = (aligned_words(sample.words, reading, path), float(score) / len(path))
    order = [sample.utterance for sample in samples]
    return Aligned({name: found[name][0] for name in order}, {name: found[name][1] for name in order})


def aligned_words(words: Sequence[str], reading: Reading, path: Int[np.ndarray, " frames"]) -> list[AlignedWord]:
    """Frames of the words on a path.

    Example:
        >>> reading = Reading(np.array([0, 1, 2, 0, 1, 0]), np.zeros(7, dtype=np.int64))
        >>> for word in aligned_words(("ab", "a"), reading, np.array([0, 1, 1, 2, 3, 4, 5])):
        ...     print(word.word, word.start, word.end, word.character_ends)
        ab 0 5 (3, 4)
        a 5 7 (6,)
    """
    spoken = np.flatnonzero(reading.states != SILENCE)
    first, last = np.searchsorted(path, spoken, "left"), np.searchsorted(path, spoken, "right")
    begins = np.cumsum([0, *map(len, words)])
    starts = [0, *first[begins[1:-1]].tolist(), len(path)]
    return [
        AlignedWord(word, start, end, tuple(last[begin : begin + len(word)].tolist()))
        for word, start, end, begin in zip(words, starts[:-1], starts[1:], begins[:-1].tolist(), strict=True)
    ]


def save(path: Path, aligned: Mapping[str, Sequence[AlignedWord]]) -> None:
    """Writes ``alignments.csv``: a row for each word."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for utterance, words in aligned.items():
            for position, word in enumerate(words):
                ends = " ".join(map(str, word.character_ends))
                writer.writerow([utterance, position, word.word, word.start, word.end, ends])


class Alignments:
    """Reads ``alignments.csv``.

    An augmented rendition has the alignment of its source: ask for its ``source_utterance``.

    Arguments:
        path: The file that the alignment stage wrote, or its folder.
    Raises:
        ValueError: The file is missing or has other columns.
    """

    def __init__(self, path: Path) -> None:
        path = path / "alignments.csv" if path.is_dir() else path
        if not path.is_file():
            raise ValueError(f"no alignments at {path}: run the alignment stage (make repro)")
        # A word may read "null".
        table = pd.read_csv(path, keep_default_na=False, dtype={"word": str, "character_ends": str, "utterance": str})
        if tuple(table.columns) != COLUMNS:
            raise ValueError(f"{path}: expected columns {', '.join(COLUMNS)}, got {', '.join(table.columns)}")
        self._words: dict[str, list[AlignedWord]] = {}
        for row in table.itertuples(index=False):
            ends = tuple(map(int, row.character_ends.split()))
            word = AlignedWord(row.word, int(row.start_frame), int(row.end_frame), ends)
            self._words.setdefault(row.utterance, []).append(word)

    @property
    def utterances(self) -> list[str]:
        """All aligned utterances, in the order of the file."""
        return list(self._words)

    def __contains__(self, utterance: object) -> bool:
        return utterance in self._words

    def words(self, utterance: str) -> list[AlignedWord]:
        """Words of one utterance, which tile its frames.

        Raises:
            ValueError: It is not aligned.
        """
        if utterance not in self._words:
            raise ValueError(f"{utterance!r} is not aligned: take one of Alignments.utterances")
        return self._words[utterance]
