"""The paper's numbers beside ours, with a verdict for each cell."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd
import yaml

from vectok.evaluation.statistics import Interval
from vectok.evaluation.tables import lookup

PAPER_FILE = Path(__file__).with_name("paper.yaml")
REPRODUCING_PROFILES = frozenset({"paper"})
LARGEST_HALF_WIDTH = 0.05  # of the paper's value
REPRODUCED, SAME_ORDERING, DIFFERS, NOT_COMPARABLE = "reproduced", "same ordering", "differs", "not comparable"
JUDGES = {
    "listeners": "the paper's judges are listeners, ours a model",
    "asr": "the paper's ASR and texts are others",
    "model": "which speaker model the paper used is not confirmed",
}


class Verdict(NamedTuple):
    """A verdict and its reason in one clause."""

    verdict: str
    reason: str


def read_paper(path: Path = PAPER_FILE) -> dict:
    """The committed numbers of the paper, with how sure each is."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def ordering_of(cell: dict, paper: dict, tables: dict[str, pd.DataFrame]) -> Verdict | None:
    """Whether our intervals show the paper's order of two cells, one of them this; None where there is no order."""
    for ordering in paper["orderings"]:
        if [cell["table"], cell["system"], cell["metric"]] not in ordering["cells"]:
            continue
        sides = []
        for side in (ordering["higher"], ordering["lower"]):
            table = tables.get(side["table"])
            sides.append(
                None if table is None else lookup(table, side["system"], side["condition"], ordering["metric"])
            )
        if sides[0] is None or sides[1] is None:
            return None
        higher, lower = sides
        if higher.low > lower.high:
            return Verdict(SAME_ORDERING, f"{ordering['name']}; intervals apart")
        if higher.value > lower.value:
            return Verdict(SAME_ORDERING, f"{ordering['name']}; intervals overlap")
        return Verdict(DIFFERS, f"not {ordering['name']}")
    return None


def verdict_of(cell: dict, ours: Interval | None, profile: str, ordering: Verdict | None) -> Verdict:
    """The verdict of one cell of the paper.

    ``reproduced`` wants the paper's value inside our interval, whose half-width is at most 5 % of it, with the same
    judge, at the paper's scale. No other profile ever reproduces.

    Arguments:
        cell: An entry of ``cells`` in paper.yaml.
        ours: Our number that answers it, if there is one.
        profile: Whose tables these are.
        ordering: What :func:`ordering_of` found.
    """
    if "here" not in cell:
        return Verdict(NOT_COMPARABLE, "no such system or judge here")
    if ours is None:
        return Verdict(NOT_COMPARABLE, "not run here")
    if cell["judge"] == "listeners":
        return Verdict(NOT_COMPARABLE, JUDGES["listeners"])
    if profile in REPRODUCING_PROFILES and cell["judge"] == "none":
        is_narrow = (ours.high - ours.low) / 2 <= LARGEST_HALF_WIDTH * abs(cell["value"])
        if is_narrow and ours.low <= cell["value"] <= ours.high:
            return Verdict(REPRODUCED, "inside our interval")
    if ordering is not None:
        return ordering
    scale = [] if profile in REPRODUCING_PROFILES else ["other corpus and scale"]
    reason = "; ".join([*scale, *([JUDGES[cell["judge"]]] if cell["judge"] in JUDGES else [])])
    return Verdict(NOT_COMPARABLE, reason) if reason else Verdict(DIFFERS, "outside our interval")


def compare(tables: dict[str, pd.DataFrame], profile: str, paper: dict | None = None) -> pd.DataFrame:
    """Every cell of the paper with ours beside it.

    Arguments:
        tables: Our tidy tables by name.
        profile: Whose they are.
        paper: What :func:`read_paper` gives, read when it is not given.
    Returns: Columns ``table, system, metric, paper, sure, here, value, low, high, verdict, reason``.
    """
    paper, rows = read_paper() if paper is None else paper, []
    for cell in paper["cells"]:
        here, ours = cell.get("here"), None
        if here and cell["table"] in tables:
            ours = lookup(tables[cell["table"]], here["system"], here["condition"], here["metric"])
        verdict = verdict_of(cell, ours, profile, ordering_of(cell, paper, tables))
        name = f"{here['system']}, {here['condition']}, {here['metric']}" if here else ""
        numbers = ours[:3] if ours else (None, None, None)
        rows.append(
            (cell["table"], cell["system"], cell["metric"], cell["value"], cell["sure"], name, *numbers, *verdict)
        )
    columns = ["table", "system", "metric", "paper", "sure", "here", "value", "low", "high", "verdict", "reason"]
    return pd.DataFrame(rows, columns=columns)
