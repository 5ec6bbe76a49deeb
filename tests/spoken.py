"""Aligned utterances and a small vocabulary for tests of the language model."""

import numpy as np
import torch

from vectok import bpe
from vectok.alignment import AlignedWord
from vectok.lm.data import Utterance
from vectok.lm.vocabulary import Vocabulary

N_CLUSTERS = 8
N_PIECES = 12
TEXTS = {"en": ("ab c", "c", "ba ab c a", "a bc", "abc"), "fr": ("de f", "f", "ed de f d", "d ef", "def")}


def make_tokenizer() -> bpe.PieceTokenizer:
    """Twelve pieces over eight tokens."""
    random = np.random.default_rng(0)
    training = [torch.from_numpy(random.integers(0, N_CLUSTERS, 40)).repeat_interleave(2) for _ in range(20)]
    return bpe.PieceTokenizer(bpe.train(training, bpe.BPEConfig(n_vocab=N_PIECES, n_clusters=N_CLUSTERS)))


def make_vocabulary() -> Vocabulary:
    """Six letters, two languages, twelve pieces."""
    return Vocabulary(
        symbols=tuple(" abcdef"), languages=("en", "fr"), n_pieces=N_PIECES, codebook_hash="c0de", bpe_hash="b9e"
    )


def align(text: str, n_frames: int) -> tuple[AlignedWord, ...]:
    """Characters of equal length; a word ends with its last character."""
    letters, words, place = len(text.replace(" ", "")), [], 0
    for word in text.split():
        ends = [round((place + 1 + i) * n_frames / letters) for i in range(len(word))]
        words.append(AlignedWord(word, words[-1].end if words else 0, ends[-1], tuple(ends)))
        place += len(word)
    return tuple(words)


def make_utterances(tokenizer: bpe.PieceTokenizer, split: str = "train", n_times: int = 1) -> list[Utterance]:
    """The texts of both languages, and each once more in a pseudo voice; the split is in the name."""
    random, found = np.random.default_rng([len(split)]), []
    for time in range(n_times):
        for language, texts in TEXTS.items():
            for number, text in enumerate(texts):
                tokens = np.repeat(random.integers(0, N_CLUSTERS, 10 + 6 * len(text)), 2)
                for pseudo in (False, True):
                    speaker = f"toy-{language}" + "~pitch" * pseudo
                    name, concept = f"toy/{language}/{split}-{time}-{number}", f"{split}-{time}-{number}"
                    words = align(text, len(tokens))
                    found.append(Utterance(name, speaker, language, concept, pseudo, tokens, words, tokenizer))
    return found
