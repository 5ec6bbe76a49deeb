"""What tokens cost in other pieces: BPE of other sizes, with and without repetitions, under static models of train."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from vectok import bpe
from vectok.ablations.settings import build
from vectok.bitstream import entropy
from vectok.codec_data import TokenisedStore
from vectok.evaluation.bitrates import LONGEST_RUN, Runs, frames_of_runs, runs_of
from vectok.evaluation.task_tables import SCORE_COLUMNS
from vectok.frames import seconds_of_frames


class Streams(NamedTuple):
    """Pieces of an utterance; and how long each token is held, where repetitions were taken out first."""

    pieces: Int[Tensor, " pieces"]
    durations: Int[Tensor, " runs"]


class Code(NamedTuple):
    """A way to write tokens: pieces of all tokens, or of runs beside their durations; models by order."""

    tokenizer: bpe.PieceTokenizer
    deduplicated: bool
    models: dict[int, tuple[entropy.PieceModel, ...]]

    def streams(self, tokens: Int[Tensor, " frames"]) -> Streams:
        """What is written for some tokens."""
        return _streams(self.tokenizer, self.deduplicated, tokens)

    def tokens(self, streams: Streams) -> Int[Tensor, " frames"]:
        """The inverse."""
        found = self.tokenizer.decode(streams.pieces)
        return frames_of_runs(Runs(found.numpy(), streams.durations.numpy())) if self.deduplicated else found


def _streams(tokenizer: bpe.PieceTokenizer, deduplicated: bool, tokens: Int[Tensor, " frames"]) -> Streams:
    if not deduplicated:
        return Streams(tokenizer.encode(tokens), torch.zeros(0, dtype=torch.int64))
    runs = runs_of(tokens)
    return Streams(tokenizer.encode(torch.from_numpy(runs.tokens)), torch.from_numpy(runs.extra_frames))


def fit(training: Sequence[Int[Tensor, " _frames"]], parameters: Mapping[str, Any]) -> Code:
    """Learns pieces and models on train.

    Arguments:
        training: Tokens of the training utterances.
        parameters: ``n_vocab`` (as many as clusters: no BPE), ``n_clusters``, ``max_piece_tokens``, ``deduplicated``.
    """
    deduplicated = parameters["deduplicated"]
    taught = [torch.from_numpy(runs_of(part).tokens) for part in training] if deduplicated else training
    tokenizer = bpe.PieceTokenizer(bpe.train(taught, build(bpe.BPEConfig, parameters)))
    parts = [_streams(tokenizer, deduplicated, part) for part in training]
    sizes = (tokenizer.n_vocab, LONGEST_RUN) if deduplicated else (tokenizer.n_vocab,)
    nothing, models = np.zeros(1, np.int64), {}
    for order in (0, 1):
        config = entropy.EntropyConfig(order=order)
        models[order] = tuple(
            entropy.fit([part[place] for part in parts], nothing, size, config) for place, size in enumerate(sizes)
        )
    return Code(tokenizer, deduplicated, models)


def score(code: Code, source: TokenisedStore, rows: pd.DataFrame, system: str) -> pd.DataFrame:
    """Pieces, nominal bits and model bits of some utterances, over their seconds.

    ``bits_per_second`` charges every symbol alike; ``entropy_bits_per_second`` and ``context_bits_per_second`` are the
    code lengths of static models of train, without and with the symbol before.

    Arguments:
        code: From :func:`fit`.
        source: Recordings and their tokens.
        rows: Of the store's index.
        system: Name of the variant.
    Raises:
        ValueError: An utterance does not come back.
    """
    found, nominal = [], (np.log2(code.tokenizer.n_vocab), np.log2(LONGEST_RUN))
    for item in rows.itertuples():
        tokens = source.tokens.tokens(item.utterance)
        streams = code.streams(tokens)
        if not torch.equal(code.tokens(streams), tokens):
            raise ValueError(f"{system}: {item.utterance} does not come back from its pieces")
        orders = {
            order: sum(model.bits(part.numpy()) for model, part in zip(models, streams, strict=False))
            for order, models in code.models.items()
        }
        values = {
            "tokens_per_second": float(len(streams.pieces)),
            "bits_per_second": float(sum(len(part) * bits for part, bits in zip(streams, nominal, strict=True))),
            "entropy_bits_per_second": float(orders[0]),
            "context_bits_per_second": float(orders[1]),
        }
        key, seconds = (item.utterance, item.speaker, str(item.group)), seconds_of_frames(len(tokens))
        found += [(system, "dev", *key, name, value, seconds) for name, value in values.items()]
    return pd.DataFrame(found, columns=list(SCORE_COLUMNS))
