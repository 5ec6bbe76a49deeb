"""Tidy tables of the tasks that the paper shows by demonstration only, in the form of :mod:`vectok.evaluation.tables`.

There a condition is a language; here it is whatever a task varies: a signal-to-noise ratio, a mixing weight, a rate.
"""

import numpy as np
import pandas as pd

from vectok.evaluation.markdown import wide
from vectok.evaluation.statistics import N_DRAWS, Interval, difference, holm, interval
from vectok.evaluation.tables import COLUMNS, DIFFERENCE_COLUMNS, Draws

SCORE_COLUMNS = ("system", "condition", "item", "speaker", "group", "metric", "value", "weight")
PERCENT = ("wer", "cer", "dwer", "dcer", "eer", "token_errors")
UNITS = {
    **dict.fromkeys(PERCENT, "%"),
    **dict.fromkeys(("scs", "scs_source", "scs_prompt", "distinctiveness"), "cosine"),
    **dict.fromkeys(("distillmos", "dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak", "dnsmos_p808"), "MOS 1-5"),
    "pesq_wb": "MOS 1-4.64",
    **dict.fromkeys(("lsd", "lsd_high", "si_sdr"), "dB"),
    **dict.fromkeys(("stoi", "estoi", "f0_correlation"), "correlation"),
    "tokens_per_second": "1/s",
    **dict.fromkeys(
        (
            "bits_per_second", "entropy_bits_per_second", "payload_bits_per_second", "overhead_bits_per_second",
            "file_bits_per_second",
        ),
        "bit/s",
    ),
    "prompt_bytes": "bytes",
}  # fmt: skip
DECIMALS = {
    "%": 2,
    "cosine": 4,
    "correlation": 4,
    "MOS 1-5": 3,
    "MOS 1-4.64": 3,
    "dB": 3,
    "bit/s": 2,
    "1/s": 3,
    "bytes": 1,
}
NOT_RUN = "not run"


def scale_of(metric: str) -> float:
    """What a ratio of sums is multiplied by: 100 for rates of errors."""
    return 100.0 if metric in PERCENT else 1.0


def row_of(system: str, condition: str, metric: str, model: str, test_list: str, found: Interval) -> dict[str, object]:
    """One tidy row, scaled to its unit and rounded."""
    decimals = DECIMALS[UNITS[metric]]
    numbers = (round(scale_of(metric) * number, decimals) + 0.0 for number in found[:3])
    return dict(
        zip(COLUMNS, (system, condition, metric, model, test_list, UNITS[metric], *numbers, found.n), strict=True)
    )


def summarise(
    scores: pd.DataFrame, models: dict[str, str], test_list: str, n_draws: int = N_DRAWS, seed: int = 0
) -> pd.DataFrame:
    """One table in tidy form, rows in the order in which systems and conditions come.

    Arguments:
        scores: One row a clip and metric, columns :data:`SCORE_COLUMNS`; a metric is the sum of values over the sum of
            weights.
        models: Model of each metric, or ``not run: <reason>``: such a metric gets empty values and n = 0.
        test_list: Name of what was read.
        n_draws: Bootstrap draws.
        seed: Of the draws.
    """
    rows, missing = [], [name for name, model in models.items() if model.startswith(NOT_RUN)]
    for condition, part in scores.groupby("condition", sort=False):
        draws = Draws(f"tasks {condition}", n_draws, seed)
        for system, own in part.groupby("system", sort=False):
            for metric in [name for name in UNITS if name in set(own["metric"])]:
                clips = own[own["metric"] == metric]
                found = interval(clips, draws.of(clips.drop_duplicates("item")))
                rows.append(row_of(system, condition, metric, models.get(metric, ""), test_list, found))
            for metric in missing:
                rows.append(row_of(system, condition, metric, models[metric], test_list, nothing()))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def not_run(
    systems: tuple[str, ...], conditions: list[str], metrics: tuple[str, ...], reason: str, test_list: str
) -> pd.DataFrame:
    """Rows of what could not be run, empty but for the reason, which begins with ``not run``."""
    rows = [
        row_of(system, condition, metric, reason, test_list, nothing())
        for condition in conditions
        for system in systems
        for metric in metrics
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def nothing() -> Interval:
    """What a table says of a metric that was not run."""
    return Interval(np.nan, np.nan, np.nan, 0)


def differences(
    scores: pd.DataFrame, table: str, baseline: str, metrics: tuple[str, ...], n_draws: int = N_DRAWS, seed: int = 0
) -> pd.DataFrame:
    """Paired differences of every system and one baseline over the items that both have, Holm-corrected in the table.

    Arguments:
        scores: As for :func:`summarise`.
        table: Its name.
        baseline: The difference is the other system minus this one.
        metrics: To compare.
        n_draws: Bootstrap draws.
        seed: The same as for :func:`summarise`.
    """
    rows = []
    for condition, part in scores.groupby("condition", sort=False):
        draws, base = Draws(f"tasks {condition}", n_draws, seed), part[part["system"] == baseline]
        for system, own in part[part["system"] != baseline].groupby("system", sort=False):
            for metric in metrics:
                sides = [side[side["metric"] == metric] for side in (own, base)]
                shared = sides[0][sides[0]["item"].isin(sides[1]["item"])].drop_duplicates("item")
                if len(shared):
                    found = difference(*sides, draws.of(shared))
                    numbers = [round(scale_of(metric) * value, 4) for value in found[:3]]
                    rows.append((table, system, baseline, condition, metric, *numbers, round(found.p, 5), 0.0, found.n))
    frame = pd.DataFrame(rows, columns=list(DIFFERENCE_COLUMNS))
    return frame.assign(p_holm=[round(p, 5) for p in holm(frame["p"].tolist())])


def page(title: str, note: str, table: pd.DataFrame, metrics: tuple[str, ...], n_draws: int, resampled: str) -> str:
    """A table as a Markdown page, its header naming metrics' models, the list and how the intervals were made.

    Arguments:
        title: Without the hashes.
        note: What the rows and conditions are.
        table: What :func:`summarise` gives.
        metrics: Columns, those that the table has.
        n_draws: Bootstrap draws.
        resampled: What the bootstrap drew.
    """
    models = table[table["metric"].isin(metrics)].drop_duplicates("metric").query("model != ''")
    judged = models.groupby("model", sort=False)["metric"].agg(", ".join)
    named = "; ".join(f"{own}: {model}" for model, own in judged.items())
    lists = ", ".join(table["test_list"].unique())
    header = f"Test list: {lists}. {named}. Brackets: 95 % bootstrap intervals, {n_draws:,} draws, {resampled}."
    return f"### {title}\n\n{note}\n\n{header}\n\n{wide(table, metrics)}\n"
