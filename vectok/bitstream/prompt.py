r"""A speaker in some three hundred bytes: what a file carries to be spoken without any other recording.

The prompt's vectors are kept as their mean, which carries the speaker, and, of what is left of each frame, as the token
whose mean vector is nearest (the recording's own token, where tokens are read off the vectors' layer):

.. math:: \ell = \mathrm{round}(8 \bar p), \qquad \hat p_t = c_{s_t} - \bar c_s + \ell / 8

Source: Vec-Tok Speech, appendix A.2 (the mean correlates with the speaker). *Deviation*: the paper keeps no prompt in
its stream.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vectok.bitstream.entropy import LARGEST_LEVEL
from vectok.frames import FRAME_RATE_HZ, frames_of_seconds
from vectok.kmeans import assign

LEVELS_PER_UNIT = 8  # of a standardised vector's deviation: 3.7 bits a channel, and no less like the speaker
PROMPT_SECONDS = 3.0  # kept of a prompt (the paper's length)
SHORTEST_PROMPT_SECONDS = 1.0


class SpeakerPrompt(NamedTuple):
    """A prompt as a file keeps it: levels of its mean, one a channel, and its tokens."""

    levels: Int[Tensor, " dim"]
    tokens: Int[Tensor, " prompt"]


def levels_of(mean: Float[Tensor, "*batch dim"]) -> Int[Tensor, "*batch dim"]:
    r"""Levels of a mean of standardised vectors: :math:`\mathrm{round}(8 \bar p)`, within 40 either way.

    Example:
        >>> levels_of(torch.tensor([0.26, -9.0]))
        tensor([  2, -40])
    """
    return (mean * LEVELS_PER_UNIT).round().clamp(-LARGEST_LEVEL, LARGEST_LEVEL).long()


def compact(
    vectors: Float[Tensor, "prompt dim"], centroids: Float[Tensor, "clusters dim"], seconds: float = PROMPT_SECONDS
) -> SpeakerPrompt:
    """The prompt of some speech: the mean of all of it, and the tokens of its beginning.

    Arguments:
        vectors: Standardised vectors of the target speaker, a second or more.
        centroids: What stands for each token in the space of the vectors.
        seconds: How much of it is kept as tokens.
    Raises:
        ValueError: Less than a second, or vectors of another dimension than the codebook's.
    """
    least = frames_of_seconds(SHORTEST_PROMPT_SECONDS)
    if vectors.shape[1] != centroids.shape[1] or min(len(vectors), frames_of_seconds(seconds)) < least:
        raise ValueError(
            f"expected a prompt of at least {SHORTEST_PROMPT_SECONDS:g} s and dim {centroids.shape[1]}, got "
            f"{len(vectors) / FRAME_RATE_HZ:g} s and dim {vectors.shape[1]}: give more speech of the target speaker"
        )
    return SpeakerPrompt(levels_of(vectors.mean(0)), assign(vectors, centroids)[: frames_of_seconds(seconds)])


def expand(prompt: SpeakerPrompt, centroids: Float[Tensor, "clusters dim"]) -> Float[Tensor, "prompt dim"]:
    """Vectors to decode with, whose mean is the kept one.

    Raises:
        ValueError: A prompt of another codebook.
    Example:
        >>> expand(SpeakerPrompt(torch.tensor([8]), torch.tensor([0, 1])), torch.tensor([[-1.0], [3.0]]))
        tensor([[-1.],
                [ 3.]])
    """
    n_clusters, dim = centroids.shape
    if len(prompt.levels) != dim or not len(prompt.tokens) or int(prompt.tokens.max()) >= n_clusters:
        raise ValueError(
            f"expected {dim} levels and tokens below {n_clusters}, got {len(prompt.levels)} levels and "
            f"{len(prompt.tokens)} tokens: use the codebook that the prompt was made with"
        )
    vectors = centroids[prompt.tokens]
    return vectors - vectors.mean(0) + prompt.levels.to(centroids.dtype) / LEVELS_PER_UNIT


def training_levels(means: list[Float[Tensor, " dim"]]) -> Int[np.ndarray, " levels"]:
    """Levels of the means of training utterances, all channels together: what their frequencies are counted on."""
    return levels_of(torch.stack(means)).flatten().numpy()
