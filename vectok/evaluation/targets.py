"""What the system must reach, read off its own tables; what is not met stays unmet, with its number."""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from vectok.evaluation.tables import lookup

VC_TABLES = {"table1_vc_intra": "within a language", "table2_vc_cross": "across languages"}
LARGEST_CER_RISE = {"vocoder": 3.0, "tokens": 10.0}  # points above the recordings'
LARGEST_CER_RISE_FR = {"vocoder": 5.0, "tokens": 10.0}
LEAST_VOCODER_SCS = 0.90
LEAST_VOCODER_DISTILLMOS = 2.2
LEAST_SEEN_MARGIN = 0.10
LARGEST_PIECES = {"bits_per_second": 300.0, "tokens_per_second": 25.0}


class Target(NamedTuple):
    """One requirement, what was measured, and whether it is met."""

    requirement: str
    measured: str
    met: bool


def _cer_rises(codec: pd.DataFrame) -> Iterator[Target]:
    """CER of the vocoder and of the tokens against the recordings', by language."""
    languages = [
        c.split()[0] for c in dict.fromkeys(codec["condition"]) if c.endswith(" seen") and not c.startswith("all")
    ]
    for system in ("vocoder", "tokens"):
        for language in languages:
            pair = [lookup(codec, name, f"{language} seen", "cer") for name in (system, "ground_truth")]
            if None in pair:
                continue
            limit = (LARGEST_CER_RISE_FR if language == "fr" else LARGEST_CER_RISE)[system]
            rise = pair[0].value - pair[1].value
            yield Target(
                f"{system}, {language}: CER at most {limit:g} points above the recordings'",
                f"{rise:+.1f} ({pair[0].value:.1f} against {pair[1].value:.1f})", rise <= limit,
            )  # fmt: skip


def _vocoder_quality(codec: pd.DataFrame) -> Iterator[Target]:
    """Similarity and naturalness of the vocoder on true vectors."""
    for metric, least in (("scs", LEAST_VOCODER_SCS), ("distillmos", LEAST_VOCODER_DISTILLMOS)):
        if found := lookup(codec, "vocoder", "all seen", metric):
            recordings = lookup(codec, "ground_truth", "all seen", metric)
            beside = f", recordings {recordings.value:.2f}" if recordings and metric == "distillmos" else ""
            shown = f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]{beside}"
            yield Target(f"vocoder, all seen: {metric} at least {least:g}", shown, found.value >= least)


def _rates(bitrate: pd.DataFrame) -> Iterator[Target]:
    """Rates of the BPE stream."""
    for metric, most in LARGEST_PIECES.items():
        if found := lookup(bitrate, "pieces", "all", metric):
            yield Target(f"pieces: {metric} at most {most:g}", f"{found.value:.1f}", found.value <= most)


def _margins(name: str, table: pd.DataFrame) -> Iterator[Target]:
    """Similarity to the target against similarity to the source."""
    for kind, least in (("seen", LEAST_SEEN_MARGIN), ("unseen", 0.0)):
        if found := lookup(table, "vectok", f"all {kind}", "scs_margin"):
            above = f"at least {least:g} above" if least else "above"
            yield Target(
                f"vectok {VC_TABLES[name]}, {kind}: scs {above} scs_source, interval above 0",
                f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]",
                found.value >= least and found.low > 0,
            )


def _floors(name: str, differences: pd.DataFrame) -> Iterator[Target]:
    """Similarity to a never-seen target against that of the unconverted source."""
    own = differences[
        (differences["table"] == name) & (differences["baseline"] == "no_conversion")
        & (differences["condition"] == "all unseen") & (differences["metric"] == "scs")
    ]  # fmt: skip
    for row in own.itertuples():
        yield Target(
            f"vectok {VC_TABLES[name]}, unseen: scs above the floor row (no_conversion), interval above 0",
            f"{row.value:+.3f} [{row.low:+.3f}, {row.high:+.3f}]", row.low > 0,
        )  # fmt: skip


def _neighbours(name: str, table: pd.DataFrame) -> Iterator[Target]:
    """kNN-VC must not beat the system in both respects with any k."""
    rivals = sorted({system for system in table["system"] if system.startswith("knn_vc_k")}, key=lambda s: int(s[8:]))
    for kind in ("seen", "unseen"):
        condition = f"all {kind}"
        metric = "cer" if lookup(table, "vectok", condition, "cer") else "dcer"
        ours = [lookup(table, "vectok", condition, m) for m in (metric, "scs")]
        if None in ours or not rivals:
            continue
        theirs = {rival: [lookup(table, rival, condition, m) for m in (metric, "scs")] for rival in rivals}
        theirs = {rival: found for rival, found in theirs.items() if None not in found}
        better = [
            r for r, (errors, scs) in theirs.items() if errors.value < ours[0].value and scs.value > ours[1].value
        ]
        shown = "; ".join(
            f"{rival[7:]} {errors.value:.1f} / {scs.value:.3f}" for rival, (errors, scs) in theirs.items()
        )
        yield Target(
            f"{VC_TABLES[name]}, {kind}: no k of kNN-VC has both lower {metric} and higher scs",
            f"vectok {ours[0].value:.1f} / {ours[1].value:.3f}; {shown}", not better,
        )  # fmt: skip


def evaluate(tables: dict[str, pd.DataFrame], differences: pd.DataFrame) -> list[Target]:
    """All requirements that the tables can answer.

    Arguments:
        tables: Tidy tables by name.
        differences: Paired differences of vectok against the other rows.
    """
    found = [*_cer_rises(tables["codec"]), *_vocoder_quality(tables["codec"]), *_rates(tables["bitrate"])]
    for name in VC_TABLES:
        if name in tables:
            found += [*_margins(name, tables[name]), *_floors(name, differences), *_neighbours(name, tables[name])]
    return found
