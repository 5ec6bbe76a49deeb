"""A whole system of tiny random parts, saved as the stages of a profile would save it."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vectok import bpe, features, kmeans
from vectok.api import VecTok
from vectok.bitstream import entropy
from vectok.bitstream.prompt import training_levels
from vectok.codebook import Codebook, load_codebook, read_both, save_codebook
from vectok.codec import InverseKMeans, InverseKMeansConfig
from vectok.encoders import SpeechEncoder
from vectok.parts import BITSTREAM, Parts
from vectok.store import Item, StoreWriter
from vectok.vocoder.istft import SourceFilter, SourceFilterConfig

DIM, N_CLUSTERS, N_VOCAB, LAYER, TOKEN_LAYER = 16, 12, 20, 1, 2


class ToyEncoder(SpeechEncoder):
    """A fixed random projection of each frame's samples; every layer has another one."""

    def __init__(self) -> None:
        super().__init__("toy", DIM, 2, "0" * 64, torch.device("cpu"))
        self.projections = torch.randn(3, 320, DIM, generator=torch.Generator().manual_seed(0))

    def _encode_windows(self, windows: list[Tensor], layers: Sequence[int]) -> list[Tensor]:
        return [window.reshape(-1, 320) @ self.projections[list(layers)] for window in windows]


def speech(n_samples: int, seed: int) -> Tensor:
    """Noise with an envelope."""
    noise = torch.randn(n_samples, generator=torch.Generator().manual_seed(seed))
    return (0.1 * noise * (1 + torch.sin(torch.arange(n_samples) / 900))).clamp(-1, 1)


def make_parts(folder: Path) -> Parts:
    """Saves every part below ``folder``."""
    torch.manual_seed(0)
    parts = Parts(folder / "encoder", folder / "kmeans", folder / "bpe", folder / "codec", folder / "vocoder")
    encoder = ToyEncoder()
    kept = LAYER, TOKEN_LAYER
    statistics = features.fit_statistics(encoder, kept, [speech(32_000, 0)])
    vectoriser, reader = (features.Vectoriser(encoder, *each) for each in zip(kept, statistics, strict=True))
    vectoriser.save(parts.encoder)
    config = kmeans.KMeansConfig(n_clusters=N_CLUSTERS, n_fit_frames=100)
    centroids = kmeans.fit_in_memory(kmeans.centre(reader.vectorise(speech(32_000, 1))).clone(), config).centroids
    tokens = kmeans.assign(reader.vectorise(speech(320_000, 2)), centroids)
    vectors = torch.randn(N_CLUSTERS, DIM, generator=torch.Generator().manual_seed(3))
    save_codebook(parts.kmeans, Codebook(TOKEN_LAYER, reader.statistics, centroids, vectors), config)
    settings = bpe.BPEConfig(n_vocab=N_VOCAB, n_clusters=N_CLUSTERS)
    bpe.save(parts.bpe / "bpe.model", bpe.train([tokens], settings))
    (parts.bpe / "config.json").write_text('{"n_vocab": 20}\n')
    sizes = InverseKMeansConfig(
        vector_dim=DIM, n_clusters=N_CLUSTERS, dim=16, n_blocks=1, n_heads=2, ffn_dim=32, kernel_size=3,
        dropout=0.0, macaron=False, residual=True,
    )  # fmt: skip
    InverseKMeans(sizes, vectors).eval().save(parts.codec)
    SourceFilter(SourceFilterConfig(dim=DIM, width=16, n_slow_blocks=1, n_fast_blocks=1)).eval().save(parts.vocoder)
    return parts


def guided_system(model: VecTok, weight: float) -> VecTok:
    """The same system with a codec that says something of its own, and was trained with guidance."""
    codec = copy.deepcopy(model.codec)
    torch.nn.init.normal_(codec.head.weight, std=0.3, generator=torch.Generator().manual_seed(0))
    codec.config = replace(codec.config, guidance=weight)
    return VecTok(model.vectoriser, model.codebook, model.tokenizer, codec, model.vocoder, model.home)


def add_product(parts: Parts) -> None:
    """Saves beside them what the tiny system can do without: the coder of .vtok files, and pseudo voices."""
    vectoriser = features.Vectoriser.load(parts.encoder, ToyEncoder())
    codebook, tokenizer = load_codebook(parts.kmeans), bpe.PieceTokenizer(parts.bpe / "bpe.model")
    reader = codebook.reader(vectoriser.encoder)
    spoken = [read_both(vectoriser, reader, speech(64_000, seed)) for seed in range(40, 44)]
    pieces = [tokenizer.encode(kmeans.assign(frames, codebook.centroids)) for _, frames in spoken]
    levels = training_levels([vectors.mean(0) for vectors, _ in spoken])
    entropy.fit(pieces, levels, N_VOCAB, entropy.EntropyConfig()).save(parts.home / BITSTREAM, {})
    writer = StoreWriter(parts.home / "features" / "augmented", DIM)
    writer.write(0, [_pseudo(vectoriser, speaker, place) for speaker in range(6) for place in range(3)])
    writer.close(1)


def _pseudo(vectoriser: features.Vectoriser, speaker: int, place: int) -> Item:
    """An utterance of 1.5 s of one of two pseudo voices of each of three speakers."""
    name, samples = f"s{speaker // 2}~{speaker % 2}", speech(24_000, 50 + 3 * speaker + place)
    known = {"speaker": name, "bandwidth_hz": 8000, "seconds": 1.5}
    return Item(utterance=f"{name}/{place}", vectors=vectoriser.vectorise(samples), audio=samples, metadata=known)


@contextmanager
def toy_encoders() -> Iterator[None]:
    """Every encoder that is loaded meanwhile is the toy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vectok.features.load_encoder", lambda name, device="cpu": ToyEncoder())
        yield
