"""Aligned utterances as the language model sees them: words, whole pieces, the pieces of every word, made once."""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int

from vectok.alignment import AlignedWord, Alignments
from vectok.bpe import PieceTokenizer
from vectok.lm.memory import TranslationMemory
from vectok.lm.sequences import Speech, SpokenWord
from vectok.lm.vocabulary import SEPARATOR
from vectok.store import FeatureStore
from vectok.tokens import TokenTable


class TokenisedSource(NamedTuple):
    """A store with its tokens; an index with ``source_utterance`` holds renditions in pseudo voices."""

    store: FeatureStore
    tokens: TokenTable


def encode_speech(tokenizer: PieceTokenizer, tokens: Int[np.ndarray, " frames"]) -> Speech:
    """Pieces of a stretch of tokens, and the frame that each ends at."""
    pieces = tokenizer.encode(torch.from_numpy(tokens))
    return Speech(pieces.tolist(), tokenizer.piece_lengths[pieces].cumsum(0).tolist())


class Utterance:
    """One aligned utterance.

    Arguments:
        name: In the store.
        speaker: Whose voice, real or pseudo.
        language: Code.
        concept: What utterances that say the same in several languages share.
        pseudo: Whether a rendition in a pseudo voice.
        tokens: At 50 Hz.
        words: They tile the tokens.
        tokenizer: Makes pieces.
    """

    def __init__(
        self,
        name: str,
        speaker: str,
        language: str,
        concept: str,
        pseudo: bool,
        tokens: Int[np.ndarray, " frames"],
        words: Sequence[AlignedWord],
        tokenizer: PieceTokenizer,
    ) -> None:
        self.name, self.speaker, self.language, self.concept, self.pseudo = name, speaker, language, concept, pseudo
        self.tokens, self.words, self.tokenizer = tokens, tuple(words), tokenizer

    @property
    def n_frames(self) -> int:
        """Frames of the whole utterance."""
        return len(self.tokens)

    @property
    def text(self) -> str:
        """The words with a separator between them."""
        return SEPARATOR.join(word.word for word in self.words)

    @cached_property
    def speech(self) -> Speech:
        """Pieces of the whole utterance."""
        return encode_speech(self.tokenizer, self.tokens)

    @cached_property
    def spoken(self) -> tuple[SpokenWord, ...]:
        """Each word with the pieces of its frames alone."""
        start = self.words[0].start
        return tuple(
            SpokenWord(
                word.word,
                [end - word.start for end in word.character_ends],
                *encode_speech(self.tokenizer, self.tokens[word.start - start : word.end - start]),
            )
            for word in self.words
        )

    def cut(self, first: int, n_words: int) -> "Utterance":
        """``n_words`` consecutive words from word ``first`` on, with their frames; word times stay the utterance's."""
        words = self.words[first : first + n_words]
        part = Utterance(
            self.name, self.speaker, self.language, self.concept, self.pseudo,
            self.tokens[words[0].start : words[-1].end], words, self.tokenizer,
        )  # fmt: skip
        part.spoken = self.spoken[first : first + n_words]
        return part

    def excerpt(self, first: int, n_frames: int) -> list[int]:
        """Whole pieces from piece ``first`` on, of ``n_frames`` in all at most: a prompt."""
        ends = np.asarray(self.speech.ends)
        begin = int(ends[first - 1]) if first else 0
        return self.speech.pieces[first : int(np.searchsorted(ends, begin + n_frames, "right"))]


def concept_of(utterance: str) -> str:
    """What utterances that say the same in several languages share: their name without corpus and language.

    Example:
        >>> concept_of("asterisk/en/digits/oh")
        'digits/oh'
    """
    return utterance.split("/", 2)[-1]


def translations(utterances: Sequence[Utterance]) -> list[list[Utterance]]:
    """Recordings that say the same in two languages or more, grouped; parts of cut recordings do not correspond.

    The corpus names part n of a cut recording ``<name>.0n``.
    """
    groups: dict[str, dict[str, Utterance]] = {}
    for utterance in utterances:
        if not utterance.pseudo and not utterance.concept.rpartition(".")[2].isdigit():
            groups.setdefault(utterance.concept, {})[utterance.language] = utterance
    return [list(group.values()) for group in groups.values() if len(group) > 1]


def remember(utterances: Sequence[Utterance]) -> TranslationMemory:
    """The memory of the texts of recordings that say the same."""
    return TranslationMemory([{each.language: each.text for each in group} for group in translations(utterances)])


def aligned_utterances(
    sources: Sequence[TokenisedSource], alignments: Alignments, tokenizer: PieceTokenizer, split: str
) -> list[Utterance]:
    """All aligned utterances of one split, in the order of the stores.

    Arguments:
        sources: Recordings, and renditions in pseudo voices, which share their source's alignment.
        alignments: Words of the recordings.
        tokenizer: BPE model.
        split: "train", "dev" or "test": the column of the index.
    Raises:
        ValueError: No utterance of the split is aligned, or the words of one do not tile its frames.
    """
    found = []
    for store, tokens in sources:
        pseudo = "source_utterance" in store.index
        rows = store.index[store.index["split"] == split]
        origins = rows["source_utterance" if pseudo else "utterance"]
        for name, speaker, language, origin in zip(
            rows["utterance"], rows["speaker"], rows["language"], origins, strict=True
        ):
            if origin in alignments:
                words, of = alignments.words(origin), tokens.tokens(name).numpy()
                _check_tiles(name, words, len(of))
                found.append(Utterance(name, speaker, language, concept_of(origin), pseudo, of, words, tokenizer))
    if not found:
        raise ValueError(f"expected aligned utterances of the split {split}, got none: run the alignment stage")
    return found


def _check_tiles(name: str, words: Sequence[AlignedWord], n_frames: int) -> None:
    """Refuses words that leave frames out, overlap, or belong to another rendition."""
    bounds = [0, *(word.end for word in words)]
    if [word.start for word in words] != bounds[:-1] or bounds[-1] != n_frames:
        raise ValueError(f"{name}: expected words that tile {n_frames} frames, got ends {bounds[1:]}: align it again")
