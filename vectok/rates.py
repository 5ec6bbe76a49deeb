"""What the tokens cost: tokens per second and bits per second, raw, without repetitions, and as pieces.

Nominal bits charge every symbol alike; entropy bits are a held-out cross-entropy, under a smoothed unigram that was
fitted on train. Rates are always sums over sums, never means of rates, so that short utterances do not weigh more.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vectok.bpe import PieceTokenizer
from vectok.frames import FRAME_RATE_HZ
from vectok.tokens import TokenTable

UNITS = ("raw", "deduplicated", "bpe")


class Unigrams(NamedTuple):
    """Bits that each raw token and each piece costs under the smoothed unigram of train."""

    raw: Float[Tensor, " clusters"]
    bpe: Float[Tensor, " vocab"]


def deduplicate(tokens: Int[Tensor, " frames"]) -> Int[Tensor, " runs"]:
    """Leaves one token of each run.

    Example:
        >>> deduplicate(torch.tensor([3, 3, 1, 1, 1, 3]))
        tensor([3, 1, 3])
    """
    return torch.unique_consecutive(tokens)


def unigram_bits(symbols: Int[Tensor, " frames"], n_symbols: int, smoothing: float) -> Float[Tensor, " vocab"]:
    r"""Code length of each symbol, :math:`-\log_2 \frac{n_k + \alpha}{N + \alpha V}`.

    Arguments:
        symbols: Of train.
        n_symbols: Size V of the alphabet.
        smoothing: The pseudo-count :math:`\alpha`.
    Example:
        >>> unigram_bits(torch.tensor([0, 0, 0, 0]), 4, 1.0)
        tensor([0.6781, 3.0000, 3.0000, 3.0000], dtype=torch.float64)
    """
    counts = torch.bincount(symbols, minlength=n_symbols).double() + smoothing
    return (counts.sum() / counts).log2()


def fit_unigrams(table: TokenTable, utterances: list[str], tokenizer: PieceTokenizer, smoothing: float) -> Unigrams:
    """The unigrams of raw tokens and of pieces on some utterances (train)."""
    raw = torch.cat([table.tokens(utterance) for utterance in utterances])
    pieces = torch.cat([tokenizer.encode(table.tokens(utterance)) for utterance in utterances])
    return Unigrams(
        unigram_bits(raw, tokenizer.n_clusters, smoothing), unigram_bits(pieces, tokenizer.n_vocab, smoothing)
    )


def utterance_rates(
    index: pd.DataFrame, table: TokenTable, tokenizer: PieceTokenizer, unigrams: Unigrams
) -> pd.DataFrame:
    """Counts and entropy bits of each utterance.

    Returns: Columns ``utterance, language, split, seconds, n_raw, n_deduplicated, n_bpe, entropy_bits_raw,
        entropy_bits_bpe``; ``seconds`` is the number of frames over 50.
    """
    rows = []
    for utterance, language, split in zip(index["utterance"], index["language"], index["split"], strict=True):
        tokens = table.tokens(utterance)
        pieces = tokenizer.encode(tokens)
        rows.append({
            "utterance": utterance, "language": language, "split": split, "seconds": len(tokens) / FRAME_RATE_HZ,
            "n_raw": len(tokens), "n_deduplicated": len(deduplicate(tokens)), "n_bpe": len(pieces),
            "entropy_bits_raw": round(float(unigrams.raw[tokens].sum()), 3),
            "entropy_bits_bpe": round(float(unigrams.bpe[pieces].sum()), 3),
        })  # fmt: skip
    return pd.DataFrame(rows)


def summarise(rows: pd.DataFrame, n_clusters: int, n_vocab: int) -> pd.DataFrame:
    r"""Rates by language and of all, in tidy form.

    .. math:: r = \frac{\sum n}{\sum \text{seconds}}, \qquad b = r \log_2 V

    Arguments:
        rows: What :func:`utterance_rates` gives, of one split.
        n_clusters: Size of the raw alphabet. Deduplicated tokens are charged with it too, their durations with nothing.
        n_vocab: Number of pieces.
    Returns: Columns ``language, unit, tokens_per_second, bits_per_second, entropy_bits_per_second`` (empty for the
        deduplicated tokens, which are no code: they cannot be decoded).
    """
    found = []
    for language in ["all", *sorted(rows["language"].unique())]:
        chosen = rows if language == "all" else rows[rows["language"] == language]
        seconds = chosen["seconds"].sum()
        for unit in UNITS:
            rate = chosen[f"n_{unit}"].sum() / seconds
            bits = chosen[f"entropy_bits_{unit}"].sum() / seconds if unit != "deduplicated" else np.nan
            found.append({
                "language": language, "unit": unit, "tokens_per_second": round(rate, 3),
                "bits_per_second": round(rate * np.log2(n_vocab if unit == "bpe" else n_clusters), 3),
                "entropy_bits_per_second": round(bits, 3),
            })  # fmt: skip
    return pd.DataFrame(found)
