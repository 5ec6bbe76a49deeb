"""kNN-VC, the baseline: each source vector becomes the mean of its nearest neighbours among the target's vectors.

Source: Baas, van Niekerk, Kamper, arXiv 2305.18975. *Deviation*: the vectors are standardised per channel.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

_CHUNK_FRAMES = 1024


def convert(
    source: Float[Tensor, "frames dim"], pool: Float[Tensor, "prompt dim"], k: int = 4
) -> Float[Tensor, "frames dim"]:
    r"""Converts an utterance by matching its vectors to those of the target speaker.

    .. math:: y_t = \frac{1}{k} \sum_{j \in N_k(t)} p_j, \quad N_k(t) = k \text{ largest } \cos(x_t, p_j)

    Arguments:
        source: Speech vectors of the source utterance.
        pool: Speech vectors of the target speaker, all utterances joined.
        k: Neighbours to average; the paper's is 4.
    Raises:
        ValueError: Fewer than k target vectors, no source vector, or dims that differ.
    Example:
        >>> convert(torch.tensor([[2.0, 0.1]]), torch.tensor([[0.0, 1.0], [5.0, 0.0]]), k=1)
        tensor([[5., 0.]])
    """
    if k < 1 or len(pool) < k:
        raise ValueError(f"expected at least k = {k} >= 1 target vectors, got {len(pool)}: give more target speech")
    if not len(source) or source.shape[1] != pool.shape[1]:
        raise ValueError(f"expected source vectors of dim {pool.shape[1]}, got shape {tuple(source.shape)}")
    targets = functional.normalize(pool, dim=-1).T
    chunks = functional.normalize(source, dim=-1).split(_CHUNK_FRAMES)
    return torch.cat([pool[(chunk @ targets).topk(k, dim=-1).indices].mean(1) for chunk in chunks])
