r"""Anonymisation: the words of a recording in the voice of somebody who does not exist.

In the manner of SALT a pseudo speaker is a random mixture of voices from a pool, and a dial keeps some of the source:

.. math::
    \hat x = p\, x + (1 - p) \sum_i w_i\, D(s, v_i), \quad
    w = (1 + e)\, \mathrm{softmax}(z) - e / n, \quad z_i \sim \mathcal N(0, 1)

D decodes the tokens s with the prompt of voice i, x are the source's own vectors, p is the preservation and e the
extrapolation, which may push the mixture beyond the voices it is made from.

Source: SALT, arXiv 2310.05051. *Deviation*: SALT mixes neighbours among the vectors of each voice; here the inverse
K-means model renders the utterance in each voice.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vectok.api import Audio, VecTok, samples_of
from vectok.codec import InverseKMeans

METHODS = ("mix", "random", "fixed")
LEVELS = ("utterance", "speaker")


@dataclass(frozen=True, kw_only=True)
class AnonymisationConfig:
    """Who speaks instead.

    Arguments:
        method: "mix" of several voices, one "random" voice, or the same "fixed" one always (the pool's first).
        n_mixed: Voices in a mixture; SALT's is 4.
        preservation: Share p of the source's own vectors, from 0 (none) to 1 (the source itself, resynthesised).
        extrapolation: e, 0 for a convex mixture.
        level: Whether a draw holds for an "utterance" or for all of a "speaker".
        seed: Of the draws.
    Raises:
        ValueError: A value out of range.
    """

    method: str = "mix"
    n_mixed: int = 4
    preservation: float = 0.0
    extrapolation: float = 0.0
    level: str = "utterance"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS or self.level not in LEVELS:
            raise ValueError(f"expected a method of {METHODS}, a level of {LEVELS}, got {self.method}, {self.level}")
        if not 0 <= self.preservation <= 1 or self.extrapolation < 0 or self.n_mixed < 1:
            raise ValueError(
                "expected preservation in [0, 1], extrapolation of 0 or more and n_mixed of 1 or more, got "
                f"{self.preservation}, {self.extrapolation}, {self.n_mixed}"
            )


class PseudoSpeaker(NamedTuple):
    """Voices of a pool and their weights, which sum to one."""

    voices: tuple[str, ...]
    weights: tuple[float, ...]


def draw(pool: Sequence[str], utterance: str, speaker: str, config: AnonymisationConfig) -> PseudoSpeaker:
    """Whose voice an utterance gets: the same names always draw the same, whatever else is anonymised.

    Arguments:
        pool: Names of the voices, in any order but for "fixed", which takes the first.
        utterance: Name of the recording; decides at the level "utterance".
        speaker: Of the source; decides at the level "speaker".
        config: Method, level and seed.
    Raises:
        ValueError: Fewer voices than a mixture wants.
    Example:
        >>> draw(["b", "a"], "x.wav", "me", AnonymisationConfig(method="fixed"))
        PseudoSpeaker(voices=('b',), weights=(1.0,))
    """
    n_wanted = config.n_mixed if config.method == "mix" else 1
    if len(pool) < n_wanted:
        raise ValueError(f"expected a pool of at least {n_wanted} voices, got {len(pool)}: give more recordings")
    if config.method == "fixed":
        return PseudoSpeaker((pool[0],), (1.0,))
    name = f"{config.seed} {config.level} {utterance if config.level == 'utterance' else speaker}"
    generator = np.random.default_rng(np.frombuffer(hashlib.sha256(name.encode()).digest(), np.uint32))
    chosen = generator.choice(sorted(pool), n_wanted, replace=False)
    exponentials = np.exp(generator.standard_normal(n_wanted))
    weights = (1 + config.extrapolation) * exponentials / exponentials.sum() - config.extrapolation / n_wanted
    return PseudoSpeaker(tuple(chosen.tolist()), tuple(weights.tolist()))


@torch.inference_mode()
def mixed_vectors(
    codec: InverseKMeans,
    tokens: Int[Tensor, " frames"],
    prompts: Sequence[Float[Tensor, "_prompt dim"]],
    weights: Sequence[float],
) -> Float[Tensor, "frames dim"]:
    r"""Vectors of an utterance in a mixture of voices: :math:`\sum_i w_i D(s, v_i)`.

    Arguments:
        codec: Tokens and a prompt to vectors.
        tokens: Of the source.
        prompts: Vectors of each voice.
        weights: Of each voice.
    """
    parts = zip(weights, prompts, strict=True)
    return sum(weight * codec.reconstruct(tokens, prompt) for weight, prompt in parts)


def preserve(
    mixed: Float[Tensor, "frames dim"], source: Float[Tensor, "frames dim"], preservation: float
) -> Float[Tensor, "frames dim"]:
    r"""Keeps a share of the source: :math:`p\, x + (1 - p)\, \hat x`.

    Example:
        >>> preserve(torch.tensor([[0.0]]), torch.tensor([[4.0]]), 0.25)
        tensor([[1.]])
    """
    return preservation * source + (1 - preservation) * mixed


def anonymise(
    model: VecTok,
    wav: Audio,
    pool: Mapping[str, Audio],
    config: AnonymisationConfig,
    utterance: str = "",
    speaker: str = "",
) -> Float[Tensor, " samples"]:
    """A recording in a pseudo speaker's voice, as many samples as it had.

    Arguments:
        model: A system.
        wav: The recording.
        pool: Voices by name: recordings of a second or more, or their vectors (``model.prompt_vectors``).
        config: Who speaks instead.
        utterance: Name of the recording: two that share it share their draw.
        speaker: Name of the source's speaker, wanted at the level "speaker".
    Raises:
        ValueError: Too few voices, or audio that cannot be used.
    """
    samples = samples_of(wav)
    encoding = model.encode(samples)
    voices, weights = draw(list(pool), utterance, speaker, config)
    prompts = [model.prompt_vectors(pool[voice]) for voice in voices]
    mixed = mixed_vectors(model.codec, encoding.tokens, prompts, weights)
    return model.decode(preserve(mixed, encoding.vectors, config.preservation))[: len(samples)]
