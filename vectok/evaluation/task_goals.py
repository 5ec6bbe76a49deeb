"""What the tasks must reach, read off their tables, and what stands above those tables."""

from collections.abc import Sequence

import pandas as pd

from vectok.evaluation.enhancement import Degraded
from vectok.evaluation.privacy_tables import LIKELIEST, Curve
from vectok.evaluation.tables import lookup

LARGEST_PRESERVATION = 0.25
NOTES = {
    "anonymise": (
        "eer: of three attackers, and of profiles that hold no voice (50 % is perfect privacy; brackets: speakers, "
        "then trials); distinctiveness: cosine of one person's clips above that of two people's. mix p: SALT-like "
        "mixtures of four voices with a share p of the source; original: no processing; resynthesis: its own vectors "
        "through the vocoder. All sides are compared as narrow-band copies. Draws are per utterance where not said "
        "otherwise."
    ),
    "denoise": (
        "input: as it comes; gate: noisereduce; vectok: noisy tokens, clean prompt of the speaker; vectok_other: of "
        "another speaker; vectok_gate: tokens of the gated recording; resynthesis: clean tokens, the ceiling."
    ),
    "bandwidth": (
        "input: resampled; fold: spectral folding; vectok: narrow-band tokens, wide-band prompt; vectok_spliced: the "
        "recording below, vectok above; resynthesis: wide-band tokens, the ceiling."
    ),
}


def _value(table: pd.DataFrame, system: str, condition: str, metric: str) -> float:
    found = lookup(table, system, condition, metric)
    return float(found.value) if found else float("nan")


def private_goals(table: pd.DataFrame, preservations: Sequence[float], curve: Curve) -> dict[str, bool]:
    """Anonymisation: the semi-informed attacker errs more often than on unprocessed speech."""
    plain = _value(table, "original", LIKELIEST, "eer")
    names = ["random", *[f"mix {share:g}" for share in preservations if share <= LARGEST_PRESERVATION]]
    goals = {
        f"{name}: semi-informed EER above the unprocessed": _value(table, name, LIKELIEST, "eer") > plain
        for name in names
    }
    return goals | {"a setting within the limit of dCER is named": curve.best is not None}


def denoise_goals(table: pd.DataFrame, ways: Sequence[Degraded]) -> dict[str, bool]:
    """Denoising: at 0 dB DNSMOS OVRL above the input's for two kinds of noise or more."""
    pairs = [
        [_value(table, system, way.name, "dnsmos_ovrl") for system in ("vectok", "input")]
        for way in ways
        if way.amount == 0
    ]
    return {"denoising at 0 dB: DNSMOS OVRL above the input, two kinds or more": sum(a > b for a, b in pairs) >= 2}


def bandwidth_goals(table: pd.DataFrame, ways: Sequence[Degraded]) -> dict[str, bool]:
    """Bandwidth extension: high-band LSD below spectral folding's."""
    return {
        f"{way.name}: high-band LSD below folding's": _value(table, "vectok", way.name, "lsd_high")
        < _value(table, "fold", way.name, "lsd_high")
        for way in ways
    }
