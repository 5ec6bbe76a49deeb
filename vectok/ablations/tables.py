"""Small tables of ablations: every variant with its interval, and its paired difference to the baseline."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vectok.ablations.settings import Ablation
from vectok.evaluation.markdown import grid
from vectok.evaluation.statistics import FIXED, N_DRAWS, Interval, interval
from vectok.evaluation.tables import COLUMNS, Draws
from vectok.evaluation.task_tables import scale_of

UNITS = {
    **dict.fromkeys(("mse", "ssim", "margin", "to_target", "to_source"), "1"),
    **dict.fromkeys(("mel", "linear"), "log amplitude"),
    **dict.fromkeys(("cosine", "pnmi"), "1"),
    **dict.fromkeys(("token_errors", "cer", "speaker_accuracy", "eer", "abx_within", "abx_across"), "%"),
    "tokens_per_second": "1/s",
    **dict.fromkeys(
        (
            "bits_per_second", "entropy_bits_per_second", "context_bits_per_second",
            "right_bits_per_second", "gain_bits_per_second",
        ),
        "bit/s",
    ),
    "bits_per_character": "bit",
    "f0_rmse_cents": "cents",
    **dict.fromkeys(("f0_gross_share", "voicing_error"), "share of frames"),
}  # fmt: skip
DECIMALS = {"%": 2, "bit/s": 2, "1/s": 2, "bit": 3, "cents": 1}
PERCENT = ("speaker_accuracy", "abx_within", "abx_across")  # beside those of the tasks' tables
HIGHER_IS_BETTER = ("ssim", "cosine", "margin", "gain_bits_per_second", "to_source", "pnmi")


def multiplier(metric: str) -> float:
    """What a ratio of sums is multiplied by: 100 for rates of errors."""
    return 100.0 if metric in PERCENT else scale_of(metric)


def row_of(system: str, condition: str, metric: str, test_list: str, found: Interval) -> dict[str, object]:
    """One tidy row, in its unit and rounded.

    Example:
        >>> row_of("a", "own voice", "mse", "dev", Interval(0.41234, 0.4, 0.42, 9))["value"]
        0.4123
    """
    decimals = DECIMALS.get(UNITS[metric], 4)
    numbers = (round(multiplier(metric) * number, decimals) + 0.0 for number in found[:3])
    return dict(zip(COLUMNS, (system, condition, metric, "", test_list, UNITS[metric], *numbers, found.n), strict=True))


def summarise(scores: pd.DataFrame, test_list: str, n_draws: int = N_DRAWS, seed: int = 0) -> pd.DataFrame:
    """Every variant, condition and metric with its interval, in the order in which they come.

    Arguments:
        scores: Columns :data:`vectok.evaluation.task_tables.SCORE_COLUMNS`; a metric is the sum of values over the sum
            of weights.
        test_list: Name of what was read.
        n_draws: Bootstrap draws, over prompt groups, or over speakers and then groups.
        seed: Of the draws.
    """
    rows = []
    for condition, part in scores.groupby("condition", sort=False):
        draws = Draws(f"tasks {condition}", n_draws, seed)
        for (system, metric), own in part.groupby(["system", "metric"], sort=False):
            found = interval(own, draws.of(own.drop_duplicates("item")))
            rows.append(row_of(system, condition, metric, test_list, found))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _shown(value: float, low: float, high: float, decimals: int) -> str:
    """A value with its interval, or alone where it has none."""
    value, low, high = (round(number, decimals) + 0.0 for number in (value, low, high))  # no -0.0
    ends = "" if np.isnan(low) else f" [{low:.{decimals}f}, {high:.{decimals}f}]"
    return f"{value:.{decimals}f}{ends}"


def wide(table: pd.DataFrame) -> str:
    """A Markdown table: one row a variant and condition, one column a metric."""
    metrics = [name for name in UNITS if name in set(table["metric"])]
    rows = []
    for (condition, system), part in table.groupby(["condition", "system"], sort=False):
        cells = {
            row.metric: _shown(row.value, row.low, row.high, DECIMALS.get(row.unit, 4)) for row in part.itertuples()
        }
        rows.append([system, condition, *[cells.get(name, "") for name in metrics], str(part["n"].max())])
    return grid(rows, ["variant", "condition", *[f"{name} [{UNITS[name]}]" for name in metrics], "n"])


def wide_differences(found: pd.DataFrame) -> str:
    """The same of paired differences; in bold those whose interval excludes 0 and that stay below .05 after Holm."""
    metrics = [name for name in UNITS if name in set(found["metric"])]
    rows = []
    for (condition, system), part in found.groupby(["condition", "system"], sort=False):
        cells = {}
        for row in part.itertuples():
            text = _shown(row.value, row.low, row.high, DECIMALS.get(UNITS[row.metric], 4))
            apart = row.low * row.high > 0 and row.p_holm < 0.05
            cells[row.metric] = f"**{text}**" if apart else text
        rows.append([system, condition, *[cells.get(name, "") for name in metrics]])
    return grid(rows, ["variant", "condition", *[f"{name} [{UNITS[name]}]" for name in metrics]])


def overrides_of(ablation: Ablation) -> str:
    """What each variant overrides, as a Markdown list."""
    lines = []
    for name, keys in ablation.variants.items():
        said = ", ".join(f"`{key}: {value}`" for key, value in keys.items()) or "nothing"
        lines.append(f"- {name}: {said}")
    return "\n".join(lines)


def page(
    ablation: Ablation, table: pd.DataFrame, found: pd.DataFrame, spent: Mapping[str, str], n_draws: int
) -> str:  # fmt: skip
    """One ablation as a Markdown page: question, overrides, what was spent, values, differences.

    Arguments:
        ablation: From params.yaml.
        table: From :func:`summarise`.
        found: Differences to the baseline.
        spent: Anything to be said of a variant, such as the steps that it was trained.
        n_draws: Bootstrap draws.
    """
    lists = ", ".join(table["test_list"].unique())
    header = (
        f"Test list: {lists}. Brackets: 95 % bootstrap intervals, {n_draws:,} draws, {FIXED}."
        + " They do not hold the spread of one training of one seed each." * bool(spent)
    )
    parts = [f"### Ablation {ablation.name}", ablation.question, overrides_of(ablation), header, wide(table)]
    if spent:
        parts.append("\n".join(f"- {name}: {text}" for name, text in spent.items()))
    if len(found):
        parts += [
            f"Paired differences to {ablation.baseline}; in bold those that are apart from it (interval without 0, "
            "p < .05 after Holm's correction in this table).",
            wide_differences(found),
        ]
    return "\n\n".join(parts) + "\n"


def figure(table: pd.DataFrame, baseline: str) -> Figure:
    """Values and intervals: a row of panels a condition, a panel a metric, the baseline as a dotted line."""
    conditions = list(dict.fromkeys(table["condition"]))
    panels = {condition: _metrics(table, condition) for condition in conditions}
    n_columns, systems = max(map(len, panels.values())), list(dict.fromkeys(table["system"]))
    size = (3.2 * n_columns + 1.5, len(conditions) * (0.35 * len(systems) + 1.1))
    drawn, axes = plt.subplots(len(conditions), n_columns, figsize=size, squeeze=False)
    for row, (condition, metrics) in zip(axes, panels.items(), strict=True):
        for axis, metric in zip(row, [*metrics, *[None] * (n_columns - len(metrics))], strict=True):
            _panel(axis, table[(table["condition"] == condition) & (table["metric"] == metric)], systems, baseline)
            better = "higher" if metric in HIGHER_IS_BETTER else "lower"
            axis.set_visible(metric is not None)
            axis.set_title(f"{condition}: {metric}\n({better} is better)" if metric else "", fontsize=8)
    for axis in axes[:, 1:].ravel():
        axis.set_yticklabels([])
    drawn.tight_layout()
    return drawn


def _metrics(table: pd.DataFrame, condition: str) -> list[str]:
    present = set(table.loc[table["condition"] == condition, "metric"])
    return [name for name in UNITS if name in present]


def _panel(axis: plt.Axes, own: pd.DataFrame, systems: Sequence[str], baseline: str) -> None:
    places = [systems.index(system) for system in own["system"]]
    spread = np.stack([own["value"] - own["low"], own["high"] - own["value"]]) if len(own) else np.zeros((2, 0))
    axis.errorbar(own["value"], places, xerr=np.nan_to_num(spread).clip(min=0), fmt="o", capsize=2)
    for value in own.loc[own["system"] == baseline, "value"]:
        axis.axvline(value, color="grey", linestyle=":")
    axis.set_yticks(range(len(systems)), systems, fontsize=8)
    axis.set_ylim(len(systems) - 0.5, -0.5)
    axis.tick_params(axis="x", labelsize=7)
