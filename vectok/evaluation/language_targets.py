"""What the language side must reach on the embedded profile, read off its own tables."""

from collections.abc import Iterator

import pandas as pd

from vectok.evaluation.language_curve import CURVE, n_candidates_of
from vectok.evaluation.language_rows import S2ST, TTS
from vectok.evaluation.language_tables import KNOWN
from vectok.evaluation.statistics import Interval
from vectok.evaluation.tables import lookup
from vectok.evaluation.targets import Target

LARGEST_CER = {"en": (40.0, 20.0)}  # required, and to stretch for
LARGEST_CER_OTHERS = (50.0, 35.0)
LARGEST_ASR_CER = 35.0
CHOSEN_AT = 16
LEAST_SPEED_UP = 5.0


def _shown(found: Interval, digits: int = 1) -> str:
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def _tts(table: pd.DataFrame) -> Iterator[Target]:
    """CER of known words in voices of training, by language, with the floor and all texts beside."""
    suffix = f" seen{KNOWN}"
    for condition in dict.fromkeys(table["condition"]):
        language = condition.removesuffix(suffix)
        found = lookup(table, "tts_clvp", condition, "cer")
        if not condition.endswith(suffix) or language == "all" or found is None:
            continue
        most, stretch = LARGEST_CER.get(language, LARGEST_CER_OTHERS)
        others = {
            "all texts": ("tts_clvp", f"{language} seen"), "with the likelihood": ("tts", condition),
            "shuffled text": ("shuffled_text", condition),
        }  # fmt: skip
        numbers = {name: lookup(table, *keys, "cer") for name, keys in others.items()}
        beside = "".join(f"; {name} {number.value:.1f}" for name, number in numbers.items() if number)
        yield Target(
            f"TTS, {language}, known words, voices of training, best of 16 by CLVP: CER at most {most:g} %",
            f"{_shown(found)}{beside}; to stretch for {stretch:g}: {'yes' if found.value <= stretch else 'no'}",
            found.value <= most,
        )


def _gain(bits: pd.DataFrame) -> Iterator[Target]:
    """Bits a second that the right text saves."""
    pair = [lookup(bits, system, "all", "bits_per_second") for system in ("shuffled_text", "right_text")]
    if None not in pair:
        gain = pair[0].value - pair[1].value
        shown = f"{gain:+.1f} ({pair[1].value:.1f} against {pair[0].value:.1f})"
        yield Target("LM: the right text saves bits per second of speech over a shuffled one", shown, gain > 0)


def _choice(differences: pd.DataFrame) -> Iterator[Target]:
    """CLVP against random choice, which is the mean of all candidates; with the likelihood beside."""
    is_curve = (differences["table"] == CURVE) & (differences["baseline"] == "random")
    curve = differences[is_curve]
    curve = curve[curve["condition"].map(n_candidates_of) == CHOSEN_AT] if len(curve) else curve
    gaps = {system: own.sort_values("n").iloc[-1] for system, own in curve.groupby("system")}
    if "clvp" in gaps:
        beside = f"; with the likelihood {_gap(gaps['both'])}" if "both" in gaps else ""
        yield Target(
            f"CLVP picks better than random choice at N = {CHOSEN_AT}: CER lower, interval below 0",
            f"{_gap(gaps['clvp'])}{beside}", bool(gaps["clvp"]["high"] < 0),
        )  # fmt: skip


def _gap(row: pd.Series) -> str:
    return f"{row['value']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}], {row['n']} texts"


def _translation(differences: pd.DataFrame) -> Iterator[Target]:
    """Directions whose chrF is above the floor's."""
    own = differences[(differences["table"] == S2ST) & (differences["metric"] == "chrf")]
    own = own[(own["baseline"] == "shuffled_references") & (own["condition"] != "all")]
    if len(own):
        above = int((own["low"] > 0).sum())
        higher = int((own["value"] > 0).sum())
        yield Target(
            "S2ST: ASR-chrF above its floor, interval above 0, in at least half of the directions",
            f"{above} of {len(own)} (value alone: {higher})", 2 * above >= len(own),
        )  # fmt: skip


def _recognition(table: pd.DataFrame) -> Iterator[Target]:
    """ASR from tokens in English."""
    if found := lookup(table, "lm", "en", "cer"):
        text = f"ASR from tokens, en: CER below {LARGEST_ASR_CER:g} %"
        yield Target(text, _shown(found), found.value < LARGEST_ASR_CER)


def _speed(cost: pd.DataFrame) -> Iterator[Target]:
    """Tokens a second against transformers' own generation."""
    pair = [lookup(cost, system, "generation", "ids_per_second") for system in ("vectok", "transformers")]
    ids = [lookup(cost, system, "generation", "n_ids") for system in ("vectok", "transformers")]
    if None not in pair + ids:
        factor = pair[0].value / pair[1].value
        yield Target(
            f"generation: at least {LEAST_SPEED_UP:g} times the ids per second of transformers' generate",
            f"{factor:.1f} times ({pair[0].value:.0f} against {pair[1].value:.0f}; {ids[0].value:.0f} and "
            f"{ids[1].value:.0f} ids)", factor >= LEAST_SPEED_UP,
        )  # fmt: skip


def evaluate(tables: dict[str, pd.DataFrame], differences: pd.DataFrame) -> list[Target]:
    """All requirements that the tables can answer.

    Arguments:
        tables: Tidy tables by name.
        differences: Paired differences.
    """
    found = list(_tts(tables[TTS])) if TTS in tables else []
    found += _gain(tables["bits"]) if "bits" in tables else []
    found += [*_choice(differences), *_translation(differences)]
    found += _recognition(tables["asr"]) if "asr" in tables else []
    found += _speed(tables["language_cost"]) if "language_cost" in tables else []
    return found
