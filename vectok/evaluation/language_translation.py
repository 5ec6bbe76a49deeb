r"""BLEU and chrF of ASR transcripts with bootstrap intervals.

Both are functions of sums over sentences, so that one draw is one matrix product. The sums and the formulas are
sacrebleu's (checked against it in the tests); transcripts and references go through the one normaliser first.

.. math:: \mathrm{BLEU} = \min(1, e^{1 - r/h}) \exp\Big(\tfrac14 \sum_{n=1}^4 \log p_n\Big), \qquad
    \mathrm{chrF} = \frac{(1 + \beta^2) P R}{\beta^2 P + R}, \quad \beta = 2

P and R are means over character n-grams, n = 1 to 6.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from vectok.corpus.text import scoring_text
from vectok.evaluation.language_plan import length_quartile_shuffle
from vectok.evaluation.statistics import Interval

N_BLEU, N_CHRF, BETA = 4, 6, 2
METRICS = ("bleu", "chrf")
UNSPOKEN = "lm"  # the row of what the LM writes without the memory's answers, which is a text


class Sums(NamedTuple):
    """Statistics that add up, one row a sentence: BLEU's are hypothesis and reference lengths, matches, totals."""

    bleu: Float[np.ndarray, "sentences ten"]
    chrf: Float[np.ndarray, "sentences eighteen"]


def signatures() -> dict[str, str]:
    """sacrebleu's signatures, by metric."""
    from sacrebleu.metrics import BLEU, CHRF

    found = {}
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        metric.corpus_score(["a"], [["a"]])  # fills in the number of references
        found[name] = f"sacrebleu {metric.get_signature()}"
    return found


def sums_of(hypotheses: Sequence[str], references: Sequence[str], language: str) -> Sums:
    """Statistics of sentences, normalised first.

    Arguments:
        hypotheses: Transcripts.
        references: Texts.
        language: Of both.
    """
    from sacrebleu.metrics import BLEU, CHRF

    said, meant = ([scoring_text(text, language) for text in side] for side in (hypotheses, references))
    # The only way to sacrebleu's counts by sentence; the lock file pins its version.
    statistics = [metric._extract_corpus_statistics(said, [meant]) for metric in (BLEU(), CHRF())]
    bleu, chrf = (np.array(rows, dtype=np.float64).reshape(len(said), -1) for rows in statistics)
    return Sums(bleu, chrf)


def bleu_of(sums: Float[np.ndarray, "*draws ten"]) -> Float[np.ndarray, "*draws"]:
    """Corpus BLEU of summed statistics, with sacrebleu's exponential smoothing of empty orders; 0 to 100."""
    lengths, correct, total = sums[..., :2], sums[..., 2 : 2 + N_BLEU], sums[..., 2 + N_BLEU :]
    empty = (correct == 0) & (total > 0)
    halvings = 2.0 ** np.cumsum(empty, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precisions = np.where(empty, 1 / (halvings * total), correct / total)
        logs = np.log(precisions).mean(axis=-1)
        penalty = np.minimum(1.0, np.exp(1 - lengths[..., 1] / lengths[..., 0]))
        score = 100 * penalty * np.exp(logs)
    return np.where((total > 0).all(axis=-1) & (correct.sum(axis=-1) > 0), score, 0.0)


def chrf_of(sums: Float[np.ndarray, "*draws eighteen"]) -> Float[np.ndarray, "*draws"]:
    """Corpus chrF2 of summed statistics, orders without n-grams on either side left out; 0 to 100."""
    said, meant, both = (sums[..., place::3] for place in range(3))
    used = (said > 0) & (meant > 0)
    n_used = np.maximum(used.sum(axis=-1), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(used, both / said, 0.0).sum(axis=-1) / n_used
        recall = np.where(used, both / meant, 0.0).sum(axis=-1) / n_used
        score = 100 * (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)
    return np.where(precision + recall > 0, score, 0.0)


FORMULAS = {"bleu": bleu_of, "chrf": chrf_of}


def drawn_scores(
    sums: Sums, metric: str, places: np.ndarray, counts: Float[np.ndarray, "draws groups"]
) -> Float[np.ndarray, " draws+1"]:
    """The metric over all sentences once, then of every draw.

    Arguments:
        sums: Of the sentences of one direction.
        metric: ``bleu`` or ``chrf``.
        places: Group of each sentence.
        counts: How often a draw picked each group.
    """
    rows = getattr(sums, metric)
    grouped = np.zeros((counts.shape[1], rows.shape[1]))
    np.add.at(grouped, places, rows)
    drawn = np.concatenate([rows.sum(axis=0, keepdims=True), counts @ grouped])
    return FORMULAS[metric](drawn)


def group_counts(n_groups: int, n_draws: int, seed: int) -> Float[np.ndarray, "draws groups"]:
    """Bootstrap draws of groups (prompt ids), the same for all directions, systems and metrics, which pairs them."""
    generator = np.random.default_rng([seed, 0x5253])
    return generator.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n_draws).astype(np.float64)


def interval_of(draws: Float[np.ndarray, " all"], n: int) -> Interval:
    """The first draw with the middle 95 % of the others; no limits where there is one group."""
    spread = np.percentile(draws[1:], [2.5, 97.5]).tolist() if n > 1 else (np.nan, np.nan)
    return Interval(float(draws[0]), *spread, n)


def all_draws(said: pd.DataFrame, n_draws: int, seed: int) -> dict[tuple[str, str, str], Float[np.ndarray, " draws"]]:
    """Draws of every system, direction and metric, and of the mean over directions (``all``).

    Arguments:
        said: Columns ``system, language`` (the direction), ``content_language, group, transcript, text``; a floor
            with several stand-ins has several rows of each item under names ``system#0``, ``system#1``, ...: their
            scores are averaged.
        n_draws: Bootstrap draws.
        seed: Of the draws.
    """
    names = sorted(said["group"].unique())
    numbers = {name: place for place, name in enumerate(names)}
    counts = group_counts(len(names), n_draws, seed)
    parts: dict[tuple[str, str, str], list] = {}
    for (system, direction), own in said.groupby(["system", "language"], sort=True):
        sums = sums_of(own["transcript"].tolist(), own["text"].tolist(), own["content_language"].iloc[0])
        places = own["group"].map(numbers).to_numpy()
        for metric in METRICS:
            key = (system.split("#")[0], direction, metric)
            parts.setdefault(key, []).append(drawn_scores(sums, metric, places, counts))
    found = {key: np.mean(values, axis=0) for key, values in parts.items()}
    for system, metric in sorted({(key[0], key[2]) for key in found}):
        found[system, "all", metric] = np.mean([v for k, v in found.items() if k[0] == system and k[2] == metric], 0)
    return found


def said_of(
    rows: pd.DataFrame, values: pd.DataFrame, written: dict[str, str], texts: dict[str, list[str]], n_shuffles: int,
    seed: int,
) -> pd.DataFrame:  # fmt: skip
    """What was said for each pair beside what should be: translations, recordings, and the floor.

    Arguments:
        rows: Of table 4.
        values: What the models said, one row a clip.
        written: The LM's own text by take.
        texts: Test texts by language: the floor's references, exchanged within quartiles of their length.
        n_shuffles: Exchanges of each reference.
        seed: Of the exchanges.
    Returns: Columns ``system, item, language, content_language, group, transcript, written, text``.
    """
    transcripts, found = values.set_index("clip")["transcript"], []
    others = {
        language: dict(zip(own, length_quartile_shuffle(own, seed, n_shuffles), strict=True))
        for language, own in ((language, sorted(set(own))) for language, own in texts.items())
    }
    for row in rows.itertuples():
        heard = transcripts[row.clip]
        common = (row.item, row.language, row.content_language, row.group, heard, written.get(row.take, ""))
        found.append((row.system, *common, row.text))
        if row.system == "s2st":
            stand_ins = others[row.content_language][row.text]
            found += [(f"shuffled_references#{n}", *common, text) for n, text in enumerate(stand_ins)]
    columns = ["system", "item", "language", "content_language", "group", "transcript", "written", "text"]
    return pd.DataFrame(found, columns=columns)


def with_texts(said: pd.DataFrame, written: dict[str, str]) -> pd.DataFrame:
    """The same with rows of texts that nobody speaks: the LM's own translations.

    Arguments:
        said: What :func:`said_of` gives.
        written: By item of table 4; where there are none, nothing is added.
    """
    if not written:
        return said
    alone = said[said["system"] == "s2st"]
    alone = alone.assign(system=UNSPOKEN, transcript="", written=alone["item"].map(written))
    return pd.concat([said, alone], ignore_index=True)
