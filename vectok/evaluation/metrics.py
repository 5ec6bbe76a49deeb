"""From what the models say about clips to one value and one weight a clip and metric.

A metric over clips is :math:`\\sum v / \\sum w`: for error rates v counts errors and w words or characters, so that the
rate is the corpus's and the bootstrap resamples errors and words together; for scores w is one.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from vectok.corpus.text import scoring_text


class ErrorCounts(NamedTuple):
    """Edit distance and length of the reference."""

    errors: int
    length: int


def word_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Substitutions, deletions and insertions of words, and the reference's number of words.

    Raises:
        ValueError: The reference is empty, which has no error rate.
    Example:
        >>> word_errors("press one now", "press won")
        ErrorCounts(errors=2, length=3)
    """
    import jiwer

    return _counts(jiwer.process_words(reference or " ", hypothesis), len(reference.split()))


def character_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """The same over characters, spaces included.

    Example:
        >>> character_errors("one", "won")
        ErrorCounts(errors=2, length=3)
    """
    import jiwer

    return _counts(jiwer.process_characters(reference or " ", hypothesis), len(reference))


def _counts(measures: object, length: int) -> ErrorCounts:
    """Sums jiwer's three kinds of errors."""
    if not length:
        raise ValueError("an empty reference has no error rate: drop the item or give its text")
    return ErrorCounts(measures.substitutions + measures.deletions + measures.insertions, length)


def error_rates(reference: str, hypothesis: str, language: str, prefix: str = "") -> dict[str, tuple[float, float]]:
    """``wer`` and ``cer`` of one clip as (errors, length), after the one normaliser; nothing for an empty reference.

    Arguments:
        reference: The text, or with prefix "d" the transcript of the source recording.
        hypothesis: The transcript of the clip.
        language: For the normaliser.
        prefix: Of the metrics' names.
    """
    reference, hypothesis = scoring_text(reference, language), scoring_text(hypothesis, language)
    if not reference:
        return {}
    words, characters = word_errors(reference, hypothesis), character_errors(reference, hypothesis)
    return {f"{prefix}wer": tuple(map(float, words)), f"{prefix}cer": tuple(map(float, characters))}


def similarity(embedding: Float[np.ndarray, " dim"], others: Float[np.ndarray, "batch dim"]) -> float:
    r"""Mean cosine between a clip and some utterances: :math:`\frac1n \sum_i \cos(e, o_i)`.

    Example:
        >>> similarity(np.array([2.0, 0.0]), np.array([[1.0, 0.0], [0.0, 1.0]]))
        0.5
    """
    cosines = others @ embedding / (np.linalg.norm(others, axis=1) * np.linalg.norm(embedding))
    return float(cosines.mean())


def speaker_scores(
    embedding: Float[np.ndarray, " dim"], references: np.ndarray, prompts: np.ndarray, source: np.ndarray
) -> dict[str, tuple[float, float]]:
    """``scs`` to target utterances other than the prompt, ``scs_prompt``, ``scs_source`` and their margin, weight one.

    Arguments:
        embedding: Of the clip.
        references: Of target utterances that are not the prompt; [0, dim] where there is none.
        prompts: Of the prompt's utterances; the same.
        source: Of the source utterance; the same.
    """
    sides = {"scs": references, "scs_prompt": prompts, "scs_source": source}
    found = {name: similarity(embedding, side) for name, side in sides.items() if len(side)}
    if {"scs", "scs_source"} <= found.keys():
        found["scs_margin"] = found["scs"] - found["scs_source"]
    return {name: (value, 1.0) for name, value in found.items()}


def _embeddings(values: pd.DataFrame, clips: list[str], column: str) -> Float[np.ndarray, "batch dim"]:
    """Embeddings of some clips, [0, 0] when there is none."""
    found = [values.at[clip, column] for clip in clips]
    return np.array([value for value in found if isinstance(value, list)], dtype=np.float64).reshape(
        len(clips) and -1, 256
    )


def clip_metrics(row: object, values: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """All metrics of one row of the plan as (value, weight); what was not run is absent.

    Arguments:
        row: A row of :func:`vectok.evaluation.plan.rows_of`, as a named tuple.
        values: What :func:`vectok.evaluation.scoring.score_clips` gives, by clip.
    """
    own, found = values.loc[row.clip], {}
    if isinstance(own["transcript"], str):
        found |= error_rates(row.text, own["transcript"], row.content_language) if row.text else {}
        found |= error_rates(values.at[row.content, "transcript"], own["transcript"], row.content_language, "d")
    column = "embedding_narrow" if row.narrow else "embedding"
    if isinstance(own[column], list):
        sides = (_embeddings(values, list(side), column) for side in (row.references, row.prompts, row.sources))
        found |= speaker_scores(np.array(own[column]), *sides)
    if isinstance(own["distillmos"], float):
        found["distillmos"] = (own["distillmos"], 1.0) if np.isfinite(own["distillmos"]) else (np.nan, 0.0)
    if isinstance(own["dnsmos"], dict):
        found |= {f"dnsmos_{name}": (value, 1.0) for name, value in own["dnsmos"].items()}
    return {name: pair for name, pair in found.items() if pair[1] > 0}
