"""Training sequences of the inverse K-means model: tokens, target vectors, and a prompt in the target's voice.

A batch is a pure function of (seed, step). Real, pseudo and lent voices take turns, each voice as often as the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vectok.codec import LENGTH_STEP
from vectok.codec_training import CodecBatch
from vectok.frames import frames_of_seconds
from vectok.store import PARTS, FeatureStore
from vectok.tokens import TokenTable
from vectok.voice_pools import VoicePools

_BUCKETS = 4
_POOL_FRAMES = 6000  # two minutes of a voice: what kNN-VC wants, and memory for dozens of voices
_FEWEST_POOL_FRAMES = 1500  # nothing is moved into a voice with less than half a minute


@dataclass(frozen=True, kw_only=True)
class CodecDataConfig:
    """How training sequences are drawn.

    Arguments:
        batch_size: Sequences a batch.
        min_prompt_seconds: Shortest prompt that is drawn (a short utterance may give less).
        max_prompt_seconds: Longest prompt.
        min_target_seconds: Shorter utterances are no targets.
        max_target_seconds: Longer utterances are cropped to it at random.
        real_share: Share of sequences by real speakers.
        voices_share: Share of sequences in lent voices (*Deviation*: speech whose words and language do not matter);
            all others are by pseudo speakers.
        mask_rate: Share of the tokens that are masked in one half of the sequences.
        replace_rate: Share of the tokens that are replaced by random ones in the other half.
        swap_rate: Share of the sequences whose tokens come from another voice's rendition of the same recording, frame
            by frame in step with the target, where there is one: conversion itself, learnt.
        crossed_share: Share of the sequences whose target is somebody else's utterance, moved into the prompt's voice
            by kNN-VC (*Deviation*: :class:`VoicePools`).
        promptless_share: Share of the other sequences that have no prompt, and a target without its utterance's mean:
            what tokens say by themselves, for the guidance of :meth:`vectok.codec.InverseKMeans.reconstruct`.
        seed: Of everything that is drawn.
    """

    batch_size: int
    min_prompt_seconds: float
    max_prompt_seconds: float
    min_target_seconds: float
    max_target_seconds: float
    real_share: float
    voices_share: float
    mask_rate: float
    replace_rate: float
    swap_rate: float
    crossed_share: float
    promptless_share: float
    seed: int


class CodecSequence(NamedTuple):
    """One training sequence; ``start`` is the place of its first frame in the utterance."""

    tokens: Int[Tensor, " frames"]
    target: Float[Tensor, "frames dim"]
    prompt: Float[Tensor, "prompt dim"]
    start: int


class TokenisedStore(NamedTuple):
    """A store with its tokens."""

    store: FeatureStore
    tokens: TokenTable


class _Utterance(NamedTuple):
    """An utterance of one of the sources, and the recording that it renders."""

    utterance: str
    speaker: str
    n_frames: int
    source: int
    kind: str
    origin: str


class _Drawn(NamedTuple):
    """One training sequence before it is read: two utterances, and how many frames of target.

    ``crossed`` tells whether the target is moved into the voice of the prompt.
    """

    target: _Utterance
    prompt: _Utterance
    n_frames: int
    crossed: bool


def corrupt(
    tokens: Int[Tensor, " frames"], n_clusters: int, mask_rate: float, replace_rate: float, random: np.random.Generator
) -> Int[Tensor, " frames"]:
    """Masks a share of the tokens, or else replaces a share by random ones; a coin decides which.

    Source: the paper's "mask 10 % of the tokens, or replace 10 %".
    Arguments:
        tokens: Cluster ids.
        n_clusters: Size of the codebook, and the id of a masked token.
        mask_rate: Probability of each token if the sequence is masked.
        replace_rate: Probability of each token if the sequence has replacements.
        random: Source of the coins.
    """
    masks = random.random() < 0.5
    hit = torch.from_numpy(random.random(len(tokens)) < (mask_rate if masks else replace_rate))
    others = torch.from_numpy(random.integers(0, n_clusters, len(tokens)))
    return torch.where(hit, n_clusters if masks else others, tokens)


class CodecBatches:
    """The batch of each step: call it with the step's number.

    Arguments:
        sources: Stores with their tokens; only utterances of the splits ``train`` and ``voices`` are used. An index
            with the column ``source_utterance`` holds pseudo speakers' renditions of the recordings that it names.
        n_clusters: Size of the codebook.
        config: How sequences are drawn.
    Raises:
        ValueError: No training utterance is long enough.
    """

    def __init__(self, sources: Sequence[TokenisedStore], n_clusters: int, config: CodecDataConfig) -> None:
        self.sources, self.n_clusters, self.config = sources, n_clusters, config
        self.table = _table(sources, frames_of_seconds(config.min_target_seconds))
        self._utterances = [_Utterance(*row) for row in self.table.itertuples(index=False, name=None)]
        longest = frames_of_seconds(config.max_target_seconds)
        self.crops = np.minimum(self.table["n_frames"].to_numpy(), longest)
        self._rows = self.table.groupby("speaker", sort=True).indices
        shares = {"real": config.real_share, "voices": config.voices_share}
        self._shares = {**shares, "pseudo": 1 - sum(shares.values())}
        by_kind = self.table.groupby("kind")["speaker"].agg(lambda speakers: sorted(set(speakers)))
        self._speakers = {kind: by_kind[kind] for kind in self._shares if kind in by_kind}
        self._n_frames = self.table.groupby("speaker")["n_frames"].sum()
        self._renditions = self.table.groupby(["origin", "n_frames"]).indices
        by_voice = {voice: [self._utterances[row] for row in rows] for voice, rows in self._rows.items()}
        self._pools = VoicePools(by_voice, self._vectors, _POOL_FRAMES, config.seed)

    def _vectors(self, of: _Utterance, start: int = 0, n_frames: int | None = None) -> Float[Tensor, "frames dim"]:
        return self.sources[of.source].store.vectors(of.utterance, start, n_frames)

    def __call__(self, step: int) -> CodecBatch:
        """The same batch for the same step, always: of four batches' worth of draws, the stretch of one length."""
        random = np.random.default_rng([self.config.seed, step])
        drawn = [self._draw(random) for _ in range(_BUCKETS * self.config.batch_size)]
        drawn.sort(key=lambda each: each.n_frames)
        first = random.integers(_BUCKETS) * self.config.batch_size
        shortest, longest = (
            frames_of_seconds(seconds) for seconds in (self.config.min_prompt_seconds, self.config.max_prompt_seconds)
        )
        n_prompt = int(random.integers(shortest, longest + 1))
        return collate([self._read(each, n_prompt, random) for each in drawn[first : first + self.config.batch_size]])

    def _draw(self, random: np.random.Generator) -> _Drawn:
        """A voice, an utterance and another one for the prompt; now and then the utterance is somebody else's.

        The prompt of a speaker's only utterance is its beginning: see :meth:`_read`.
        """
        voice = self._draw_voice(random)
        rows = self._rows[voice]
        weights = self.crops[rows] / self.crops[rows].sum()
        target, prompt = random.choice(rows, 2, replace=False, p=weights) if len(rows) > 1 else (rows[0], rows[0])
        crossed = bool(random.random() < self.config.crossed_share) and self._n_frames[voice] >= _FEWEST_POOL_FRAMES
        if crossed:
            others = self._rows[self._draw_voice(random)]
            target = random.choice(others, p=self.crops[others] / self.crops[others].sum())
        return _Drawn(self._utterances[target], self._utterances[prompt], int(self.crops[target]), crossed)

    def _draw_voice(self, random: np.random.Generator) -> str:
        """A kind of voice, by the shares of those that are there, then a speaker."""
        weights = np.array([self._shares[kind] for kind in self._speakers])
        weights = weights / weights.sum() if weights.sum() else np.full(len(weights), 1 / len(weights))
        speakers = self._speakers[list(self._speakers)[random.choice(len(weights), p=weights)]]
        return speakers[random.integers(len(speakers))]

    def _read(self, drawn: _Drawn, n_prompt: int, random: np.random.Generator) -> CodecSequence:
        """Tokens (corrupted), target and prompt of one sequence; prompt and target never share a frame."""
        target, prompt = drawn.target, drawn.prompt
        alone = target == prompt
        n_prompt = min(n_prompt, prompt.n_frames // 2 if alone else prompt.n_frames)
        prompt_start = 0 if alone else int(random.integers(prompt.n_frames - n_prompt + 1))
        free = target.n_frames - (n_prompt if alone else 0)
        n_frames = min(drawn.n_frames, free)
        start = target.n_frames - free + int(random.integers(free - n_frames + 1))
        spoken = self._spoken(target, random)
        tokens = self.sources[spoken.source].tokens.tokens(spoken.utterance, start, n_frames)
        tokens = corrupt(tokens, self.n_clusters, self.config.mask_rate, self.config.replace_rate, random)
        vectors = self._vectors(target, start, n_frames)
        if drawn.crossed and target.speaker != prompt.speaker:
            vectors = self._pools.move(vectors, self._vectors(target).mean(0), prompt.speaker)
        elif self.config.promptless_share and random.random() < self.config.promptless_share:
            vectors, n_prompt = vectors - self._vectors(target).mean(0), 0
        return CodecSequence(tokens, vectors, self._vectors(prompt, prompt_start, n_prompt), start)

    def _spoken(self, target: _Utterance, random: np.random.Generator) -> _Utterance:
        """The rendition that gives the tokens: now and then another voice's, of the same length in frames."""
        if random.random() >= self.config.swap_rate:
            return target
        rows = self._renditions[(target.origin, target.n_frames)]
        return self._utterances[rows[random.integers(len(rows))]]


def _table(sources: Sequence[TokenisedStore], n_min_frames: int) -> pd.DataFrame:
    """Training utterances of all sources that are long enough: where they lie, who speaks, what they render."""
    parts = []
    for number, source in enumerate(sources):
        index = source.store.index
        pseudo = "source_utterance" in index.columns
        origin = index["source_utterance"] if pseudo else index["utterance"]
        kind = "pseudo" if pseudo else index["split"].map({"train": "real", "voices": "voices"})
        part = index[["utterance", "speaker", "n_frames"]].assign(source=number, kind=kind, origin=origin)
        parts.append(part[index["split"].isin(PARTS.values()) & (index["n_frames"] >= n_min_frames)])
    table = pd.concat(parts, ignore_index=True)[list(_Utterance._fields)]
    if table.empty:
        raise ValueError(f"no training utterance of {n_min_frames} frames or more in {sources[0].store.folder}")
    return table


def collate(sequences: Sequence[CodecSequence]) -> CodecBatch:
    """Pads several sequences on the right, to a multiple of 16 frames.

    Few lengths mean few shapes: on a CPU the kernels of each shape are built and kept, at some cost of memory.
    """
    tokens, targets, prompts, starts = zip(*sequences, strict=True)

    def pad(parts: Sequence[Tensor]) -> Tensor:
        n_frames = -(-max(len(part) for part in parts) // LENGTH_STEP) * LENGTH_STEP
        padded = parts[0].new_zeros(len(parts), n_frames, *parts[0].shape[1:])
        for row, part in zip(padded, parts, strict=True):
            row[: len(part)] = part
        return padded

    def mask(parts: Sequence[Tensor]) -> Tensor:
        return pad([torch.ones(len(part), dtype=torch.bool) for part in parts])

    return CodecBatch(pad(tokens), mask(tokens), pad(targets), pad(prompts), mask(prompts), torch.tensor(starts))
