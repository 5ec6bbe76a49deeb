"""The long table of the language side's scores: one row a clip and metric, as :mod:`vectok.evaluation.scores` has it.

Metrics beside those of the codec:

- ``duration_ratio``: seconds generated over seconds of the recording of the same words;
- ``early_stop``: share of takes shorter than half the recording; ``unstopped``: of those that reached their limit;
- ``repetition``: share of runs of three pieces that stood before in the take;
- ``known_words``: share of words in the transcript that occur in the training texts of the language.
"""

from collections.abc import Sequence

import pandas as pd

from vectok.corpus.text import scoring_text
from vectok.evaluation.language_rows import CONTINUATION
from vectok.evaluation.language_takes import Take
from vectok.evaluation.metrics import clip_metrics, error_rates
from vectok.evaluation.scores import KEYS
from vectok.evaluation.systems import Clip
from vectok.frames import FRAME_RATE_HZ

COLUMNS = (*KEYS, "known", "metric", "value", "weight")
BEHAVIOUR = ("duration_ratio", "early_stop", "unstopped", "repetition")
LANGUAGE_UNITS = {
    **dict.fromkeys(("wer", "cer", "dwer", "dcer"), "%"),
    "bleu": "0-100",
    "chrf": "0-100",
    "text_bleu": "0-100",
    "text_chrf": "0-100",
    **dict.fromkeys(("scs", "scs_prompt"), "cosine"),
    "distillmos": "MOS 1-5",
    **dict.fromkeys(("known_words", "early_stop", "unstopped", "repetition"), "%"),
    "duration_ratio": "1",
    "bits_per_second": "bit/s",
    "ids_per_second": "1/s",
    "n_ids": "1",
    "rtf": "processing s / audio s, lower is better",
    "seconds": "s",
    "peak_memory_mb": "MiB",
    "n_parameters": "1",
}
LEFT_OUT = {CONTINUATION: ("wer", "cer", "dwer", "dcer")}


def behaviour(take: Take, seconds: float) -> dict[str, tuple[float, float]]:
    """What a take did, as (value, weight).

    Arguments:
        take: What was generated.
        seconds: Of the recording of the same words.
    """
    own = take.n_frames / FRAME_RATE_HZ
    return {
        "duration_ratio": (own, seconds),
        "early_stop": (float(own < seconds / 2), 1.0),
        "unstopped": (float(not take.stopped), 1.0),
        "repetition": (take.repetition, 1.0),
    }


def known_share(transcript: str, language: str, known: set[str]) -> tuple[float, float]:
    """Words of a transcript that are among known ones, and how many words it has.

    Arguments:
        transcript: Of the ASR.
        language: For the normaliser.
        known: Normalised words.
    """
    words = scoring_text(transcript, language).split()
    return float(sum(word in known for word in words)), float(len(words))


def scores_of(
    rows: pd.DataFrame, values: pd.DataFrame, takes: dict[str, Take], known: dict[str, set[str]]
) -> pd.DataFrame:
    """All metrics of all rows.

    Arguments:
        rows: As :class:`vectok.evaluation.language_rows.LanguageRow`.
        values: What the models said, one row a clip.
        takes: By name.
        known: Words of the training texts by language, as the scoring normaliser writes them.
    Returns: Columns :data:`COLUMNS`.
    """
    values, found = values.set_index("clip"), []
    for row in rows.itertuples():
        metrics = clip_metrics(row, values)
        if row.take:
            metrics |= behaviour(takes[row.take], row.seconds)
        transcript = values.at[row.clip, "transcript"]
        if row.table == CONTINUATION and isinstance(transcript, str):
            metrics["known_words"] = known_share(transcript, row.content_language, known[row.content_language])
        keys = [getattr(row, key) for key in KEYS]
        found += [
            (*keys, row.known, metric, value, weight)
            for metric, (value, weight) in metrics.items()
            if weight > 0 and metric in LANGUAGE_UNITS and metric not in LEFT_OUT.get(row.table, ())
        ]
    return pd.DataFrame(found, columns=list(COLUMNS))


def asr_scores(items: pd.DataFrame, transcripts: dict[str, dict[str, str]]) -> pd.DataFrame:
    """Error rates of speech recognition.

    Arguments:
        items: What was read, as :func:`vectok.evaluation.language_plan.texts_to_test` gives it.
        transcripts: By system and item.
    """
    found, by_item = [], {item.item: item for item in items.itertuples()}
    for system, texts in transcripts.items():
        for name, text in texts.items():
            item = by_item[name]
            keys = ("asr", system, item.item, item.language, True, item.speaker, item.group, bool(item.known))
            rates = error_rates(item.text, text, item.language)
            found += [(*keys, metric, value, weight) for metric, (value, weight) in rates.items()]
    return pd.DataFrame(found, columns=list(COLUMNS))


def recognised(items: pd.DataFrame, written: Sequence[str], read: pd.Series) -> dict[str, dict[str, str]]:
    """Transcripts of the test recordings by system and item: the LM's, the floor, and the scoring ASR's own.

    Arguments:
        items: What was read.
        written: The LM's transcripts; none when it does not transcribe.
        read: The scoring ASR's transcript of each clip; items whose clips it did not read are left out.
    """
    own = dict(zip(items["item"], written, strict=True)) if written else {}
    found = {"lm": own, "shuffled_references": {}, "whisper_recording": {}, "whisper_tokens": {}}
    for _, part in items.groupby("language") if own else ():
        names = part["item"].tolist()
        stand_ins = zip(names, [*names[1:], names[0]], strict=True)
        found["shuffled_references"] |= {name: own[other] for name, other in stand_ins}
    for item in items.itertuples():
        clips = {"whisper_recording": Clip("recording", item.item), "whisper_tokens": _resynthesis(item)}
        for system, clip in clips.items():
            if isinstance(read.get(clip.name), str):
                found[system][item.item] = read[clip.name]
    return found


def _resynthesis(item: object) -> Clip:
    return Clip("vectok", item.item, item.prompt)
