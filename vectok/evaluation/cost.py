"""What things cost: real-time factors, parameters, seconds and memory. They stand in cost.csv and nowhere else."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vectok.evaluation.tables import COLUMNS
from vectok.evaluation.units import UNITS

N_REPEATS = 5


def table_of(measured: dict, stages: dict[str, dict]) -> pd.DataFrame:
    """cost.csv: components with their real-time factor and size, stages with their seconds and peak memory.

    Arguments:
        measured: What :func:`measure` gives.
        stages: Content of data/<profile>/cost/<stage>.json by stage.
    """
    device, rows = measured["device"], []

    def add(system: str, condition: str, metric: str, values: Sequence[float], n: int) -> None:
        digits = 5 if metric == "rtf" else 1 if metric == "seconds" else 0
        numbers = [np.nan if value != value else round(value, digits) for value in values]
        rows.append((system, condition, metric, device, "none", UNITS[metric], *numbers, n))

    for name, values in measured["rtf"].items():
        add(name, "component", "rtf", values, N_REPEATS)
    for name, number in measured["n_parameters"].items():
        add(name, "component", "n_parameters", (float(number), np.nan, np.nan), 1)
    for name, cost in stages.items():
        add(name, "stage", "seconds", (float(cost["seconds"]), np.nan, np.nan), 1)
        add(name, "stage", "peak_memory_mb", (float(cost["peak_memory_mb"]), np.nan, np.nan), 1)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def read_stages(folder: Path, without: str) -> dict[str, dict]:
    """The runner's files of a profile's stages, by stage, but for the stage that reads them."""
    paths = [path for path in sorted(folder.glob("*.json")) if path.stem != without]
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
