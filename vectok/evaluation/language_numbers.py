"""Tables of the language side that are read off other stages: bits per second of speech, and cost."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from vectok.evaluation.language_tables import table_of, tidy_row
from vectok.evaluation.statistics import Interval

BITS = {"right": "right_text", "shuffled": "shuffled_text"}
STAGES = ("alignment", "lm", "clvp", "language_evaluation")


def _single(value: float, n: int) -> Interval:
    return Interval(value, np.nan, np.nan, n)


def bits_table(metrics: dict) -> pd.DataFrame:
    """Bits per second with the right text, with another utterance's, and of unigrams; without intervals.

    Arguments:
        metrics: What the lm stage measured.
    """
    rows, place = [], ("bits_per_second", "teacher-forced on dev", "split dev")
    for key, system in {**BITS, "unigram": "unigram"}.items():
        if (value := metrics.get(f"{key}_bits_per_second")) is not None:
            rows.append(tidy_row(system, "all", *place, _single(value, 1), 1.0))
    for language, found in metrics.get("by_language", {}).items():
        rows += [tidy_row(BITS[key], language, *place, _single(found[key], 1), 1.0) for key in BITS if key in found]
    return table_of(rows)


def cost_table(measured: dict, stages: dict[str, dict]) -> pd.DataFrame:
    """Generation side by side with transformers, seconds against N, sizes, and what the stages took.

    Arguments:
        measured: What :func:`vectok.evaluation.language_speed.measure` gives.
        stages: Seconds and peak memory by stage.
    """
    rows, device = [], measured["device"]

    def add(system: str, condition: str, metric: str, value: float | int) -> None:
        rows.append(tidy_row(system, condition, metric, device, "none", _single(float(value), 1), 1.0))

    for system, value in measured["ids_per_second"].items():
        add(system, "generation", "ids_per_second", value)
        add(system, "generation", "n_ids", measured["n_ids"][system])
    for n, value in measured["seconds_by_n"].items():
        add("tts", f"best of {n}", "seconds", value)
        add("tts", f"best of {n}", "rtf", measured["rtf_by_n"][n])
    for system, value in measured["n_parameters"].items():
        add(system, "component", "n_parameters", value)
    for stage, cost in stages.items():
        add(stage, "stage", "seconds", cost["seconds"])
        add(stage, "stage", "peak_memory_mb", cost["peak_memory_mb"])
    return table_of(rows)


def read_stages(folder: Path) -> dict[str, dict]:
    """The runner's files of the language side's stages, those that are there."""
    paths = {stage: folder / f"{stage}.json" for stage in STAGES}
    return {stage: json.loads(path.read_text("utf-8")) for stage, path in paths.items() if path.is_file()}
