"""Intervals: a bootstrap over prompt groups, or over speakers and then groups, the same draws for every system.

Every metric is a ratio of sums, :math:`\\sum_i v_i / \\sum_i w_i`: errors over words, symbols over seconds, or scores
over ones. One draw counts how often each cell was picked, so that 10,000 draws of a metric are one matrix product,
errors and words are resampled together, and the difference of two systems is paired.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

N_DRAWS = 10_000
MIN_SPEAKERS = 10  # below it a bootstrap over speakers covers 72 to 89 %, not 95 %: they are held fixed
FIXED = "conditional on these speakers"
HIERARCHICAL = "over speakers, then prompts"


class Interval(NamedTuple):
    """A value, its 95 % interval, and the number of clips behind it."""

    value: float
    low: float
    high: float
    n: int


class Difference(NamedTuple):
    """A paired difference, its 95 % interval, the two-sided bootstrap p-value and the number of clips."""

    value: float
    low: float
    high: float
    p: float
    n: int


class Resampling(NamedTuple):
    """How often each draw picked each cell. ``cells`` names the columns of ``counts``; ``note`` goes into headers."""

    cells: pd.Index
    counts: Float[np.ndarray, "draws cells"]
    note: str


def _grouped_counts(n_groups: int, n_draws: int, generator: np.random.Generator) -> Float[np.ndarray, "draws groups"]:
    """Draws ``n_groups`` groups with replacement, ``n_draws`` times."""
    return generator.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n_draws).astype(np.float64)


def _hierarchical_counts(
    sizes: list[int], n_draws: int, generator: np.random.Generator
) -> Float[np.ndarray, "draws cells"]:
    """Draws speakers with replacement, and inside every drawn speaker that speaker's groups afresh."""
    starts = np.concatenate([[0], np.cumsum(sizes)])
    counts = np.zeros((n_draws, starts[-1]))
    for _ in sizes:
        picked = generator.integers(len(sizes), size=n_draws)
        for speaker, size in enumerate(sizes):
            rows = np.flatnonzero(picked == speaker)
            counts[rows, starts[speaker] : starts[speaker + 1]] += _grouped_counts(size, len(rows), generator)
    return counts


def is_hierarchical(items: pd.DataFrame) -> bool:
    """Whether there are speakers enough to be drawn."""
    return items["speaker"].nunique() >= MIN_SPEAKERS


def cells_of(items: pd.DataFrame, by_speaker: bool) -> pd.Series:
    """The cell of each clip: its group, or its speaker and group.

    Arguments:
        items: Columns ``speaker`` and ``group``.
        by_speaker: Whether speakers are drawn.
    """
    groups = items["group"].astype(str)
    return items["speaker"].astype(str) + "\t" + groups if by_speaker else groups


def resampling(items: pd.DataFrame, n_draws: int = N_DRAWS, seed: int | list[int] = 0) -> Resampling:
    """Draws the bootstrap once for a set of clips.

    With ten speakers or more, speakers are drawn and then groups inside them. With fewer, groups of near-duplicate
    prompts are drawn and the speakers stay fixed, because a bootstrap over two to five speakers covers 72 to 89 %.

    Arguments:
        items: One row a clip, columns ``speaker`` and ``group``.
        n_draws: Bootstrap draws.
        seed: Of the draws.
    Raises:
        ValueError: There is no clip.
    """
    if not len(items):
        raise ValueError("no clip to resample: expected at least one row, got none; check the test list")
    by_speaker = is_hierarchical(items)
    generator, cells = np.random.default_rng(seed), pd.Index(sorted(cells_of(items, by_speaker).unique()))
    if not by_speaker:
        return Resampling(cells, _grouped_counts(len(cells), n_draws, generator), FIXED)
    sizes = pd.Series([cell.split("\t")[0] for cell in cells]).value_counts(sort=False).tolist()
    return Resampling(cells, _hierarchical_counts(sizes, n_draws, generator), HIERARCHICAL)


def _ratio_draws(clips: pd.DataFrame, draws: Resampling) -> tuple[float, Float[np.ndarray, " draws"]]:
    """The ratio of sums, once over all clips and once a draw; a draw without any weight is NaN."""
    sums = clips.assign(cell=cells_of(clips, draws.note == HIERARCHICAL)).groupby("cell")[["value", "weight"]].sum()
    sums = sums.reindex(draws.cells, fill_value=0.0).to_numpy(dtype=np.float64)
    drawn = draws.counts @ sums
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = np.where(drawn[:, 1] > 0, drawn[:, 0] / drawn[:, 1], np.nan)
        total = sums[:, 0].sum() / sums[:, 1].sum() if sums[:, 1].sum() > 0 else np.nan
    return float(total), ratios


def _percentiles(draws: Float[np.ndarray, " draws"]) -> tuple[float, float]:
    """The middle 95 % of the draws that are defined."""
    defined = draws[np.isfinite(draws)]
    return tuple(np.percentile(defined, [2.5, 97.5]).tolist()) if len(defined) else (np.nan, np.nan)


def interval(clips: pd.DataFrame, draws: Resampling) -> Interval:
    r"""A metric with its interval: :math:`\sum_i v_i / \sum_i w_i`.

    Arguments:
        clips: One row a clip, columns ``speaker``, ``group``, ``value``, ``weight``.
        draws: What :func:`resampling` drew for these clips' items.
    Returns: An interval of NaN where there is only one cell, which cannot vary.
    """
    total, ratios = _ratio_draws(clips, draws)
    limits = _percentiles(ratios) if len(draws.cells) > 1 else (np.nan, np.nan)
    return Interval(total, *limits, len(clips))


def difference(first: pd.DataFrame, second: pd.DataFrame, draws: Resampling) -> Difference:
    """The paired difference first - second over the items that both have.

    Arguments:
        first: As for :func:`interval`, with a column ``item``.
        second: The same.
        draws: The same for both, which is what pairs them.
    Raises:
        ValueError: The two share no item.
    """
    shared = sorted(set(first["item"]) & set(second["item"]))
    if not shared:
        raise ValueError("no item is in both systems: expected the same test list, got none in common")
    one, two = (_ratio_draws(side[side["item"].isin(shared)], draws) for side in (first, second))
    drawn = one[1] - two[1]
    defined = drawn[np.isfinite(drawn)]
    tail = min((defined <= 0).sum(), (defined >= 0).sum())
    return Difference(one[0] - two[0], *_percentiles(drawn), min(1.0, 2 * (tail + 1) / (len(defined) + 1)), len(shared))


def holm(p_values: list[float]) -> list[float]:
    r"""Holm's correction: :math:`\tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1) p_{(j)})`.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order, corrected, highest = np.argsort(p_values, kind="stable"), [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = float(round(highest, 12))
    return corrected
