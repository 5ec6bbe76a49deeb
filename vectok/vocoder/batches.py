"""Crops for the training of vocoders: from whole-utterance vectors, with the recording's audio and pitch."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from vectok.frames import samples_of_frames
from vectok.store import FeatureStore
from vectok.vocoder.objective import VocoderBatch
from vectok.vocoder.pitch import PITCH_FRAMES_PER_FRAME, Pitch, PitchConfig, continuous, track


@dataclass(frozen=True, kw_only=True)
class CropConfig:
    """How crops are drawn.

    Arguments:
        n_frames: Length of a crop, without its context.
        batch_size: Crops in a batch.
        context_frames: True frames on both sides, the vocoder's own number.
        shares: Of the crops, from each source; they add up to one.
        seed: Of the draws; with the step it fixes a batch.
    """

    n_frames: int
    batch_size: int
    context_frames: int
    shares: tuple[float, ...] = (1.0,)
    seed: int = 0


class Source:
    """Utterances of one store, with their pitch tracks: computed once, two floats a frame of memory.

    Arguments:
        store: Vectors and audio.
        utterances: Which of them.
        vectors: Takes an utterance's vectors from elsewhere (a reconstruction), frame for frame; None for the store's.
    """

    def __init__(self, store: FeatureStore, utterances: list[str], vectors: dict[str, Tensor] | None = None) -> None:
        self.store, self.utterances, self._vectors = store, list(utterances), vectors
        self.n_frames = np.array([store.n_frames(utterance) for utterance in self.utterances])
        self.pitches: list[Pitch] = []

    def track(self, config: PitchConfig) -> "Source":
        """Computes all pitch tracks, filled through unvoiced frames."""
        for utterance, n_frames in zip(self.utterances, self.n_frames, strict=True):
            pitch = track(self.store.audio(utterance, 0, int(n_frames))[None], config)
            self.pitches.append(pitch._replace(f0_hz=continuous(pitch.f0_hz, pitch.voiced)))
        return self

    def vectors(self, utterance: str, start: int = 0, n_frames: int | None = None) -> Float[Tensor, "frames dim"]:
        """Vectors of one utterance, or of a stretch of it."""
        if self._vectors is None:
            return self.store.vectors(utterance, start, n_frames)
        stop = None if n_frames is None else start + n_frames
        return self._vectors[utterance][start:stop].float()

    def crop(self, row: int, start: int, n_frames: int, context: int) -> VocoderBatch:
        """A batch of one: frames ``[start, start + n_frames)``, zeros beyond the utterance's ends."""
        first, stop = max(0, start - context), min(int(self.n_frames[row]), start + n_frames + context)
        before, after = first - (start - context), start + n_frames + context - stop
        utterance = self.utterances[row]
        vectors = self.vectors(utterance, first, stop - first)
        audio = self.store.audio(utterance, start, n_frames)
        audio = pad(audio, (0, samples_of_frames(n_frames) - len(audio)))
        twice = PITCH_FRAMES_PER_FRAME
        pitch, edges = self.pitches[row], (before * twice, after * twice)
        span = slice(first * twice, stop * twice)
        f0_hz = pad(pitch.f0_hz[:, span], edges, mode="replicate")
        voiced, aperiodicity = pad(pitch.voiced[:, span], edges), pad(pitch.aperiodicity[:, span], edges, value=1.0)
        return VocoderBatch(pad(vectors, (0, 0, before, after))[None], Pitch(f0_hz, voiced, aperiodicity), audio[None])


def stack(crops: list[VocoderBatch]) -> VocoderBatch:
    """Joins batches of one into a batch."""
    vectors, pitches, audio = zip(*crops, strict=True)
    return VocoderBatch(
        torch.cat(vectors), Pitch(*(torch.cat(part) for part in zip(*pitches, strict=True))), torch.cat(audio)
    )


class CropSampler:
    """Batches as a pure function of (seed, step): an utterance by its length, a place in it evenly.

    Arguments:
        sources: Utterances, as many sources as the configuration has shares.
    Raises:
        ValueError: A source has no utterance as long as a crop, or the shares are not those of the sources.
    """

    def __init__(self, sources: list[Source], config: CropConfig) -> None:
        if len(sources) != len(config.shares) or abs(sum(config.shares) - 1) > 1e-6:
            raise ValueError(f"expected {len(sources)} shares that add up to 1, got {config.shares}")
        self.sources, self.config, self._weights = sources, config, []
        for source in sources:
            room = np.maximum(0, source.n_frames - config.n_frames + 1)
            if not room.sum():
                raise ValueError(f"no utterance of {config.n_frames} frames or more: lower the crop's length")
            self._weights.append(np.cumsum(room) / room.sum())

    def __call__(self, step: int) -> VocoderBatch:
        random, crops, config = np.random.default_rng((self.config.seed, step)), [], self.config
        for _ in range(config.batch_size):
            number = random.choice(len(self.sources), p=config.shares)
            source, weights = self.sources[number], self._weights[number]
            row = int(np.searchsorted(weights, random.random(), side="right"))
            start = int(random.integers(source.n_frames[row] - config.n_frames + 1))
            crops.append(source.crop(row, start, config.n_frames, config.context_frames))
        return stack(crops)


def utterances_of(store: FeatureStore, split: str, min_frames: int = 1) -> list[str]:
    """Utterances of one split with at least ``min_frames``, in the store's order."""
    index: pd.DataFrame = store.index
    return index.loc[(index["split"] == split) & (index["n_frames"] >= min_frames), "utterance"].tolist()


def spread(store: FeatureStore, utterances: list[str], n_per_language: int) -> list[str]:
    """The first ``n_per_language`` of the given utterances in each language, in the given order."""
    languages = store.index.set_index("utterance")["language"].loc[utterances]
    return languages.groupby(languages).head(n_per_language).index.tolist()
