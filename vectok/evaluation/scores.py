"""The long table of scores: one row a clip and metric, with what the bootstrap needs to know about the clip."""

import numpy as np
import pandas as pd

from vectok.corpus.text import scoring_text
from vectok.evaluation.metrics import clip_metrics
from vectok.evaluation.models import Scorer

SCORER_OF = {
    **dict.fromkeys(("wer", "cer", "dwer", "dcer"), "transcript"),
    **dict.fromkeys(("scs", "scs_prompt", "scs_source", "scs_margin"), "embedding"),
    "distillmos": "distillmos",
    **dict.fromkeys(("dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak", "dnsmos_p808"), "dnsmos"),
}
RATERS = ("distillmos", "dnsmos")
KEYS = ("table", "system", "item", "language", "is_seen", "speaker", "group")
COLUMNS = (*KEYS, "metric", "value", "weight")
RATE_SYSTEMS = {"raw": "tokens", "deduplicated": "tokens_deduplicated", "bpe": "pieces"}
RATE_MODELS = {"tokens_per_second": "", "bits_per_second": "nominal, rate x log2 of the alphabet",
               "entropy_bits_per_second": "smoothed unigram of train"}  # fmt: skip


def models_of(scorers: dict[str, Scorer], missing: dict[str, str]) -> dict[str, str]:
    """Model of each metric, or ``not run: <reason>`` where its model is missing."""
    return {metric: scorers[name].model if name in scorers else missing[name] for metric, name in SCORER_OF.items()}


def scores_of(rows: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    """All metrics of all rows.

    A clip that stands in two rows may be rated for one of them alone, so that the systems of a table are rated on the
    same items.

    Arguments:
        rows: The plan.
        values: What the models said, one row a clip.
    Returns: Columns :data:`COLUMNS`; the metric is :math:`\\sum value / \\sum weight`.
    """
    values = values.set_index("clip")
    found = [
        (*(getattr(row, key) for key in KEYS), metric, value, weight)
        for row in rows.itertuples()
        for metric, (value, weight) in clip_metrics(row, values).items()
        if SCORER_OF[metric] not in RATERS or SCORER_OF[metric] in row.raters
    ]
    return pd.DataFrame(found, columns=list(COLUMNS))


def rate_scores(rates: pd.DataFrame, index: pd.DataFrame, n_clusters: int, n_vocab: int) -> pd.DataFrame:
    """Rates of the test split in the same form: symbols or bits over seconds.

    Arguments:
        rates: Counts of each utterance, as :func:`vectok.rates.utterance_rates` gives them.
        index: The feature store's, for speakers and groups.
        n_clusters: Alphabet of raw tokens; deduplicated ones are charged with it too.
        n_vocab: Number of pieces.
    """
    known = index.set_index("utterance")[["speaker", "group"]]
    test, found = rates[rates["split"] == "test"].join(known, on="utterance"), []
    for row in test.itertuples():
        key = (row.utterance, row.language, True, row.speaker, row.group)
        for unit, system in RATE_SYSTEMS.items():
            n_symbols = getattr(row, f"n_{unit}")
            bits = {
                "tokens_per_second": n_symbols,
                "bits_per_second": n_symbols * np.log2(n_vocab if unit == "bpe" else n_clusters),
            }
            bits |= {"entropy_bits_per_second": getattr(row, f"entropy_bits_{unit}")} if unit != "deduplicated" else {}
            found += [("bitrate", system, *key, metric, float(value), row.seconds) for metric, value in bits.items()]
    return pd.DataFrame(found, columns=list(COLUMNS))


def transcripts_of(rows: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    """What the ASR read in each clip beside what was said, both normalised, with the number of wrong characters."""
    read = values.set_index("clip")["transcript"]
    spoken = rows.drop_duplicates(["table", "system", "item"])
    found = pd.DataFrame({
        "table": spoken["table"], "system": spoken["system"], "item": spoken["item"],
        "language": spoken["content_language"],
        "text": spoken["text"].where(spoken["text"] != "", spoken["content"].map(read)),
        "transcript": spoken["clip"].map(read),
    }).dropna(subset=["text", "transcript"])  # fmt: skip
    for column in ("text", "transcript"):
        found[column] = [
            scoring_text(text, language) for text, language in zip(found[column], found["language"], strict=True)
        ]
    return found.reset_index(drop=True)


def worst(transcripts: pd.DataFrame, scores: pd.DataFrame, system: str, n_rows: int = 10) -> pd.DataFrame:
    """The clips of a system with the highest character error rate."""
    rates = scores[(scores["metric"] == "dcer") & (scores["system"] == system)]
    rates = rates.assign(dcer=(100 * rates["value"] / rates["weight"]).round(1))[["table", "system", "item", "dcer"]]
    return rates.merge(transcripts, on=["table", "system", "item"]).nlargest(n_rows, "dcer").reset_index(drop=True)
