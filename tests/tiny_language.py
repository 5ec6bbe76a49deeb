"""A tiny random LM and CLVP beside the tiny system, saved as their stages would save them."""

from pathlib import Path

import torch

from tests.tiny_system import N_CLUSTERS, make_parts
from vectok import bpe, text
from vectok.clvp.model import Clvp, ClvpConfig
from vectok.codebook import content_hash, load_codebook
from vectok.lm.memory import TranslationMemory
from vectok.lm.model import LanguageModel, LanguageModelConfig
from vectok.lm.vocabulary import Vocabulary, bpe_hash
from vectok.parts import LanguageParts, Parts

LANGUAGES = ("en", "es")
TASKS = ("tts", "asr", "mt", "continuation")
N_PIECES = 16


def own_pieces() -> bytes:
    """The BPE model of the language model's own pieces, which are others than the system's."""
    tokens = torch.randint(0, N_CLUSTERS, (400,), generator=torch.Generator().manual_seed(9))
    return bpe.train([tokens], bpe.BPEConfig(n_vocab=N_PIECES, n_clusters=N_CLUSTERS))


def make_vocabulary(parts: Parts, languages: tuple[str, ...] = LANGUAGES) -> Vocabulary:
    """The joint vocabulary of the tiny system."""
    return Vocabulary(
        symbols=tuple(text.symbols(languages)), languages=languages, n_pieces=N_PIECES,
        codebook_hash=content_hash(load_codebook(parts.kmeans)), bpe_hash=bpe_hash(own_pieces()),
    )  # fmt: skip


def make_language_parts(folder: Path, parts: Parts, vocabulary: Vocabulary, tasks: tuple[str, ...] = TASKS):
    """Saves a random LM and CLVP below ``folder``."""
    torch.manual_seed(3)
    sizes = LanguageModelConfig(n_layers=1, dim=16, n_heads=2, ffn_dim=32, tied=True, tasks=tasks)
    language = LanguageParts(folder / "lm", folder / "clvp")
    model = LanguageModel(sizes, vocabulary).eval()
    for parameter in model.parameters():
        parameter.data *= 4 if parameter.dim() > 1 else 1  # far from uniform, so that what stands before an id matters
    model.save(language.lm)
    bpe.save(language.lm / "bpe.model", own_pieces())
    TranslationMemory([{"en": "press one", "es": "pulse uno"}]).save(language.lm / "memory.json")
    Clvp(ClvpConfig(n_layers=1, dim=16, n_heads=2, ffn_dim=32), vocabulary).eval().save(language.clvp)
    return language


def make_all(folder: Path) -> tuple[Parts, LanguageParts]:
    """The whole tiny system."""
    parts = make_parts(folder)
    return parts, make_language_parts(folder, parts, make_vocabulary(parts))
