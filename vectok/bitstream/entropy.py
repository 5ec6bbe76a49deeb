r"""How probable each piece is after the one before it, in whole numbers, and the range coder that uses it.

An interpolated bigram in the manner of Witten and Bell, whose fall-back counts contexts as Kneser and Ney do:

.. math:: P(w \mid c) = \frac{n_{cw} + t_c\, b_w}{n_c + t_c}, \qquad b_w \propto 2\, |\{c : n_{cw} > 0\}| + 1

n counts pairs of training, t the different pieces that followed c. All of it is kept, and turned into frequencies out
of 2^24, in integers, so that no rounding of a machine decides what a file says. constriction's range coder takes
floats; it is given the integers f - 1, which float64 holds exactly and which it maps back to f (tested).
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import constriction
import numpy as np
import torch
from jaxtyping import Int
from safetensors.torch import load_file, save_file
from torch import Tensor

from vectok.bitstream.errors import VtokError

PRECISION = 24  # bits of a frequency: constriction's
STORED_BITS = 19  # of the fall-back and of a context's counts, so that their product with 2^24 fits 63 bits
LARGEST_LEVEL = 40  # of a prompt's mean, see vectok.bitstream.prompt
N_LEVELS = 2 * LARGEST_LEVEL + 1
MODELS_KEPT = 1024  # contexts whose frequencies are held ready
ARRAYS = ("fallback", "levels", "offsets", "successors", "counts")


@dataclass(frozen=True, kw_only=True)
class EntropyConfig:
    """What is counted.

    Arguments:
        order: Pieces that the next one is conditioned on: 0 or 1.
        least_count: Pairs seen less often are left to the fall-back; above 1 for a small model of much data.
    """

    order: int = 1
    least_count: int = 1


class Decoded(NamedTuple):
    """What a payload holds: levels of a prompt's mean (often none), then pieces."""

    levels: Int[np.ndarray, " dim"]
    pieces: Int[np.ndarray, " pieces"]


def quantise(edges: Int[np.ndarray, " edges"], bits: int) -> Int[np.ndarray, " edges"]:
    r"""Cumulative frequencies out of 2^b, every symbol at least 1: :math:`\lfloor F_w (2^b - V) / F_V \rfloor + w`.

    Arguments:
        edges: Cumulative weights F from 0 to :math:`F_V > 0`, int64, V + 1 of them.
        bits: b.
    Raises:
        ValueError: More symbols than frequencies, no weight at all, or weights too large for 63 bits.
    Example:
        >>> quantise(np.array([0, 1, 1, 3]), 4).tolist()
        [0, 5, 6, 16]
    """
    n_symbols, total = len(edges) - 1, int(edges[-1])
    if n_symbols >= 2**bits or not 0 < total < 2 ** (63 - bits):
        raise ValueError(
            f"expected fewer than 2^{bits} symbols and a weight in [1, 2^{63 - bits}), got {n_symbols} and {total}"
        )
    return edges * (2**bits - n_symbols) // total + np.arange(n_symbols + 1)


def edges_of(weights: Int[np.ndarray, " vocab"]) -> Int[np.ndarray, " edges"]:
    """Cumulative weights, from 0 to their sum."""
    return np.concatenate([[0], np.cumsum(weights, dtype=np.int64)])


def _coder_model(edges: Int[np.ndarray, " edges"]) -> constriction.stream.model.Categorical:
    """The frequencies as constriction wants them; it adds one to each weight, and these sum to 2^24 - V exactly."""
    return constriction.stream.model.Categorical((np.diff(edges) - 1).astype(np.float64), perfect=False)


def _pairs(
    sequences: list[Int[np.ndarray, " _pieces"]], n_vocab: int
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Different pairs as context * V + piece in rising order, and how often each stands; the start is context V."""
    codes = [np.concatenate([[n_vocab], part[:-1]]) * n_vocab + part for part in sequences if len(part)]
    return np.unique(np.concatenate(codes), return_counts=True)


class PieceModel:
    """A static model of pieces and of a prompt's levels, and the range coder over it.

    Arguments:
        arrays: The integers that :func:`fit` made, by the names in :data:`ARRAYS`.
    Raises:
        ValueError: Arrays that contradict each other.
    Shape:
        fallback [V], levels [81], offsets [V + 2] into successors and counts [pairs]; row V is the start of a sequence.
    """

    def __init__(self, arrays: dict[str, Int[np.ndarray, " _size"]]) -> None:
        self.arrays = {name: np.ascontiguousarray(arrays[name], dtype=np.int64) for name in ARRAYS}
        _check_arrays(self.arrays)
        self.n_vocab = self.start = len(self.arrays["fallback"])
        self._fallback = edges_of(self.arrays["fallback"])
        self._levels = quantise(edges_of(self.arrays["levels"]), PRECISION)
        self._model = lru_cache(MODELS_KEPT)(lambda context: _coder_model(self.edges(context)))
        self._kept_edges = lru_cache(MODELS_KEPT)(self._edges)

    @property
    def content_hash(self) -> str:
        """SHA-256 over the integers: names the model that a file was coded with."""
        digest = hashlib.sha256()
        for name in ARRAYS:
            digest.update(name.encode() + len(self.arrays[name]).to_bytes(8, "little"))
            digest.update(self.arrays[name].astype("<i8").tobytes())
        return digest.hexdigest()

    def _edges(self, context: int) -> Int[np.ndarray, " edges"]:
        first, last = self.arrays["offsets"][context : context + 2]
        weights = np.zeros(self.n_vocab, np.int64)
        weights[self.arrays["successors"][first:last]] = self.arrays["counts"][first:last]
        total = int(self._fallback[-1])
        return quantise(edges_of(weights) * total + max(1, int(last - first)) * self._fallback, PRECISION)

    def edges(self, context: int) -> Int[np.ndarray, " edges"]:
        """Cumulative frequencies out of 2^24 after a context: a piece, or ``start``."""
        return self._kept_edges(context)

    def bits(self, pieces: Int[np.ndarray, " pieces"], context: int | None = None) -> float:
        r"""The model's own code length of a sequence: :math:`\sum_i 24 - \log_2 f(w_i \mid w_{i-1})`."""
        contexts = [self.start if context is None else context, *pieces[:-1].tolist()]
        found = [self.edges(c)[w : w + 2] for c, w in zip(contexts, pieces.tolist(), strict=False)]
        return float(sum(PRECISION - np.log2(high - low) for low, high in found))

    def encode(
        self,
        pieces: Int[np.ndarray, " pieces"],
        context: int | None = None,
        levels: Int[np.ndarray, " dim"] | None = None,
    ) -> bytes:
        """Range-codes a prompt's levels, if any, and then pieces, into whole 32-bit words.

        Arguments:
            pieces: In [0, V).
            context: The piece before the first; the start when it is not given.
            levels: In [-40, 40]; none when not given.
        Raises:
            ValueError: A piece or a level out of range.
        """
        levels = np.zeros(0, np.int64) if levels is None else levels
        _check_range("pieces", pieces, 0, self.n_vocab - 1)
        _check_range("levels", levels, -LARGEST_LEVEL, LARGEST_LEVEL)
        encoder = constriction.stream.queue.RangeEncoder()
        if len(levels):
            encoder.encode((levels + LARGEST_LEVEL).astype(np.int32), _coder_model(self._levels))
        before = self.start if context is None else context
        for piece in pieces.tolist():
            encoder.encode(piece, self._model(before))
            before = piece
        return encoder.get_compressed().astype(">u4").tobytes()

    def decode(self, payload: bytes, n_pieces: int, context: int | None = None, n_levels: int = 0) -> Decoded:
        """Inverse of :meth:`encode`; only what ``encode`` writes is taken.

        Raises:
            VtokError: The payload is not one that this model writes for so many symbols.
        """
        if len(payload) % 4:
            raise VtokError(f"expected a payload of whole 32-bit words, got {len(payload)} bytes: the file is damaged")
        decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(payload, ">u4").astype(np.uint32))
        before, pieces = self.start if context is None else context, []
        try:
            levels = decoder.decode(_coder_model(self._levels), n_levels) if n_levels else np.full(0, 0)
            for _ in range(n_pieces):
                before = int(decoder.decode(self._model(before)))
                pieces.append(before)
        except AssertionError as error:  # how constriction names a payload that no encoder wrote
            raise VtokError("the payload is no sequence of this model: the file is damaged") from error
        decoded = Decoded(levels.astype(np.int64) - LARGEST_LEVEL, np.array(pieces, dtype=np.int64))
        if self.encode(decoded.pieces, context, decoded.levels) != payload:
            raise VtokError(f"the payload does not end after {n_pieces} pieces: the file is damaged")
        return decoded

    def save(self, folder: Path, information: dict[str, object]) -> None:
        """Writes model.safetensors (integers) and config.json with the content hash and what else is to be known."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {name: torch.from_numpy(values.astype(np.int32)) for name, values in self.arrays.items()}
        save_file(arrays, folder / "model.safetensors")
        config = {**information, "n_vocab": self.n_vocab, "sha256": self.content_hash}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "PieceModel":
        """Reads what :meth:`save` wrote.

        Raises:
            ValueError: The folder holds no such model, or its content is not what ``config.json`` says.
        """
        if not all((folder / name).is_file() for name in ("config.json", "model.safetensors")):
            raise ValueError(f"no model of pieces in {folder}: run the bitstream stage (make repro; make release)")
        expected = json.loads((folder / "config.json").read_text(encoding="utf-8"))["sha256"]
        model = cls({name: values.numpy() for name, values in load_file(folder / "model.safetensors").items()})
        if model.content_hash != expected:
            raise ValueError(f"{folder}: expected a model of hash {expected}, got {model.content_hash}: run it again")
        return model


def _check_range(name: str, values: Int[np.ndarray, " _size"], least: int, largest: int) -> None:
    if len(values) and (int(values.min()) < least or int(values.max()) > largest):
        raise ValueError(
            f"expected {name} in [{least}, {largest}], got {int(values.min())} to {int(values.max())}: "
            "use the BPE model that this model of pieces belongs to"
        )


def _check_arrays(arrays: dict[str, Int[np.ndarray, " _size"]]) -> None:
    """Refuses arrays that could not have come from :func:`fit`."""
    offsets, n_vocab = arrays["offsets"], len(arrays["fallback"])
    fits = (
        n_vocab > 0 and len(arrays["levels"]) == N_LEVELS and len(offsets) == n_vocab + 2 and offsets[0] == 0
        and (np.diff(offsets) >= 0).all() and offsets[-1] == len(arrays["successors"]) == len(arrays["counts"])
        and all((arrays[name] > 0).all() for name in ("fallback", "levels", "counts"))
    )  # fmt: skip
    if not fits:
        raise ValueError(f"expected the integers of a model over {n_vocab} pieces, got others: run the stage again")
    _check_range("successors", arrays["successors"], 0, n_vocab - 1)


def _limited(offsets: Int[np.ndarray, " rows"], counts: Int[np.ndarray, " pairs"]) -> Int[np.ndarray, " pairs"]:
    """Counts whose sum in each context stays below 2^18, halved as often as that takes, never below 1."""
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    limit = 2 ** (STORED_BITS - 1)
    while True:
        sums = np.bincount(rows, counts, len(offsets) - 1).astype(np.int64) + np.diff(offsets)
        if not len(counts) or sums.max() < limit or counts.max() == 1:
            return counts
        counts = np.where(sums[rows] < limit, counts, np.maximum(1, counts // 2))


def fit(
    sequences: Iterable[Int[Tensor, " _pieces"]],
    levels: Int[np.ndarray, " levels"],
    n_vocab: int,
    config: EntropyConfig,
) -> PieceModel:
    """Counts training sequences.

    Arguments:
        sequences: Pieces of the training utterances.
        levels: Levels of the training utterances' means, all together (:func:`vectok.bitstream.prompt.levels_of`).
        n_vocab: Number of pieces V.
        config: Order and pruning.
    Raises:
        ValueError: No pieces, a piece or level out of range, or an order other than 0 and 1.
    Example:
        >>> model = fit([torch.tensor([0, 1, 0, 1])], np.array([0]), 3, EntropyConfig())
        >>> model.decode(model.encode(np.array([0, 1, 0, 2])), 4).pieces.tolist()
        [0, 1, 0, 2]
    """
    parts = [np.asarray(part, dtype=np.int64) for part in sequences]
    if not sum(map(len, parts)) or config.order not in (0, 1):
        raise ValueError(f"expected training pieces and order 0 or 1, got {len(parts)} sequences, {asdict(config)}")
    _check_range("pieces", np.concatenate(parts), 0, n_vocab - 1)
    _check_range("levels", levels, -LARGEST_LEVEL, LARGEST_LEVEL)
    codes, counts = _pairs(parts, n_vocab)
    occurrences = np.bincount(np.concatenate(parts) if config.order == 0 else codes % n_vocab, minlength=n_vocab)
    kept = (counts >= config.least_count) & (config.order == 1)
    codes, counts = codes[kept], counts[kept]
    offsets = np.searchsorted(codes, np.arange(n_vocab + 2) * n_vocab)
    return PieceModel({
        "fallback": np.diff(quantise(edges_of(2 * occurrences + 1), STORED_BITS)),
        "levels": np.bincount(levels + LARGEST_LEVEL, minlength=N_LEVELS) + 1,
        "offsets": offsets, "successors": codes % n_vocab, "counts": _limited(offsets, counts),
    })  # fmt: skip
