r"""How much choosing among N candidates brings: by CLVP, the LM's likelihood, both, at random, and by the scoring ASR.

The candidates of N are the first N, so that one set of 256 serves all N. Random choice is its expectation, the mean
over the candidates that were read (at most the first 16, which are as good as any others):

.. math:: E_\text{random}(N) = \frac1{\min(N, 16)} \sum_{i \le \min(N, 16)} e_i

The choice by ASR is the one row in which an evaluator selects; it is a bound, not a system.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from vectok.corpus.text import scoring_text
from vectok.evaluation.language_scores import COLUMNS
from vectok.evaluation.language_tables import tidy_row
from vectok.evaluation.metrics import ErrorCounts, character_errors
from vectok.evaluation.scores import KEYS
from vectok.evaluation.statistics import difference, interval
from vectok.evaluation.tables import DIFFERENCE_COLUMNS, Draws

CURVE = "clvp_curve"
CHOICES = ("both", "clvp", "likelihood", "random", "asr")
CURVE_COLUMNS = (*COLUMNS[:-3], "condition", *COLUMNS[-3:])


class Judged(NamedTuple):
    """What is said of each candidate of one text: both together, CLVP's similarity, the likelihood of an id."""

    both: Float[np.ndarray, " candidates"]
    clvp: Float[np.ndarray, " candidates"]
    likelihood: Float[np.ndarray, " candidates"]


class Tried(NamedTuple):
    """The candidates of one text: what is said of each, and the errors of those that were read."""

    row: object
    judged: Judged
    errors: dict[int, ErrorCounts]

    @property
    def n_candidates(self) -> int:
        """Of the text."""
        return len(self.judged.both)


def powers_of_two(most: int) -> list[int]:
    """1, 2, 4, ... up to and with the greatest power of two that is no more.

    Example:
        >>> powers_of_two(16)
        [1, 2, 4, 8, 16]
    """
    return [2**exponent for exponent in range(most.bit_length())]


def pick(values: Float[np.ndarray, " candidates"], n_candidates: int) -> int:
    """The best of the first N, the earlier of equals.

    Example:
        >>> pick(np.array([0.1, 0.5, 0.9]), 2)
        1
    """
    return int(np.argmax(values[:n_candidates]))


def to_read(judged: Judged, n_read: int) -> list[int]:
    """Candidates that the ASR must read: the first few, and whatever is chosen for a larger N."""
    n_candidates = len(judged.both)
    chosen = {pick(values, n) for n in powers_of_two(n_candidates) for values in judged}
    return sorted(chosen | set(range(min(n_read, n_candidates))))


def errors_of(tried: Tried, choice: str, n_candidates: int, n_read: int) -> tuple[float, float] | None:
    """Expected errors and the length of the reference for one choice among N; None where it was not read."""
    read = range(min(n_candidates, n_read, tried.n_candidates))
    if choice == "random":
        return float(np.mean([tried.errors[place].errors for place in read])), float(tried.errors[0].length)
    if choice == "asr":
        if n_candidates > n_read:
            return None
        return float(min(tried.errors[place].errors for place in read)), float(tried.errors[0].length)
    return tuple(map(float, tried.errors[pick(getattr(tried.judged, choice), n_candidates)]))


def curve_scores(tried: Sequence[Tried], n_read: int) -> pd.DataFrame:
    """One row a text, N and choice, under the condition ``<N> candidates, <how many> texts``.

    For each N all texts that have so many candidates count, and beside them, for a curve over the same texts
    throughout, those that have the most.

    Arguments:
        tried: The texts.
        n_read: Candidates of each text that were all read.
    """
    most, rows = max(one.n_candidates for one in tried), []
    longest = [one for one in tried if one.n_candidates == most]
    for n_candidates in powers_of_two(most):
        enough = [one for one in tried if one.n_candidates >= n_candidates]
        for part in {len(side): side for side in (enough, longest)}.values():
            condition = f"{n_candidates} candidates, {len(part)} texts"
            for one in part:
                keys = [CURVE if key == "table" else getattr(one.row, key) for key in KEYS]
                for choice in CHOICES:
                    if (found := errors_of(one, choice, n_candidates, n_read)) is not None:
                        own = [choice if key == "system" else value for key, value in zip(KEYS, keys, strict=True)]
                        rows.append((*own, one.row.known, condition, "cer", *found))
    return pd.DataFrame(rows, columns=list(CURVE_COLUMNS))


def curve_rows(
    scores: pd.DataFrame, model: str, test_list: str, n_draws: int, seed: int
) -> tuple[list[dict[str, object]], list[tuple[object, ...]]]:
    """Tidy rows of the curve, and the paired differences of CLVP, alone and with the likelihood, and other choices.

    Arguments:
        scores: What :func:`curve_scores` gives.
        model: Of the ASR.
        test_list: What was read.
        n_draws: Bootstrap draws.
        seed: Of the draws.
    Returns: Tidy rows, and rows of columns :data:`vectok.evaluation.tables.DIFFERENCE_COLUMNS` without correction.
    """
    rows, apart = [], []
    for condition, part in scores.groupby("condition", sort=False):
        draws = Draws(f"{CURVE} {condition}", n_draws, seed)
        sides = {system: own for system, own in part.groupby("system")}
        for system in (choice for choice in CHOICES if choice in sides):
            own = sides[system]
            found = interval(own, draws.of(own))
            rows.append(tidy_row(system, condition, "cer", model, test_list, found, 100.0))
            for choice in ("both", "clvp") if system not in ("both", "clvp") else ():
                gap = difference(sides[choice], own, draws.of(own))
                numbers = [round(100 * value, 4) for value in gap[:3]]
                apart.append((CURVE, choice, system, condition, "cer", *numbers, round(gap.p, 5), 0.0, gap.n))
    assert all(len(row) == len(DIFFERENCE_COLUMNS) for row in apart)
    return rows, apart


def n_candidates_of(condition: str) -> int:
    """N of a condition.

    Example:
        >>> n_candidates_of("16 candidates, 20 texts")
        16
    """
    return int(condition.split()[0])


def tried_of(row: object, judged: Judged, transcripts: dict[int, str]) -> Tried:
    """The candidates of one text, once some of them were read.

    Arguments:
        row: Its row, with ``text`` and ``content_language``.
        judged: What is said of each candidate.
        transcripts: By number of the candidate.
    """
    language = row.content_language
    reference = scoring_text(row.text, language)
    errors = {n: character_errors(reference, scoring_text(text, language)) for n, text in transcripts.items()}
    return Tried(row, judged, errors)
