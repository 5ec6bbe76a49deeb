"""Tidy tables with an interval on every number: one row a system, condition and metric."""

import hashlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from vectok.evaluation.statistics import (
    FIXED,
    HIERARCHICAL,
    N_DRAWS,
    Interval,
    Resampling,
    cells_of,
    difference,
    holm,
    interval,
    is_hierarchical,
    resampling,
)
from vectok.evaluation.units import SCALES, UNITS

COLUMNS = ("system", "condition", "metric", "model", "test_list", "unit", "value", "low", "high", "n")
DIFFERENCE_COLUMNS = ("table", "system", "baseline", "condition", "metric", "value", "low", "high", "p", "p_holm", "n")
DECIMALS = {"%": 2, "cosine": 4, "MOS 1-5": 3, "bit/s": 2, "1/s": 3, "1": 0}
SYSTEMS = (
    "ground_truth", "vocoder", "tokens", "tokens_deduplicated", "pieces", "vectok",
    "knn_vc_k1", "knn_vc_k4", "knn_vc_k8", "knn_vc_k16", "no_conversion", "random_target",
)  # fmt: skip
NOT_RUN = "not run"


def conditions(scores: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Parts of a table by name: each language and ``all``, then the same of seen and of unseen voices.

    ``en`` and ``all`` hold both kinds where both are there; ``en seen`` and ``en unseen`` hold one.

    Arguments:
        scores: Rows of one table, columns ``language`` and ``is_seen``.
    """
    kinds = {"": scores, " seen": scores[scores["is_seen"]], " unseen": scores[~scores["is_seen"]]}
    for suffix, chosen in kinds.items():
        if not len(chosen):
            continue
        for language, part in chosen.groupby("language"):
            yield f"{language}{suffix}", part
        yield f"all{suffix}", chosen


class Draws:
    """Bootstrap draws of a condition, the same for every system with the same cells, which pairs them.

    Arguments:
        name: Table and condition: with the seed it decides the draws.
        n_draws: Bootstrap draws.
        seed: Of the run.
    """

    def __init__(self, name: str, n_draws: int, seed: int) -> None:
        self.n_draws, self.seed, self._made = n_draws, [seed, zlib.crc32(name.encode())], {}

    def of(self, items: pd.DataFrame) -> Resampling:
        """Draws for a set of clips."""
        cells = frozenset(cells_of(items, is_hierarchical(items)))
        if cells not in self._made:
            self._made[cells] = resampling(items, self.n_draws, self.seed)
        return self._made[cells]


def _row(system: str, condition: str, metric: str, model: str, test_list: str, found: Interval) -> dict[str, object]:
    """One tidy row, scaled to the unit and rounded."""
    unit, scale = UNITS[metric], SCALES.get(metric, 1.0)
    value, low, high = (round(scale * number, DECIMALS.get(unit, 3)) for number in found[:3])
    return dict(
        zip(COLUMNS, (system, condition, metric, model, test_list, unit, value, low, high, found.n), strict=True)
    )


def summarise(
    scores: pd.DataFrame, models: dict[str, str], test_list: str, n_draws: int = N_DRAWS, seed: int = 0
) -> pd.DataFrame:
    """One table in tidy form.

    Arguments:
        scores: Clips of one table, columns ``table, system, item, language, is_seen, speaker, group, metric, value,
            weight``.
        models: Model of each metric, or ``not run: <reason>``: such a metric gets empty values and n = 0.
        test_list: Name of the list that was read.
        n_draws: Bootstrap draws.
        seed: Of the draws.
    """
    rows = []
    for condition, part in conditions(scores):
        draws = Draws(f"{scores['table'].iloc[0]} {condition}", n_draws, seed)
        for system, own in part.groupby("system"):
            for metric, clips in own.groupby("metric"):
                found = interval(clips, draws.of(clips.drop_duplicates("item")))
                rows.append(_row(system, condition, metric, models[metric], test_list, found))
            for metric in [name for name, model in models.items() if model.startswith(NOT_RUN)]:
                rows.append(
                    _row(system, condition, metric, models[metric], test_list, Interval(np.nan, np.nan, np.nan, 0))
                )
    return ordered(pd.DataFrame(rows, columns=list(COLUMNS)))


def ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order systems, conditions as they came, metrics as :data:`UNITS` lists them."""
    keys = {
        "system": [*SYSTEMS, *sorted(set(table["system"]) - set(SYSTEMS))],
        "condition": list(dict.fromkeys(table["condition"])),
        "metric": list(UNITS),
    }
    ranks = pd.DataFrame(
        {name: table[name].map({value: rank for rank, value in enumerate(order)}) for name, order in keys.items()}
    )
    return table.loc[ranks.sort_values(list(keys), kind="stable").index].reset_index(drop=True)


def _shared(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Items that both systems have, with the same content: the second's, one row an item."""
    one, two = (side.drop_duplicates("item").set_index("item") for side in (first, second))
    both = two.index.intersection(one.index)
    return two.loc[both[one.loc[both, "group"] == two.loc[both, "group"]]].reset_index()


def differences(
    scores: pd.DataFrame, system: str, metrics: tuple[str, ...], n_draws: int = N_DRAWS, seed: int = 0
) -> pd.DataFrame:
    """Paired differences of one system and every other, over the items that both have; Holm-corrected in the table.

    Rows over other prompts (the target's own recordings) are left out.

    Arguments:
        scores: As for :func:`summarise`.
        system: The difference is this one minus the other, the ``baseline``.
        metrics: To compare.
        n_draws: Bootstrap draws.
        seed: The same as for :func:`summarise`.
    """
    rows, table = [], scores["table"].iloc[0]
    for condition, part in conditions(scores):
        draws, base = Draws(f"{table} {condition}", n_draws, seed), part[part["system"] == system]
        for other, own in part[part["system"] != system].groupby("system"):
            items = _shared(base, own)
            pair = [side[side["item"].isin(items["item"])] for side in (base, own)]
            for metric in metrics:
                sides = [side[side["metric"] == metric] for side in pair]
                both = items[items["item"].isin(sides[0]["item"]) & items["item"].isin(sides[1]["item"])]
                if len(both):
                    found, scale = difference(*sides, draws.of(both)), SCALES.get(metric, 1.0)
                    scaled = [round(scale * value, 4) for value in found[:3]]
                    rows.append((table, system, other, condition, metric, *scaled, round(found.p, 5), 0.0, found.n))
    frame = pd.DataFrame(rows, columns=list(DIFFERENCE_COLUMNS))
    return frame.assign(p_holm=[round(p, 5) for p in holm(frame["p"].tolist())])


def resampling_note(scores: pd.DataFrame) -> str:
    """How the intervals of a table were made, condition by condition where it is not the same."""
    notes = {condition: HIERARCHICAL if is_hierarchical(part) else FIXED for condition, part in conditions(scores)}
    if len(set(notes.values())) == 1:
        return next(iter(notes.values()))
    over = [condition for condition, note in notes.items() if note == HIERARCHICAL]
    return f"{HIERARCHICAL} in {', '.join(over)}; elsewhere over prompts, {FIXED}"


def list_name(path: Path) -> str:
    """Name of a test list and the start of its SHA-256, so that a number can be followed to its items."""
    return f"{path.parent.name}/{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Writes a tidy table; a value that was not run is an empty cell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    table.to_csv(partial, index=False, lineterminator="\n")
    partial.rename(path)


def write_json(content: object, path: Path) -> None:
    """Writes sorted, indented JSON with a final newline."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def lookup(table: pd.DataFrame, system: str, condition: str, metric: str) -> Interval | None:
    """One number of a tidy table; None where it does not stand there or was not run."""
    found = table[(table["system"] == system) & (table["condition"] == condition) & (table["metric"] == metric)]
    if len(found) != 1 or not np.isfinite(found["value"].iloc[0]):
        return None
    return Interval(*found[["value", "low", "high"]].iloc[0].tolist(), int(found["n"].iloc[0]))
