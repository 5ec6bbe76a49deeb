"""Numbers of others: the paper's (arXiv v1 of Vec-Tok Speech, 2310.07246) with how sure each is, and some to orient by.

Sure: C read in a primary source, C1 in one secondary source, I inferred or arithmetic.
"""

from typing import NamedTuple

LABEL = "arXiv v1 (sure: C primary source, C1 one secondary source, I inferred)"


class Place(NamedTuple):
    """A number of our tables."""

    table: str
    system: str
    condition: str
    metric: str


class Cell(NamedTuple):
    """A number of the paper.

    ``judge`` says who gave it: listeners, a speaker model that is not named (the scale looks like Resemblyzer's), an
    ASR that is not named, or none (it was counted). ``here`` is our number that answers it, if this project has one.
    """

    table: str
    system: str
    metric: str
    value: float
    sure: str
    judge: str
    here: Place | None = None


class Ordering(NamedTuple):
    """Two cells of the paper, the first higher than the second."""

    name: str
    higher: Cell
    lower: Cell


class Published(NamedTuple):
    """Numbers of another system, on another corpus by another judge: for orientation, without a verdict."""

    system: str
    task: str
    numbers: str


def _ours(table: str, metric: str) -> Place:
    """The number that answers the paper's zero-shot rows: conversion to voices never seen."""
    return Place(table, "vectok", "all unseen", metric)


INTRA, CROSS, RATE = "table1_vc_intra", "table2_vc_cross", "bitrate"
SCS_INTRA = Cell(INTRA, "Vec-Tok", "scs", 0.927, "C1", "model", _ours(INTRA, "scs"))
SCS_CROSS = Cell(CROSS, "Vec-Tok", "scs", 0.919, "C1", "model", _ours(CROSS, "scs"))
PIECES_RATE = Cell(RATE, "Vec-Tok (BPE 8192)", "tokens_per_second", 20.0, "C", "none",
                   Place(RATE, "pieces", "all", "tokens_per_second"))  # fmt: skip
PIECES_BITS = Cell(RATE, "Vec-Tok (BPE 8192)", "bits_per_second", 260.0, "I", "none",
                   Place(RATE, "pieces", "all", "bits_per_second"))  # fmt: skip
RAW_RATE = Cell(RATE, "Vec-Tok (raw)", "tokens_per_second", 50.0, "C1", "none",
                Place(RATE, "tokens", "all", "tokens_per_second"))  # fmt: skip
RAW_BITS = Cell(RATE, "Vec-Tok (raw)", "bits_per_second", 411.0, "I", "none",
                Place(RATE, "tokens", "all", "bits_per_second"))  # fmt: skip

CELLS = (
    Cell(INTRA, "LM-VC", "nmos", 3.78, "C1", "listeners"),
    Cell(INTRA, "LM-VC", "smos", 3.74, "C1", "listeners"),
    Cell(INTRA, "LM-VC", "scs", 0.892, "C1", "model"),
    Cell(INTRA, "LM-VC", "cer", 3.2, "C1", "asr"),
    Cell(INTRA, "Vec-Tok", "nmos", 3.86, "C1", "listeners", _ours(INTRA, "distillmos")),
    Cell(INTRA, "Vec-Tok", "smos", 3.93, "C1", "listeners"),
    SCS_INTRA,
    Cell(INTRA, "Vec-Tok", "cer", 3.0, "C1", "asr", _ours(INTRA, "cer")),
    Cell(INTRA, "w/o inverse K-means", "smos", 3.67, "C1", "listeners"),
    Cell(CROSS, "LM-VC", "nmos", 3.60, "C1", "listeners"),
    Cell(CROSS, "LM-VC", "scs", 0.886, "C1", "model"),
    Cell(CROSS, "Vec-Tok", "nmos", 3.81, "C1", "listeners", _ours(CROSS, "distillmos")),
    SCS_CROSS,
    PIECES_RATE,
    PIECES_BITS,
    RAW_RATE,
    RAW_BITS,
)
ORDERINGS = (
    Ordering("similarity within a language above similarity across languages", SCS_INTRA, SCS_CROSS),
    Ordering("raw tokens come faster than pieces", RAW_RATE, PIECES_RATE),
    Ordering("raw tokens cost more bits than pieces", RAW_BITS, PIECES_BITS),
)
NEIGHBOUR = "WavLM-L6 + K-means (512) + Conformer + HiFi-GAN"
RESYNTHESIS, CONVERSION = "LibriSpeech test-clean resynthesis", "VCTK conversion"
ORIENTATION = {
    "codec": (
        Published(NEIGHBOUR, RESYNTHESIS, "UTMOS 3.75, dWER 6.20, similarity 90.0, .45 kbit/s"),
        Published("FocalCodec@50", RESYNTHESIS, "UTMOS 4.05, dWER 2.18, similarity 97.4, .65 kbit/s"),
        Published("SpeechTokenizer", RESYNTHESIS, "UTMOS 2.28, dWER 5.14, similarity 91.6"),
        Published("X-Codec2", "resynthesis", "UTMOS 4.13, WER 2.47, .8 kbit/s"),
    ),
    INTRA: (
        Published(NEIGHBOUR, CONVERSION, "UTMOS 2.90, dWER 26.68, similarity 92.4"),
        Published("FocalCodec@50", CONVERSION, "UTMOS 3.38, dWER 21.27, similarity 92.2"),
        Published("kNN-VC", "LibriSpeech dev-clean conversion", "WER 6.29, CER 2.34, EER 35.7"),
        Published("Seed-VC", "zero-shot conversion", "SECS .868, CER 2.92"),
    ),
}
