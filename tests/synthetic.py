"""Small stores for tests: speech-like vectors with runs, speakers, languages and splits."""

from pathlib import Path

import torch

from vectok.codebook import Codebook
from vectok.features import ChannelStatistics
from vectok.store import FeatureStore, Item, StoreWriter

LANGUAGES = ("en", "fr")
SPLITS = ("train", "train", "train", "dev", "test")


def make_items(n_utterances: int, dim: int, seed: int, n_runs: int) -> list[Item]:
    """Utterances that walk among eight sounds, each held for some frames, plus a speaker's own constant."""
    generator = torch.Generator().manual_seed(seed)
    sounds = 3 * torch.randn(8, dim, generator=generator)
    constants = torch.randn(len(LANGUAGES), dim, generator=generator)
    items = []
    for i in range(n_utterances):
        order = torch.randint(0, 8, (n_runs,), generator=generator)
        walk = order.repeat_interleave(torch.randint(1, 6, (n_runs,), generator=generator))
        language = i % len(LANGUAGES)
        noise = 0.3 * torch.randn(len(walk), dim, generator=generator)
        metadata = {
            "speaker": f"toy-{LANGUAGES[language]}",
            "language": LANGUAGES[language],
            "split": SPLITS[i % len(SPLITS)],
            "group": f"g{i}",
            "text": "a b c",
            "corpus": "toy",
            "bandwidth_hz": 8000,
            "seconds": len(walk) / 50,
        }
        vectors = sounds[walk] + constants[language] + noise
        items.append(
            Item(utterance=f"toy/{i:03d}", vectors=vectors, audio=torch.zeros(320 * len(walk)), metadata=metadata)
        )
    return items


def make_store(
    folder: Path, n_utterances: int = 30, dim: int = 6, seed: int = 0, n_runs: int = 12, layer: int = 0
) -> FeatureStore:
    """A store of :func:`make_items` in two shards."""
    writer, items = StoreWriter(folder, dim, [layer]), make_items(n_utterances, dim, seed, n_runs)
    writer.write(0, items[: n_utterances // 2])
    writer.write(1, items[n_utterances // 2 :])
    return writer.close(2)


def plain_codebook(centroids: torch.Tensor, layer: int = 1) -> Codebook:
    """A codebook of the vectors' own layer, as it is."""
    dim = centroids.shape[1]
    return Codebook(layer, ChannelStatistics(torch.zeros(dim), torch.ones(dim)), centroids, centroids)


def utterances_of(store: FeatureStore, split: str) -> list[str]:
    """Utterances of one split, in the store's order."""
    return store.index.loc[store.index["split"] == split, "utterance"].tolist()
