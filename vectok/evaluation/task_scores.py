"""From clips of a task to scores: what the models said of each, and what was measured beside the recording."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from vectok.evaluation.metrics import error_rates, similarity
from vectok.evaluation.scoring import Request
from vectok.evaluation.task_tables import SCORE_COLUMNS

Measured = dict[str, dict[str, tuple[float, float]]]
MODELS = {
    **dict.fromkeys(("wer", "cer", "dwer", "dcer"), "transcript"),
    "scs": "embedding",
    "distillmos": "distillmos",
    **dict.fromkeys(("dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak", "dnsmos_p808"), "dnsmos"),
}


class TaskClip(NamedTuple):
    """One clip in one row of a task's table: what it should say, whose voice it should have, its original."""

    system: str
    condition: str
    item: str
    language: str
    speaker: str
    group: str
    text: str
    clip: str
    original: str
    references: tuple[str, ...]


def requests_of(
    clips: Iterable[TaskClip], seconds: dict[str, float], wants: frozenset[str], of_original: frozenset[str]
) -> list[Request]:
    """What is scored: the clips, their originals and the references of the voice, each once.

    Arguments:
        clips: Rows.
        seconds: Length of each item.
        wants: Values of the clips, see :data:`vectok.evaluation.scoring.VALUES`.
        of_original: Values of the originals.
    """
    wanted: dict[str, tuple[str, float, set[str]]] = {}
    for row in clips:
        sides = [(row.clip, wants), (row.original, of_original)]
        sides += [(name, frozenset({"embedding"}) & wants) for name in row.references]
        for name, values in sides:
            wanted.setdefault(name, (row.language, seconds[row.item], set()))[2].update(values)
    return [
        Request(clip=name, language=language, seconds=length, wants=frozenset(values))
        for name, (language, length, values) in wanted.items()
        if values
    ]


def scores_of(clips: Iterable[TaskClip], values: pd.DataFrame, measured: Measured) -> pd.DataFrame:
    """All metrics of all rows, as (value, weight); what was not run or has no value is absent.

    Arguments:
        clips: Rows.
        values: What :func:`vectok.evaluation.scoring.score_clips` gives.
        measured: Metrics of a clip beside its original, by clip.
    """
    said, rows = values.set_index("clip"), []
    for row in clips:
        found = dict(measured.get(row.clip, {}))
        if row.clip in said.index:
            found |= _said(row, said)
        key = (row.system, row.condition, row.item, row.speaker, row.group)
        rows += [(*key, name, *pair) for name, pair in found.items() if pair[1] > 0 and np.isfinite(pair[0])]
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def _said(row: TaskClip, said: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """What the models said of one clip."""
    own, found = said.loc[row.clip], {}
    if isinstance(own["transcript"], str):
        found |= error_rates(row.text, own["transcript"], row.language) if row.text else {}
        original = said["transcript"].get(row.original)
        found |= error_rates(original, own["transcript"], row.language, "d") if isinstance(original, str) else {}
    voices = [said.at[name, "embedding"] for name in row.references if name in said.index]
    voices = np.array([voice for voice in voices if isinstance(voice, list)])
    if isinstance(own["embedding"], list) and len(voices):
        found["scs"] = (similarity(np.array(own["embedding"]), voices), 1.0)
    if isinstance(own["distillmos"], float) and np.isfinite(own["distillmos"]):
        found["distillmos"] = (own["distillmos"], 1.0)
    if isinstance(own["dnsmos"], dict):
        found |= {f"dnsmos_{name}": (value, 1.0) for name, value in own["dnsmos"].items()}
    return found


def models_of(scorers: dict[str, object], missing: dict[str, str], metrics: Sequence[str]) -> dict[str, str]:
    """Model of each metric that a model judges, or ``not run: <reason>``."""
    return {
        metric: scorers[MODELS[metric]].model if MODELS[metric] in scorers else missing[MODELS[metric]]
        for metric in metrics
        if metric in MODELS and MODELS[metric] in {*scorers, *missing}
    }
