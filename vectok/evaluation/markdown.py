"""Tables for people: Markdown with intervals, headers that name metric, model, normaliser and test list."""

import pandas as pd

from vectok.evaluation.paper import LABEL, ORIENTATION

TITLES = {
    "codec": "Codec resynthesis",
    "table1_vc_intra": "Table 1: voice conversion within a language",
    "table2_vc_cross": "Table 2: voice conversion across languages",
    "bitrate": "Bit rate of the tokens",
    "cost": "Cost",
}
SHOWN = {
    "codec": ("wer", "cer", "dcer", "scs", "scs_prompt", "distillmos", "dnsmos_ovrl"),
    "table1_vc_intra": ("cer", "dcer", "scs", "scs_source", "scs_margin", "distillmos", "dnsmos_ovrl"),
    "table2_vc_cross": ("cer", "dcer", "scs", "scs_source", "scs_margin", "distillmos", "dnsmos_ovrl"),
    "bitrate": ("tokens_per_second", "bits_per_second", "entropy_bits_per_second"),
    "cost": ("rtf", "n_parameters", "seconds", "peak_memory_mb"),
}
NOTES = {
    "codec": (
        "scs is to the original recording. Rows with a narrow-band recording (drascula: 11,025 Hz, 8 bits) are scored "
        "on narrow-band copies of both sides. Conditions are languages; seen and unseen are speakers in and out of "
        "training."
    ),
    "table1_vc_intra": (
        "Conditions are languages; seen and unseen are target voices in and out of training. Languages with one voice "
        "only cannot be converted within: on the embedded profile fr, it and ru are not available. ground_truth is a "
        "recording of the target, compared with others of it; vocoder and tokens are the source in its own voice, "
        "where the codec list has it; no_conversion is the source itself (the floor); random_target is vectok's clip "
        "compared with another speaker. Rows with a narrow-band recording are scored on narrow-band copies of all "
        "sides."
    ),
    "table2_vc_cross": (
        "Conditions are the source's language; seen and unseen are target voices in and out of training. Rows as in "
        "table 1."
    ),
    "bitrate": (
        "Rates are sums over sums on the test split. Deduplicated tokens lose their durations: no code by themselves."
    ),
    "cost": "rtf is processing time over audio time, median of five, warm-up excluded: lower is better.",
}
NORMALISER = "vectok.corpus.text.scoring_text: case, punctuation, digits to words, accents folded for es, ё to е"
ASR_NOTE = "The ASR is a relative of the embedded encoder (Whisper-base both)."
PAPER_COLUMNS = ("system", "metric", "paper", "sure", "here", "ours", "verdict", "reason")


def number(value: float, unit: str) -> str:
    """A number with the digits that its unit deserves.

    Example:
        >>> number(12.345, "%"), number(0.8567, "cosine"), number(9.7e6, "1")
        ('12.3', '0.857', '9,700,000')
    """
    if unit == "1" or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = {"%": 1, "cosine": 3}.get(unit, 4 if unit.startswith("processing") else 2)
    return f"{value:.{digits}f}"


def cell(row: object) -> str:
    """Value and interval, or ``not run``."""
    if row.n == 0 or row.value != row.value:
        return "not run"
    shown = number(row.value, row.unit)
    return shown if row.low != row.low else f"{shown} [{number(row.low, row.unit)}, {number(row.high, row.unit)}]"


def grid(rows: list[list[str]], header: list[str]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def wide(table: pd.DataFrame, metrics: tuple[str, ...]) -> str:
    """A tidy table with one column a metric, one row a system and condition, and the number of clips.

    A cell that rests on fewer clips than its row says on how many.
    """
    shown = [metric for metric in metrics if metric in set(table["metric"])]
    rows = []
    for (system, condition), part in table.groupby(["system", "condition"], sort=False):
        n, cells = part["n"].max(), {}
        for row in part.itertuples():
            is_fewer = 0 < row.n < n and row.low == row.low  # a size has no interval and rests on no clips
            cells[row.metric] = cell(row) + (f", n {row.n}" if is_fewer else "")
        if set(cells) & set(shown):
            rows.append([system, condition, *[cells.get(metric, "") for metric in shown], str(n)])
    units = table.drop_duplicates("metric").set_index("metric")["unit"]
    return grid(rows, ["system", "condition", *[f"{metric} [{units[metric]}]" for metric in shown], "n"])


def header(name: str, table: pd.DataFrame, information: dict) -> str:
    """What stands above a table: models and versions, normaliser, test list, how the intervals were made."""
    models = [model for model in table["model"].unique() if isinstance(model, str) and model]
    if name == "cost":
        return f"### {TITLES[name]}\n\n{NOTES[name]} Brackets: least and greatest of five. Device: {', '.join(models)}."
    lines = [
        f"### {TITLES[name]}", "", NOTES[name], "",
        f"Test list: {', '.join(table['test_list'].unique())}. Models: {'; '.join(models)}. "
        f"Text normaliser: {information['normaliser']}. {information['asr_note']} Brackets: 95 % bootstrap intervals, "
        f"{information['n_draws']:,} draws, {information['resampling'].get(name, 'none')}.",
    ]  # fmt: skip
    return "\n".join(lines)


def paper_grid(comparison: pd.DataFrame) -> str:
    """The paper's cells of one table beside ours."""
    rows = []
    for row in comparison.itertuples():
        ours = "" if row.value is None or row.value != row.value else f"{row.value:g} [{row.low:g}, {row.high:g}]"
        rows.append(
            [row.system, row.metric, f"{row.paper:g}", row.sure, row.here, ours, f"**{row.verdict}**", row.reason]
        )
    return grid(rows, list(PAPER_COLUMNS))


def page(name: str, table: pd.DataFrame, comparison: pd.DataFrame, information: dict) -> str:
    """One table as a Markdown page: header, ours, the paper's cells with their verdicts, and others to orient by."""
    parts = [header(name, table, information), wide(table, SHOWN[name])]
    own = comparison[comparison["table"] == name]
    if len(own):
        parts += [f"The paper's numbers, {LABEL}:", paper_grid(own)]
    if name in ORIENTATION:
        rows = [list(published) for published in ORIENTATION[name]]
        parts += [
            "Published by others on other corpora, by other judges; for orientation:",
            grid(rows, ["system", "task", "numbers"]),
        ]
    return "\n\n".join(parts) + "\n"
