"""Is an alignment right? What silence, durations and somebody else's text say about it, without any transcript."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.axes
import numpy as np
import pandas as pd
from jaxtyping import Bool

from vectok.alignment import AlignedWord, Aligner, AlignmentConfig, Sample, align, faults
from vectok.frames import FRAME_RATE_HZ, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, seconds_of_frames
from vectok.store import FeatureStore

FRAME_MILLISECONDS = 1000 / FRAME_RATE_HZ


class Span(NamedTuple):
    """Frames [start, end)."""

    start: int
    end: int


def pauses(quiet: Bool[np.ndarray, " frames"], shortest_frames: int) -> list[Span]:
    """Stretches of quiet frames between the first and the last loud frame.

    Example:
        >>> pauses(np.array([True, False, True, True, True, False, True, False, True]), 2)
        [Span(start=2, end=5)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(np.int8), [0]])))
    spans = [Span(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
    return [one for one in spans if one.start > 0 and one.end < len(quiet) and one.end - one.start >= shortest_frames]


def pause_agreement(
    samples: Sequence[Sample], words: Mapping[str, Sequence[AlignedWord]], shortest_frames: int
) -> pd.DataFrame:
    """For every pause that the energy shows: does the alignment end one word where it begins, and start the next?

    Arguments:
        samples: Utterances with their quiet frames.
        words: Their alignments.
        shortest_frames: Of a pause: shorter ones are the closures of stops.
    Returns: One row a pause: utterance, language, start, end, ``between_words`` (a gap of the alignment overlaps it or
        touches it), ``error_ms`` (mean distance of the gap's two edges from the pause's, NaN when there is none).
    """
    rows = []
    for sample in samples:
        found = words[sample.utterance]
        gaps = [Span(one.character_ends[-1], two.start) for one, two in zip(found, found[1:], strict=False)]
        gaps = [Span(gap.start, max(gap)) for gap in gaps]
        for pause in pauses(sample.quiet, shortest_frames):
            near = [gap for gap in gaps if gap.start <= pause.end + 1 and gap.end >= pause.start - 1]
            errors = [(abs(gap.start - pause.start) + abs(gap.end - pause.end)) / 2 for gap in near]
            rows.append(
                {
                    "utterance": sample.utterance,
                    "language": sample.language,
                    **pause._asdict(),
                    "between_words": bool(near),
                    "error_ms": min(errors) * FRAME_MILLISECONDS if near else np.nan,
                }
            )
    columns = ["utterance", "language", "start", "end", "between_words", "error_ms"]
    return pd.DataFrame(rows, columns=columns).astype({"between_words": bool, "error_ms": float})


def character_durations(samples: Sequence[Sample], words: Mapping[str, Sequence[AlignedWord]]) -> pd.DataFrame:
    """Milliseconds of every character; the first of an utterance is left out, as leading silence stands before it."""
    rows = []
    for sample in samples:
        for position, word in enumerate(words[sample.utterance]):
            durations = np.diff([word.start, *word.character_ends])
            first = 1 if position == 0 else 0
            rows += [
                (sample.language, letter, float(duration * FRAME_MILLISECONDS))
                for letter, duration in zip(word.word[first:], durations[first:], strict=True)
            ]
    return pd.DataFrame(rows, columns=["language", "character", "milliseconds"])


def exchanged(samples: Sequence[Sample], config: AlignmentConfig) -> list[Sample]:
    """The same utterances, each with the words of its neighbour in length; those that then cannot be aligned are gone.

    Arguments:
        samples: Utterances of any languages; a language's neighbours are its own.
        config: What cannot be aligned.
    """
    order = sorted(samples, key=lambda sample: (sample.language, len(sample.tokens), sample.utterance))
    given = {
        one.utterance: two.words
        for one, two in zip(order, [*order[1:], *order[:1]], strict=True)
        if one.language == two.language and one.words != two.words
    }
    others = [sample._replace(words=given[sample.utterance]) for sample in samples if sample.utterance in given]
    # All count as training here: whether the language has a model is not the question.
    refused = faults([sample._replace(split="train") for sample in others], config)
    return [sample for sample in others if sample.utterance not in refused]


def text_gain(samples: Sequence[Sample], aligners: Mapping[str, Aligner], config: AlignmentConfig) -> pd.DataFrame:
    r"""How much better held-out speech fits its own words than a neighbour's.

    .. math:: \frac{50}{\ln 2} (\ell_{\text{own}} - \ell_{\text{other}}) \quad \text{bits per second of speech}

    with :math:`\ell` the log-likelihood of a frame on the best path.

    Returns: One row an utterance: utterance, language, ``gain`` in bits per second.
    """
    others = exchanged(samples, config)
    own, other = align(samples, aligners).log_likelihoods, align(others, aligners).log_likelihoods
    rate = FRAME_RATE_HZ / np.log(2)
    rows = [(one.utterance, one.language, rate * (own[one.utterance] - other[one.utterance])) for one in others]
    return pd.DataFrame(rows, columns=["utterance", "language", "gain"])


def least_likely(scores: Mapping[str, float], samples: Sequence[Sample], n: int) -> pd.DataFrame:
    """Utterances of several words that fit their texts worst, within their language: texts to look at.

    Arguments:
        scores: Log-likelihood of a frame of each utterance.
        samples: The utterances.
        n: How many.
    Returns: utterance, text, ``deviations`` (standard deviations from the mean of the language).
    """
    table = pd.DataFrame(
        [(one.utterance, one.language, " ".join(one.words), scores[one.utterance], len(one.words)) for one in samples],
        columns=["utterance", "language", "text", "score", "n_words"],
    )
    by_language = table.groupby("language")["score"]
    table["deviations"] = (table["score"] - by_language.transform("mean")) / by_language.transform("std")
    several = table[table["n_words"] > 1].sort_values(["deviations", "utterance"])
    return several[["utterance", "text", "deviations"]].head(n).reset_index(drop=True)


def plot_words(axis: matplotlib.axes.Axes, store: FeatureStore, utterance: str, words: Sequence[AlignedWord]) -> None:
    """Spectrogram of an utterance with its words; solid lines are starts of words, dotted ones their speech's ends.

    Arguments:
        axis: Where to draw.
        store: That holds the recording.
        utterance: Its name.
        words: Its alignment.
    """
    audio = store.audio(utterance).numpy()
    noise = np.random.default_rng(0).normal(0, 1e-5, len(audio))  # digital silence has no level
    axis.specgram(audio + noise, NFFT=400, noverlap=400 - SAMPLES_PER_FRAME // 2, Fs=SAMPLE_RATE_HZ, vmin=-120)
    for word in words:
        start, end = seconds_of_frames(word.start), seconds_of_frames(word.character_ends[-1])
        axis.axvline(start, color="white", linewidth=1)
        axis.axvline(end, color="white", linewidth=1, linestyle=":")
        axis.text((start + end) / 2, 7400, word.word, color="white", ha="center", va="top", fontsize=9)
    axis.set(xlabel="seconds", ylabel="Hz", title=utterance)
    axis.grid(False)
