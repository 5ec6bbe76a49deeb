"""Tidy tables of the language side: the columns of :mod:`vectok.evaluation.tables`, an interval on every number."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from vectok.evaluation import language_translation as translation
from vectok.evaluation.language_rows import S2ST, SEEDS
from vectok.evaluation.language_scores import LANGUAGE_UNITS
from vectok.evaluation.statistics import Difference, Interval, difference, holm, interval
from vectok.evaluation.tables import COLUMNS, DECIMALS, DIFFERENCE_COLUMNS, NOT_RUN, Draws, conditions
from vectok.evaluation.units import SCALES

SYSTEMS = (
    "ground_truth", "tokens", "whisper_recording", "whisper_tokens", "tts", "tts_clvp", "tts_first", "style_transfer",
    "s2st", "continuation", "lm", "both", "clvp", "likelihood", "random", "asr", "shuffled_text", "shuffled_references",
    "unigram",
)  # fmt: skip
PERCENT = ("known_words", "early_stop", "unstopped", "repetition")
KNOWN = " known words"
TTS_BASELINES = ("tts_clvp", "tts_first", "shuffled_text", "unigram", "tokens", "ground_truth")


def language_conditions(scores: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Parts of a table: those of the codec's tables, then each again with only texts whose words occur in training.

    Arguments:
        scores: Rows of one table, columns ``language``, ``is_seen`` and ``known``.
    """
    yield from conditions(scores)
    known = scores[scores["known"]]
    for condition, part in conditions(known) if len(known) else ():
        yield f"{condition}{KNOWN}", part


def scale_of(metric: str) -> float:
    """What multiplies a ratio of sums."""
    return 100.0 if metric in PERCENT else SCALES.get(metric, 1.0)


def tidy_row(
    system: str, condition: str, metric: str, model: str, test_list: str, found: Interval, scale: float
) -> dict[str, object]:
    """One row, scaled to the unit and rounded."""
    unit = LANGUAGE_UNITS[metric]
    digits = 3 if unit == "1" else DECIMALS.get(unit, 3)
    numbers = [round(scale * value, digits) for value in found[:3]]
    return dict(zip(COLUMNS, (system, condition, metric, model, test_list, unit, *numbers, found.n), strict=True))


def ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Rows by system, condition as they came, and metric."""
    orders = {
        "system": [*SYSTEMS, *sorted(set(table["system"]) - set(SYSTEMS))],
        "condition": list(dict.fromkeys(table["condition"])),
        "metric": list(LANGUAGE_UNITS),
    }
    ranks = pd.DataFrame(
        {name: table[name].map({value: rank for rank, value in enumerate(order)}) for name, order in orders.items()}
    )
    return table.loc[ranks.sort_values(list(orders), kind="stable").index].reset_index(drop=True)


def summarise(
    scores: pd.DataFrame, models: dict[str, str], test_list: str, n_draws: int, seed: int
) -> list[dict[str, object]]:
    """Rows of one table.

    Arguments:
        scores: Clips of one table, columns :data:`vectok.evaluation.language_scores.COLUMNS`.
        models: Model of each metric, or ``not run: <reason>``; a metric that is not named was counted.
        test_list: What was read.
        n_draws: Bootstrap draws.
        seed: Of the draws.
    """
    rows, table = [], scores["table"].iloc[0]
    for condition, part in language_conditions(scores):
        draws = Draws(f"{table} {condition}", n_draws, seed)
        for system, own in part.groupby("system"):
            for metric, clips in own.groupby("metric"):
                found = interval(clips, draws.of(clips.drop_duplicates("item")))
                model = models.get(metric, "counted")
                rows.append(tidy_row(system, condition, metric, model, test_list, found, scale_of(metric)))
    missing = [name for name, model in models.items() if model.startswith(NOT_RUN)]
    nothing = Interval(np.nan, np.nan, np.nan, 0)
    for metric in missing:
        for system in scores["system"].unique():
            rows.append(tidy_row(system, "all", metric, models[metric], test_list, nothing, 1.0))
    return rows


def translation_rows(
    said: pd.DataFrame, asr: str, test_list: str, n_draws: int, seed: int, prefix: str = ""
) -> list[dict[str, object]]:
    """BLEU and chrF of each direction and of their mean.

    Arguments:
        said: As for :func:`vectok.evaluation.language_translation.all_draws`.
        asr: Model that read the clips, or ``the models' own text``.
        test_list: What was read.
        n_draws: Bootstrap draws.
        seed: Of the draws.
        prefix: Of the metrics' names.
    """
    signatures, rows = translation.signatures(), []
    sizes = said.drop_duplicates(["language", "group"]).groupby("language").size()
    for (system, direction, metric), draws in translation.all_draws(said, n_draws, seed).items():
        n = int(sizes.sum() if direction == "all" else sizes[direction])
        found = translation.interval_of(draws, n)
        model = f"{asr}; {signatures[metric]}"
        rows.append(tidy_row(system, direction, f"{prefix}{metric}", model, test_list, found, 1.0))
    return rows


def translation_differences(
    said: pd.DataFrame, system: str, baseline: str, n_draws: int, seed: int
) -> list[tuple[object, ...]]:
    """Paired differences of BLEU and chrF by direction, without Holm's correction yet."""
    draws, rows = translation.all_draws(said, n_draws, seed), []
    for (name, direction, metric), own in draws.items():
        other = draws.get((baseline, direction, metric))
        if name != system or other is None:
            continue
        apart = own - other
        part = said if direction == "all" else said[said["language"] == direction]
        low, high = translation.interval_of(apart, part["group"].nunique())[1:3]
        tail = min((apart[1:] <= 0).sum(), (apart[1:] >= 0).sum())
        p = min(1.0, 2 * (tail + 1) / len(apart))
        numbers = (round(float(apart[0]), 4), round(low, 4), round(high, 4), round(float(p), 5), 0.0)
        rows.append((S2ST, system, baseline, direction, metric, *numbers, part["item"].nunique()))
    return rows


def _shared(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both sides over the items that both have."""
    items = set(first["item"]) & set(second["item"])
    return first[first["item"].isin(items)], second[second["item"].isin(items)]


def paired(
    scores: pd.DataFrame, system: str, baselines: tuple[str, ...], metrics: tuple[str, ...], n_draws: int, seed: int
) -> list[tuple[object, ...]]:
    """Paired differences of a system and others over the items that both have, without Holm's correction yet.

    Arguments:
        scores: Clips of one table.
        system: The difference is this one minus the baseline.
        baselines: Those of them that the table has.
        metrics: To compare.
        n_draws: Bootstrap draws.
        seed: The same as for :func:`summarise`.
    """
    rows, table = [], scores["table"].iloc[0]
    for condition, part in language_conditions(scores):
        draws = Draws(f"{table} {condition}", n_draws, seed)
        for baseline in baselines:
            for metric in metrics:
                own = part[part["metric"] == metric]
                pair = _shared(own[own["system"] == system], own[own["system"] == baseline])
                if not len(pair[0]):
                    continue
                found = difference(*pair, draws.of(pair[0].drop_duplicates("item")))
                rows.append((table, system, baseline, condition, metric, *_numbers(found, metric), found.n))
    return rows


def _numbers(found: Difference, metric: str) -> tuple[float, ...]:
    scaled = [round(scale_of(metric) * value, 4) for value in found[:3]]
    return (*scaled, round(found.p, 5), 0.0)


def corrected(rows: list[tuple[object, ...]]) -> pd.DataFrame:
    """Differences with p-values corrected inside each table."""
    frame = pd.DataFrame(rows, columns=list(DIFFERENCE_COLUMNS))
    for _, own in frame.groupby("table"):
        frame.loc[own.index, "p_holm"] = [round(p, 5) for p in holm(own["p"].tolist())]
    return frame


def seed_rows(scores: pd.DataFrame, model: str, test_list: str, n_draws: int, seed: int) -> list[dict[str, object]]:
    """Each seed of TTS on the same texts, then their mean and their standard deviation (which has no interval).

    Arguments:
        scores: Clips of the table ``tts_seeds``; systems ``seed_0``, ``seed_1``, ...
        model: Of the ASR.
        test_list: What was read.
        n_draws: Bootstrap draws.
        seed: Of the draws.
    """
    own = scores[(scores["table"] == SEEDS) & scores["metric"].isin(["cer", "wer"])]
    rows = summarise(own, dict.fromkeys(("cer", "wer"), model), test_list, n_draws, seed) if len(own) else []
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    for (condition, metric), part in frame.groupby(["condition", "metric"], sort=False):
        values, n = part["value"].to_numpy(dtype=float), int(part["n"].max())
        mean = Interval(values.mean(), values.min(), values.max(), n)
        deviation = Interval(values.std(ddof=1) if len(values) > 1 else np.nan, np.nan, np.nan, n)
        for system, found in (("mean_of_seeds", mean), ("deviation_of_seeds", deviation)):
            rows.append(tidy_row(system, condition, metric, model, test_list, found, 1.0))
    return rows


def table_of(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Tidy rows as one ordered table."""
    return ordered(pd.DataFrame(rows, columns=list(COLUMNS)))
