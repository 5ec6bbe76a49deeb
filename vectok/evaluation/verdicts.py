"""The paper's numbers beside ours, with a verdict for each cell."""

from typing import NamedTuple

import pandas as pd

from vectok.evaluation.paper import CELLS, ORDERINGS, Cell, Ordering, Place
from vectok.evaluation.statistics import Interval
from vectok.evaluation.tables import lookup

REPRODUCING_PROFILES = frozenset({"paper"})
LARGEST_HALF_WIDTH = 0.05  # of the paper's value
REPRODUCED, SAME_ORDERING, DIFFERS, NOT_COMPARABLE = "reproduced", "same ordering", "differs", "not comparable"
OTHER_SCALE = "other corpus and scale"
JUDGES = {
    "listeners": "the paper's judges are listeners, ours a model",
    "asr": "the paper's ASR and texts are others",
    "model": "which speaker model the paper used is not confirmed",
}


class Verdict(NamedTuple):
    """A verdict and its reason in one clause."""

    verdict: str
    reason: str


def ours_of(place: Place | None, tables: dict[str, pd.DataFrame]) -> Interval | None:
    """Our number at a place, None where it does not stand or was not run."""
    if place is None or place.table not in tables:
        return None
    return lookup(tables[place.table], place.system, place.condition, place.metric)


def ordering_of(
    cell: Cell, tables: dict[str, pd.DataFrame], orderings: tuple[Ordering, ...] = ORDERINGS
) -> Verdict | None:
    """Whether our intervals show the paper's order of two cells, one of them this; None where there is no order."""
    for ordering in orderings:
        higher, lower = (ours_of(side.here, tables) for side in (ordering.higher, ordering.lower))
        if cell not in (ordering.higher, ordering.lower) or higher is None or lower is None:
            continue
        if higher.low > lower.high:
            return Verdict(SAME_ORDERING, f"{ordering.name}; intervals apart")
        if lower.low > higher.high:
            return Verdict(DIFFERS, f"not {ordering.name}; intervals apart")
        return Verdict(NOT_COMPARABLE, f"our intervals overlap: they show no order ({ordering.name} in the paper)")
    return None


def verdict_of(cell: Cell, ours: Interval | None, profile: str, ordering: Verdict | None) -> Verdict:
    """The verdict of one cell of the paper.

    ``reproduced`` wants the paper's value inside our interval, whose half-width is at most 5 % of it, with the same
    judge, at the paper's scale. No other profile ever reproduces.

    Arguments:
        cell: Of the paper.
        ours: Our number that answers it, if there is one.
        profile: Whose tables these are.
        ordering: What :func:`ordering_of` found.
    """
    if cell.here is None or ours is None:
        return Verdict(NOT_COMPARABLE, "no such system or judge here" if cell.here is None else "not run here")
    if cell.judge == "listeners":
        return Verdict(NOT_COMPARABLE, JUDGES["listeners"])
    if profile in REPRODUCING_PROFILES and cell.judge == "none":
        is_narrow = (ours.high - ours.low) / 2 <= LARGEST_HALF_WIDTH * abs(cell.value)
        is_inside = ours.low <= cell.value <= ours.high
        if is_inside:
            wide = Verdict(NOT_COMPARABLE, "inside our interval, which is wider than 5 % of it on a side")
            return Verdict(REPRODUCED, "inside our interval") if is_narrow else wide
    if ordering is not None:
        return ordering
    reasons = [] if profile in REPRODUCING_PROFILES else [OTHER_SCALE]
    reasons += [JUDGES[cell.judge]] if cell.judge in JUDGES else []
    return Verdict(NOT_COMPARABLE, "; ".join(reasons)) if reasons else Verdict(DIFFERS, "outside our interval")


def compare(tables: dict[str, pd.DataFrame], profile: str) -> pd.DataFrame:
    """Every cell of the paper with ours beside it.

    Arguments:
        tables: Our tidy tables by name.
        profile: Whose they are.
    Returns: Columns ``table, system, metric, paper, sure, here, value, low, high, verdict, reason``.
    """
    rows = []
    for cell in CELLS:
        ours = ours_of(cell.here, tables)
        verdict = verdict_of(cell, ours, profile, ordering_of(cell, tables))
        name = f"{cell.here.system}, {cell.here.condition}, {cell.here.metric}" if cell.here else ""
        numbers = ours[:3] if ours else (None, None, None)
        rows.append((*cell[:5], name, *numbers, *verdict))
    columns = ["table", "system", "metric", "paper", "sure", "here", "value", "low", "high", "verdict", "reason"]
    return pd.DataFrame(rows, columns=columns)
