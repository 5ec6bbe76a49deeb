"""Moves training utterances into other voices, so that the inverse K-means model learns to believe its prompt.

Where each language has one voice, the tokens alone tell the voice, and a model that only ever sees a voice's own tokens
learns to ignore the prompt. Here kNN-VC is the teacher: it says how an utterance would sound in another voice.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vectok.knn_vc import convert

N_NEIGHBOURS = 4


class Pool(NamedTuple):
    """Mean-removed vectors of one voice, and the mean."""

    centred: Float[Tensor, "prompt dim"]
    mean: Float[Tensor, " dim"]


class VoicePools:
    r"""kNN-VC between mean-removed vectors.

    .. math:: y_t = \bar v + \frac14 \sum_{j \in N_4(x_t - \bar x)} (v_j - \bar v)

    Source: kNN-VC, arXiv 2305.18975; a teacher for the codec as in Vec-Tok-VC+, arXiv 2406.09844. *Deviation*:
    neighbours are sought among mean-removed vectors, since the mean carries the speaker (the paper's own finding).

    Arguments:
        utterances: The utterances of each voice.
        read: Vectors [frames, dim] of one of them.
        n_frames: Frames of a voice's pool, at most.
        seed: Which utterances fill it.
    """

    def __init__(
        self,
        utterances: dict[str, Sequence],
        read: Callable[..., Float[Tensor, "frames dim"]],
        n_frames: int,
        seed: int,
    ) -> None:
        self.utterances, self.read, self.n_frames, self.seed = utterances, read, n_frames, seed
        self._pools: dict[str, Pool] = {}

    def pool(self, voice: str) -> Pool:
        """A voice's pool, filled on first use from its utterances in a seeded order."""
        if voice not in self._pools:
            order = np.random.default_rng(self.seed).permutation(len(self.utterances[voice]))
            parts, n_frames = [], 0
            for place in order:
                if n_frames < self.n_frames:
                    parts.append(self.read(self.utterances[voice][place]))
                    n_frames += len(parts[-1])
            vectors = torch.cat(parts)[: self.n_frames]
            self._pools[voice] = Pool(vectors - vectors.mean(0), vectors.mean(0))
        return self._pools[voice]

    def move(
        self, vectors: Float[Tensor, "frames dim"], mean: Float[Tensor, " dim"], voice: str
    ) -> Float[Tensor, "frames dim"]:
        """Vectors of a stretch of an utterance, in another voice.

        Arguments:
            vectors: The stretch.
            mean: Of the whole utterance.
            voice: A key of ``utterances``.
        """
        pool = self.pool(voice)
        return pool.mean + convert(vectors - mean, pool.centred, min(N_NEIGHBOURS, len(pool.centred)))
