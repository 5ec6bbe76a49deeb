"""The joint vocabulary of the language model: tags, languages, text symbols and BPE pieces, numbered in this order."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Bool, Int
from torch import Tensor

TAGS = ("pad", "end", "next", "say", "text", "tts", "asr", "mt", "s2st", "continue")
SEPARATOR = " "  # the symbol between two words


def bpe_hash(model: bytes) -> str:
    """SHA-256 of a sentencepiece model: two vocabularies of pieces are one if their hashes are."""
    return hashlib.sha256(model).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    r"""Numbers everything that the language model reads and writes.

    Ids stand in this order: the tags of :data:`TAGS` (``<pad>`` is 0), one tag a language, the text symbols, the
    pieces: piece p has the id :math:`p + |tags| + |languages| + |symbols|`.

    Arguments:
        symbols: Characters of all texts, the word separator " " among them.
        languages: Codes.
        n_pieces: Size of the BPE vocabulary.
        codebook_hash: Content hash of the codebook whose tokens the pieces join.
        bpe_hash: Hash of the BPE model (:func:`bpe_hash`).
    Raises:
        ValueError: A symbol is not one character or stands twice, or there is no separator.
    Example:
        >>> vocabulary = Vocabulary(symbols=(" ", "a"), languages=("en",), n_pieces=3, codebook_hash="", bpe_hash="")
        >>> vocabulary.n_ids, vocabulary.encode_text("a a"), vocabulary.encode_pieces([0, 2])
        (16, [12, 11, 12], [13, 15])
    """

    symbols: tuple[str, ...]
    languages: tuple[str, ...]
    n_pieces: int
    codebook_hash: str
    bpe_hash: str

    def __post_init__(self) -> None:
        long = [symbol for symbol in self.symbols if len(symbol) != 1]
        if long or len(set(self.symbols)) != len(self.symbols) or SEPARATOR not in self.symbols:
            raise ValueError(
                f"expected different single characters and the separator {SEPARATOR!r} among them, got {self.symbols}: "
                "take vectok.text.symbols"
            )

    @property
    def first_symbol(self) -> int:
        """Id of the first text symbol."""
        return len(TAGS) + len(self.languages)

    @property
    def first_piece(self) -> int:
        """Id of piece 0; the symbols end here, and all ids from here on are pieces."""
        return self.first_symbol + len(self.symbols)

    @property
    def n_ids(self) -> int:
        """Number of ids."""
        return self.first_piece + self.n_pieces

    @cached_property
    def _symbol_ids(self) -> dict[str, int]:
        return {symbol: self.first_symbol + place for place, symbol in enumerate(self.symbols)}

    def tag(self, name: str) -> int:
        """Id of a tag, named without its brackets.

        Raises:
            ValueError: There is no such tag.
        """
        if name not in TAGS:
            raise ValueError(f"unknown tag {name!r}: the vocabulary has {', '.join(TAGS)}")
        return TAGS.index(name)

    def language(self, code: str) -> int:
        """Id of a language's tag.

        Raises:
            ValueError: The model does not know the language.
        """
        if code not in self.languages:
            raise ValueError(f"unknown language {code!r}: the language model has {', '.join(self.languages)}")
        return len(TAGS) + self.languages.index(code)

    def encode_text(self, text: str) -> list[int]:
        """Ids of a normalised text, one a character.

        Raises:
            ValueError: Characters that are no symbols; they are named.
        """
        if unknown := sorted(set(text) - self._symbol_ids.keys()):
            raise ValueError(f"expected normalised text, got the symbols {unknown}: use vectok.text.FrontEnd")
        return [self._symbol_ids[character] for character in text]

    def encode_pieces(self, pieces: Sequence[int] | Int[Tensor, " pieces"]) -> list[int]:
        """Ids of BPE pieces.

        Raises:
            ValueError: A piece is not in [0, n_pieces).
        """
        numbers = pieces.tolist() if isinstance(pieces, Tensor) else list(pieces)
        if numbers and not 0 <= min(numbers) <= max(numbers) < self.n_pieces:
            raise ValueError(
                f"expected pieces in [0, {self.n_pieces}), got {min(numbers)} to {max(numbers)}: "
                "use the BPE model of this vocabulary"
            )
        return [self.first_piece + piece for piece in numbers]

    def is_piece(self, ids: Int[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]:
        """True where an id is a piece."""
        return ids >= self.first_piece

    def is_symbol(self, ids: Int[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]:
        """True where an id is a text symbol."""
        return (ids >= self.first_symbol) & (ids < self.first_piece)

    def decode_text(self, ids: Sequence[int]) -> str:
        """The text symbols among ids, joined; tags, languages and pieces are passed over."""
        return "".join(self.symbols[i - self.first_symbol] for i in ids if self.first_symbol <= i < self.first_piece)

    def decode_pieces(self, ids: Sequence[int]) -> Int[Tensor, " pieces"]:
        """The pieces among ids; tags, languages and symbols are passed over."""
        return torch.tensor([i - self.first_piece for i in ids if i >= self.first_piece], dtype=torch.int64)

    def names(self, ids: Sequence[int]) -> list[str]:
        """What people read: ``<say>``, ``<lang:en>``, the symbol itself, or ``#12`` for piece 12."""
        tags = [f"<{tag}>" for tag in TAGS] + [f"<lang:{code}>" for code in self.languages]
        others = [*tags, *self.symbols]
        return [others[i] if i < self.first_piece else f"#{i - self.first_piece}" for i in ids]

    @property
    def content_hash(self) -> str:
        """SHA-256 over symbols, languages, number of pieces, and the hashes of codebook and BPE."""
        described = json.dumps([TAGS, asdict(self)], sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(described.encode()).hexdigest()

    def check(self, codebook_hash: str, bpe_hash: str) -> None:
        """Refuses the codebook and the BPE model of another training.

        Raises:
            ValueError: A hash differs; both are named.
        """
        found = {"codebook": (self.codebook_hash, codebook_hash), "BPE model": (self.bpe_hash, bpe_hash)}
        for name, (expected, got) in found.items():
            if expected != got:
                raise ValueError(
                    f"language model: expected the {name} of hash {expected}, got {got}: "
                    "take models of one training, or run the lm stage again"
                )

    def check_same(self, other: "Vocabulary") -> None:
        """Refuses another vocabulary.

        Raises:
            ValueError: The contents differ; both hashes are named.
        """
        if self.content_hash != other.content_hash:
            raise ValueError(
                f"expected the vocabulary of hash {self.content_hash}, got {other.content_hash}: "
                "take models of one training, or run the stage again"
            )

    def save(self, path: Path) -> None:
        """Writes the vocabulary with its hash as JSON, beside its place first."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        described = {**asdict(self), "sha256": self.content_hash}
        partial.write_text(json.dumps(described, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Reads what :meth:`save` wrote and checks its hash.

        Raises:
            ValueError: There is no such file, or its content is not what its hash says.
        """
        if not path.exists():
            raise ValueError(f"no vocabulary at {path}: run the lm stage (make repro)")
        described = json.loads(path.read_text(encoding="utf-8"))
        expected = described.pop("sha256")
        vocabulary = cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in described.items()})
        if vocabulary.content_hash != expected:
            raise ValueError(
                f"{path}: expected a vocabulary of hash {expected}, got {vocabulary.content_hash}: "
                "run the lm stage again"
            )
        return vocabulary
