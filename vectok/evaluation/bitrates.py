"""What the same speech costs in several codes: raw tokens, runs with durations, pieces, and general compressors.

Every code is decodable and coded with the same static models (:mod:`vectok.bitstream.entropy`), fitted on train.
"""

import lzma
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from vectok.bitstream import files
from vectok.bitstream.coder import Coder
from vectok.bitstream.entropy import EntropyConfig, PieceModel, fit
from vectok.bitstream.stream import Content
from vectok.bpe import PieceTokenizer
from vectok.evaluation.task_tables import SCORE_COLUMNS
from vectok.frames import SAMPLES_PER_FRAME, seconds_of_frames

LONGEST_RUN = 16  # frames; a longer run is written as several
ORDERS = (0, 1)


class Runs(NamedTuple):
    """Runs of one token: which, and for how many frames (minus one)."""

    tokens: Int[np.ndarray, " runs"]
    extra_frames: Int[np.ndarray, " runs"]


def runs_of(tokens: Int[Tensor, " frames"]) -> Runs:
    """Deduplicated tokens with their durations, runs cut after 16 frames; :func:`frames_of_runs` is the inverse.

    Example:
        >>> runs = runs_of(torch.tensor([7] * 18 + [3]))
        >>> runs.tokens.tolist(), runs.extra_frames.tolist()
        ([7, 7, 3], [15, 1, 0])
    """
    held, counts = torch.unique_consecutive(tokens, return_counts=True)
    n_parts = -(-counts // LONGEST_RUN)
    is_last = torch.zeros(int(n_parts.sum()), dtype=torch.bool)
    is_last[n_parts.cumsum(0) - 1] = True
    lengths = torch.full_like(is_last, LONGEST_RUN, dtype=torch.int64)
    lengths[is_last] = counts - (n_parts - 1) * LONGEST_RUN
    return Runs(held.repeat_interleave(n_parts).numpy(), lengths.numpy() - 1)


def frames_of_runs(runs: Runs) -> Int[Tensor, " frames"]:
    """The tokens that runs stand for."""
    return torch.from_numpy(runs.tokens).repeat_interleave(torch.from_numpy(runs.extra_frames + 1))


def pack_bits(ids: Int[np.ndarray, " symbols"], n_symbols: int) -> bytes:
    """Ids end to end in as many bits as the alphabet needs, the highest first, zeros at the end.

    Example:
        >>> pack_bits(np.array([5, 1]), 8).hex()
        'a4'
    """
    n_bits = max(1, int(n_symbols - 1).bit_length())
    bits = (ids[:, None] >> np.arange(n_bits - 1, -1, -1)) & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def general_bits(data: bytes) -> dict[str, int]:
    """Bits of some bytes under zstd -19 and xz -9."""
    import zstandard

    return {
        "zstd": 8 * len(zstandard.ZstdCompressor(level=19).compress(data)),
        "xz": 8 * len(lzma.compress(data, preset=9)),
    }


class Code(NamedTuple):
    """One way to write tokens: its name, the models of its streams, and the streams of an utterance."""

    name: str
    models: tuple[PieceModel, ...]
    n_symbols: tuple[int, ...]


class Codes:
    """Static models of every code, fitted on train.

    Arguments:
        tokenizer: Of the system.
        training: Tokens of the training utterances.
        least_count: Pairs seen less often are left out.
    """

    def __init__(
        self, tokenizer: PieceTokenizer, training: Sequence[Int[Tensor, " _frames"]], least_count: int
    ) -> None:
        self.tokenizer = tokenizer
        sizes = {
            "tokens": (tokenizer.n_clusters,),
            "runs": (tokenizer.n_clusters, LONGEST_RUN),
            "pieces": (tokenizer.n_vocab,),
        }
        parts = {name: [self.streams(name, tokens) for tokens in training] for name in sizes}
        self.codes = []
        for name, order in ((name, order) for name in sizes for order in ORDERS):
            config = EntropyConfig(order=order, least_count=least_count)
            models = tuple(
                fit([torch.from_numpy(part[place]) for part in parts[name]], np.zeros(1, np.int64), size, config)
                for place, size in enumerate(sizes[name])
            )
            self.codes.append(Code(f"{name}, order {order}", models, sizes[name]))

    def streams(self, name: str, tokens: Int[Tensor, " frames"]) -> tuple[Int[np.ndarray, " _symbols"], ...]:
        """The symbols that a code writes for some tokens."""
        kind = name.split(",")[0]
        if kind == "runs":
            return tuple(runs_of(tokens))
        return ((self.tokenizer.encode(tokens) if kind == "pieces" else tokens).numpy(),)

    def bits(self, code: Code, tokens: Int[Tensor, " frames"]) -> dict[str, float]:
        """Symbols, nominal bits, the models' own code length, and bits as coded, of one utterance."""
        streams = self.streams(code.name, tokens)
        pairs = list(zip(code.models, streams, strict=True))
        return {
            "tokens_per_second": float(len(streams[0])),
            "bits_per_second": sum(
                len(part) * float(np.log2(size)) for part, size in zip(streams, code.n_symbols, strict=True)
            ),
            "entropy_bits_per_second": sum(model.bits(part) for model, part in pairs),
            "payload_bits_per_second": 8.0 * sum(len(model.encode(part)) for model, part in pairs),
        }


def code_scores(codes: Codes, index: pd.DataFrame, tokens_of: dict[str, Int[Tensor, " _frames"]]) -> pd.DataFrame:
    """Every code of every utterance as scores: bits over seconds.

    Arguments:
        codes: Fitted.
        index: Of the utterances: columns ``utterance, language, speaker, group``.
        tokens_of: Tokens by utterance.
    """
    rows = []
    for row in index.itertuples():
        tokens = tokens_of[row.utterance]
        key, seconds = (row.utterance, row.speaker, row.group), seconds_of_frames(len(tokens))
        for code in codes.codes:
            for metric, value in codes.bits(code, tokens).items():
                rows += [(code.name, where, *key, metric, value, seconds) for where in ("files", row.language)]
    return _frame(rows)


def file_scores(
    coder: Coder, index: pd.DataFrame, contents: dict[str, Content], chunk_seconds: float
) -> pd.DataFrame:  # fmt: skip
    """Sizes of every utterance as a .vtok file of its own, with its prompt.

    Arguments:
        coder: Of the system.
        index: As for :func:`code_scores`.
        contents: What each file holds.
        chunk_seconds: Of speech in a chunk.
    """
    rows = []
    for row in index.itertuples():
        content = contents[row.utterance]
        found = files.sizes(coder, files.pack(coder, content, chunk_seconds))
        seconds = seconds_of_frames(len(content.tokens))
        bits = {
            "payload_bits_per_second": 8.0 * found.payload,
            "overhead_bits_per_second": 8.0 * found.overhead,
            "file_bits_per_second": 8.0 * (found.payload + found.overhead),
        }
        key = (row.utterance, row.speaker, row.group)
        for where in ("files", row.language):
            rows += [("vtok", where, *key, metric, value, seconds) for metric, value in bits.items()]
            rows += [("vtok", where, *key, "prompt_bytes", float(found.prompt), 1.0)] if content.prompt else []
    return _frame(rows)


def one_stream(
    coder: Coder, codes: Codes, tokens: Iterable[Int[Tensor, " _frames"]], chunk_seconds: float
) -> dict[str, dict[str, float]]:
    """Bits per second of utterances joined to one recording, under every code and under general compressors.

    Arguments:
        coder: Of the system.
        codes: Fitted.
        tokens: Of the utterances, in order.
        chunk_seconds: Of speech in a chunk.
    Returns: Metrics by system.
    """
    joined = torch.cat(list(tokens))
    seconds, found = seconds_of_frames(len(joined)), {code.name: codes.bits(code, joined) for code in codes.codes}
    sizes = files.sizes(coder, files.pack(coder, Content(joined, SAMPLES_PER_FRAME * len(joined)), chunk_seconds))
    pieces = coder.tokenizer.encode(joined).numpy()
    found["vtok"] = {
        "entropy_bits_per_second": coder.model.bits(pieces),
        "payload_bits_per_second": 8 * sizes.payload,
        "overhead_bits_per_second": 8 * sizes.overhead,
        "file_bits_per_second": 8 * (sizes.payload + sizes.overhead),
    }
    kinds = {"tokens": (joined.numpy(), coder.tokenizer.n_clusters), "pieces": (pieces, coder.model.n_vocab)}
    for name, (ids, size) in kinds.items():
        for compressor, bits in general_bits(pack_bits(ids, size)).items():
            found[f"{name}, {compressor}"] = {"payload_bits_per_second": bits}
    return {system: {metric: bits / seconds for metric, bits in own.items()} for system, own in found.items()}


def _frame(rows: list[tuple]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))
