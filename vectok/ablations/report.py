"""From the scores of an ablation to its files, beside a baseline that several ablations share."""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from vectok.ablations import tables
from vectok.ablations.settings import Ablation, read_ablations
from vectok.evaluation.markdown import grid
from vectok.evaluation.tables import write_table
from vectok.evaluation.task_tables import differences
from vectok.folders import replacing


def baseline_name(ablation: Ablation) -> str:
    """The ablation whose scores hold the baseline: this one, or ``<stage>_baseline``."""
    return f"{ablation.stage}_baseline" if ablation.borrows else ablation.name


def with_baseline(ablation: Ablation, scores: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The scores with those of the baseline in front, where another ablation trained it.

    Arguments:
        ablation: From params.yaml.
        scores: Of its variants.
        folder: Of all ablations' scores, ``<folder>/<name>/scores.csv``.
    Raises:
        ValueError: The baseline has not been trained yet, or it was judged on other utterances.
    """
    if not ablation.borrows:
        return scores
    path = folder / baseline_name(ablation) / "scores.csv"
    if not path.exists():
        raise ValueError(f"no baseline at {path}: run make ablation NAME={baseline_name(ablation)} first")
    base = read_scores(path)
    base = base[base["system"] == ablation.baseline]
    if not set(base["item"]) & set(scores["item"]):
        raise ValueError(f"{path}: expected the utterances of {ablation.name}, got others: run the baseline again")
    return pd.concat([base, scores], ignore_index=True)


def spent_beside(
    ablation: Ablation, spent: Mapping[str, Mapping[str, float]], folder: Path
) -> dict[str, Mapping[str, float]]:
    """What was spent on the variants, and on the baseline that another ablation trained.

    Arguments:
        ablation: From params.yaml.
        spent: On its variants.
        folder: Of all ablations' scores.
    """
    if not ablation.borrows:
        return dict(spent)
    path = folder / baseline_name(ablation) / "spent.json"
    return {ablation.baseline: json.loads(path.read_text(encoding="utf-8")).get(ablation.baseline, {}), **spent}


def read_scores(path: Path) -> pd.DataFrame:
    """Scores as :func:`save` wrote them."""
    return pd.read_csv(path, dtype={"speaker": str, "group": str, "item": str, "system": str}, keep_default_na=False)


def save(ablation: Ablation, scores: pd.DataFrame, spent: Mapping[str, Mapping[str, float]], data: Path) -> None:
    """Writes ``scores.csv`` of the variants and what was spent on them; the folder appears whole or not at all.

    Arguments:
        ablation: From params.yaml.
        scores: Of its own variants.
        spent: Numbers of each variant's training.
        data: Folder of all ablations' scores.
    """
    with replacing(data / ablation.name) as partial:
        scores.round(6).to_csv(partial / "scores.csv", index=False, lineterminator="\n")
        (partial / "spent.json").write_text(json.dumps(spent, indent=2) + "\n", encoding="utf-8")


def publish(
    ablation: Ablation,
    scores: pd.DataFrame,
    spent: Mapping[str, Mapping[str, float]],
    reports: Path,
    test_list: str,
    n_draws: int,
    seed: int,
) -> str:
    """Writes ``<name>.csv``, ``<name>_differences.csv``, ``<name>.md`` and ``<name>.png`` below ``reports``.

    Arguments:
        ablation: From params.yaml.
        scores: With the baseline (:func:`with_baseline`).
        spent: Numbers of each variant's training.
        reports: The profile's folder of ablations.
        test_list: Name of the utterances.
        n_draws: Bootstrap draws.
        seed: Of the draws.
    Returns: The page.
    """
    table = tables.summarise(scores, test_list, n_draws, seed)
    metrics = tuple(dict.fromkeys(scores["metric"]))
    found = differences(scores, ablation.name, ablation.baseline, metrics, n_draws, seed)
    said = {name: ", ".join(f"{key} {value:g}" for key, value in of.items()) for name, of in spent.items() if of}
    text = tables.page(ablation, table, found, said, n_draws)
    write_table(table, reports / f"{ablation.name}.csv")
    write_table(found, reports / f"{ablation.name}_differences.csv")
    (reports / f"{ablation.name}.md").write_text(text, encoding="utf-8")
    drawn = tables.figure(table, ablation.baseline)
    drawn.savefig(reports / f"{ablation.name}.png", dpi=100, metadata={"Software": None})
    return text


def joined(reports: Path) -> pd.DataFrame:
    """All tables of ablations that have been run as one, with the column ``ablation`` in front."""
    parts = []
    for name in read_ablations():
        if (path := reports / f"{name}.csv").exists():
            table = pd.read_csv(path, keep_default_na=False, na_values=[""])
            parts.append(table.assign(ablation=name)[["ablation", *table.columns]])
    if not parts:
        raise ValueError(f"no table of an ablation in {reports}: run make ablations")
    return pd.concat(parts, ignore_index=True)


def _differences(reports: Path) -> pd.DataFrame:
    """Differences of every ablation to its baseline."""
    names = [name for name in read_ablations() if (reports / f"{name}_differences.csv").exists()]
    return pd.concat([pd.read_csv(reports / f"{name}_differences.csv") for name in names], ignore_index=True)


def apart(found: pd.DataFrame, level: float) -> pd.Series:
    """Which differences have an interval without 0 and a p-value below ``level`` after Holm's correction."""
    return (found["low"] * found["high"] > 0) & (found["p_holm"] < level)


def overview(reports: Path, level: float) -> str:
    """A page: each ablation with its question, its page, and what is apart from its baseline.

    Arguments:
        reports: The profile's folder of ablations.
        level: Of :func:`apart`.
    """
    found = _differences(reports)
    found, rows = found[apart(found, level)], []
    for name, ablation in read_ablations().items():
        for system in [system for system in ablation.variants if system != ablation.baseline]:
            own = found[(found["table"] == name) & (found["system"] == system)]
            said = "; ".join(
                f"{row.condition} {row.metric} {row.value:+.3g} [{row.low:+.3g}, {row.high:+.3g}]"
                for row in own.itertuples()
            )
            rows.append([f"[{name}]({name}.md)", system, said or "nothing is apart"])
    note = (
        "Differences to the baseline that are apart from it: paired 95 % bootstrap intervals without 0, "
        f"p < {level:g} after Holm's correction inside an ablation. One training of one seed each: `another seed` "
        "shows how much of that a seed alone can do."
    )
    return "\n\n".join(["### Ablations", note, grid(rows, ["ablation", "variant", "differences"])]) + "\n"


def count_apart(reports: Path, level: float) -> dict[str, dict[str, int]]:
    """Of each ablation: differences, and how many are apart."""
    found = _differences(reports)
    counted = found.assign(apart=apart(found, level)).groupby("table", sort=False)["apart"].agg(["size", "sum"])
    return {name: {"differences": int(row["size"]), "apart": int(row["sum"])} for name, row in counted.iterrows()}
