"""Draws ids from scores: repetition penalty, temperature, top-p, and noise that belongs to a candidate, not a batch."""

from hashlib import blake2b

import numpy as np
from jaxtyping import Bool, Float, Int

_NOISE_BYTES = 8


def noise(seed: int, item: str, candidate: int, step: int) -> float:
    """A uniform number in [0, 1), a pure function of its four keys.

    Example:
        >>> noise(0, "a", 0, 0) == noise(0, "a", 0, 0), noise(0, "a", 0, 0) == noise(0, "a", 1, 0)
        (True, False)
    """
    key = f"{seed}\t{candidate}\t{step}\t{item}".encode()
    whole = int.from_bytes(blake2b(key, digest_size=_NOISE_BYTES).digest(), "little")
    return (whole >> 11) / 2**53  # as many bits as a double holds


def penalise(
    scores: Float[np.ndarray, "rows vocab"], recent: Bool[np.ndarray, "rows vocab"], penalty: float
) -> Float[np.ndarray, "rows vocab"]:
    r"""Makes recent ids less likely: :math:`z_i \to z_i / \theta` where :math:`z_i > 0`, else :math:`z_i \theta`.

    Source: CTRL, arXiv 1909.05858 (as transformers has it); :math:`\theta = 2` is Tortoise's preset.
    Arguments:
        scores: Logits.
        recent: True where the penalty holds.
        penalty: :math:`\theta`, 1 for none.
    Example:
        >>> penalise(np.array([[2.0, -1.0, 3.0]]), np.array([[True, True, False]]), 2.0)
        array([[ 1., -2.,  3.]])
    """
    return np.where(recent, np.where(scores > 0, scores / penalty, scores * penalty), scores)


def softmax(scores: Float[np.ndarray, "rows vocab"]) -> Float[np.ndarray, "rows vocab"]:
    """Probabilities; a score of minus infinity gets none."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def nucleus(probabilities: Float[np.ndarray, "rows vocab"], top_p: float) -> Float[np.ndarray, "rows vocab"]:
    r"""Keeps the likeliest ids that hold ``top_p`` together, the id that reaches it among them; zero elsewhere.

    Source: arXiv 1904.09751. *Deviation*: equally likely ids stay or go together, so that no order decides.
    Arguments:
        probabilities: Rows that add up to one.
        top_p: In (0, 1]; a tiny one leaves the likeliest id.
    Example:
        >>> nucleus(np.array([[0.5, 0.2, 0.3]]), 0.7)
        array([[0.5, 0. , 0.3]])
    """
    falling = -np.sort(-probabilities, axis=1)
    # A hair less than top_p, so that rounding in the running sum adds no id.
    reached = np.argmax(np.cumsum(falling, axis=1) >= top_p * (1 - 1e-12), axis=1)
    threshold = falling[np.arange(len(falling)), reached]
    return np.where(probabilities >= threshold[:, None], probabilities, 0.0)


def draw(weights: Float[np.ndarray, "rows vocab"], uniforms: Float[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
    """One id a row, with a chance in proportion to its weight: where the running sum passes the uniform number.

    Ids stand in their own order, not in that of their weights, so that a rounding error cannot reorder them: the result
    changes only when the uniform number lies within that error of a border between two ids.
    Example:
        >>> draw(np.array([[0.5, 0.0, 0.5], [0.5, 0.0, 0.5]]), np.array([0.49, 0.51]))
        array([0, 2])
    """
    sums = np.cumsum(weights, axis=1)
    return np.argmax(sums > uniforms[:, None] * sums[:, -1:], axis=1)
