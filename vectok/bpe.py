"""Byte-pair encoding over the 50 Hz tokens: pieces, loss-less for any sequence of tokens.

sentencepiece trains and applies it. Each token becomes one code point of a block without spaces, digits or letters that
change under normalisation, so that sentencepiece's habits for text cannot touch it.
"""

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from jaxtyping import Int
from torch import Tensor

# CJK unified ideographs: 20,992 assigned code points in a row, none of which changes under any normalisation.
FIRST_CODE_POINT = 0x4E00
MAX_CLUSTERS = 20_992
# The trainer keeps positions in 16 bits: longer utterances are cut for training, never for encoding.
MAX_TRAINING_TOKENS = 30_000


@dataclass(frozen=True, kw_only=True)
class BPEConfig:
    """What is learnt.

    Arguments:
        n_vocab: Number of pieces, the ``n_clusters`` single tokens among them; the paper's is 8192.
        n_clusters: Size of the codebook.
        max_piece_tokens: Tokens that one piece may join, at most.
    """

    n_vocab: int
    n_clusters: int
    max_piece_tokens: int = 16


def text_of_tokens(tokens: Int[Tensor, " frames"]) -> str:
    """One code point a token.

    Example:
        >>> [hex(ord(character)) for character in text_of_tokens(torch.tensor([0, 299]))]
        ['0x4e00', '0x4f2b']
    """
    return (tokens.numpy().astype("<u4") + FIRST_CODE_POINT).astype("<u4").tobytes().decode("utf-32-le")


def tokens_of_text(text: str) -> Int[Tensor, " frames"]:
    """Inverse of :func:`text_of_tokens`."""
    return torch.from_numpy(np.frombuffer(text.encode("utf-32-le"), "<u4").astype(np.int64) - FIRST_CODE_POINT)


def _training_texts(utterances: Iterable[Int[Tensor, " _frames"]], n_clusters: int) -> Iterator[str]:
    """Each symbol alone first, so that all are in the vocabulary whatever the data hold, then the utterances."""
    yield from (text_of_tokens(torch.tensor([token])) for token in range(n_clusters))
    for tokens in utterances:
        yield from (text_of_tokens(stretch) for stretch in tokens.split(MAX_TRAINING_TOKENS) if len(stretch))


def train(utterances: Iterable[Int[Tensor, " _frames"]], config: BPEConfig) -> bytes:
    """Learns the merges and returns the sentencepiece model, in which no path stands.

    Source: Vec-Tok Speech, section on byte-pair encoding.
    *Deviation*: raw 50 Hz tokens, repetitions included; the paper does not say whether it takes them out first.
    Arguments:
        utterances: Tokens of train, in a fixed order.
        config: Sizes.
    Raises:
        ValueError: The vocabulary cannot hold all tokens, or the data cannot fill it.
    Example:
        >>> model = train([torch.tensor([0, 1, 0, 1, 0, 1])], BPEConfig(n_vocab=3, n_clusters=2))
        >>> PieceTokenizer(model).encode(torch.tensor([0, 1, 0, 1, 1]))
        tensor([0, 0, 2])
    """
    if not 0 < config.n_clusters <= min(config.n_vocab, MAX_CLUSTERS):
        raise ValueError(
            f"expected 1 <= n_clusters <= n_vocab and <= {MAX_CLUSTERS}, got {config.n_clusters} clusters and "
            f"{config.n_vocab} pieces: raise n_vocab"
        )
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_training_texts(utterances, config.n_clusters),
            model_writer=model,
            model_type="bpe",
            vocab_size=config.n_vocab + 1,  # sentencepiece insists on an unknown piece, which no token ever becomes
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            character_coverage=1.0,
            max_sentencepiece_length=config.max_piece_tokens,
            max_sentence_length=MAX_TRAINING_TOKENS * 4,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            split_by_unicode_script=False,
            split_by_number=False,
            split_by_whitespace=False,
            shuffle_input_sentence=False,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ValueError(
            f"expected speech enough for {config.n_vocab} pieces, got too little: lower n_vocab ({error})"
        ) from error
    return model.getvalue()


def _check_range(name: str, symbols: Tensor, n_symbols: int, remedy: str) -> None:
    """Refuses symbols outside [0, n_symbols)."""
    if len(symbols) and (int(symbols.min()) < 0 or int(symbols.max()) >= n_symbols):
        raise ValueError(
            f"expected {name} in [0, {n_symbols}), got {int(symbols.min())} to {int(symbols.max())}: {remedy}"
        )


class PieceTokenizer:
    """Tokens to pieces and back: ``decode(encode(tokens)) == tokens`` for any tokens below ``n_clusters``.

    Arguments:
        model: The ``bpe.model`` file, or what :func:`train` returned.
    Raises:
        ValueError: There is no such file, or it holds no model of this kind.
    Shape:
        ``n_vocab`` pieces; ``piece_lengths[p]`` is the number of tokens (frames) that piece p stands for.
    """

    def __init__(self, model: Path | bytes) -> None:
        if isinstance(model, Path) and not model.exists():
            raise ValueError(f"no BPE model at {model}: run the bpe stage (make repro)")
        content = model.read_bytes() if isinstance(model, Path) else model
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=content)
        except RuntimeError as error:
            name = model if isinstance(model, Path) else "the given bytes"
            raise ValueError(f"{name}: expected a sentencepiece model: run the bpe stage again ({error})") from error
        self.n_vocab: int = self._processor.vocab_size() - 1
        self._texts = [self._processor.id_to_piece(piece + 1) for piece in range(self.n_vocab)]
        self.piece_lengths: Int[Tensor, " vocab"] = torch.tensor([len(text) for text in self._texts])
        self.n_clusters = int((self.piece_lengths == 1).sum())

    def encode(self, tokens: Int[Tensor, " frames"]) -> Int[Tensor, " pieces"]:
        """Pieces of a sequence of tokens, in [0, n_vocab).

        Raises:
            ValueError: A token is not one of the ``n_clusters`` that the model knows.
        """
        _check_range("tokens", tokens, self.n_clusters, "use the codebook that this BPE model was trained on")
        return torch.tensor(self._processor.encode(text_of_tokens(tokens)), dtype=torch.int64) - 1

    def decode(self, pieces: Int[Tensor, " pieces"]) -> Int[Tensor, " frames"]:
        """Tokens that a sequence of pieces stands for.

        Raises:
            ValueError: A piece is not in [0, n_vocab).
        """
        _check_range("pieces", pieces, self.n_vocab, "use the BPE model that made them")
        return tokens_of_text("".join(self._texts[piece] for piece in pieces.tolist()))

    def tokens_of_piece(self, piece: int) -> Int[Tensor, " frames"]:
        """The tokens that one piece joins."""
        return tokens_of_text(self._texts[piece])


def save(path: Path, model: bytes) -> None:
    """Writes a model, beside its place first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(model)
    os.replace(partial, path)
