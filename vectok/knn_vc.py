"""kNN-VC, the baseline: each source vector becomes the mean of its nearest neighbours among the target's vectors.

Source: Baas, van Niekerk, Kamper, arXiv 2305.18975. *Deviation*: the vectors are standardised per channel.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

DEFAULT_NEIGHBOURS = 4  # the paper's
_CHUNK_FRAMES = 1024


def convert(
    source: Float[Tensor, "frames dim"], pool: Float[Tensor, "prompt dim"], k: int = DEFAULT_NEIGHBOURS
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


def averages(
    sources: Float[Tensor, "clusters dim"], pools: Float[Tensor, "batch prompt dim"], mask: Bool[Tensor, "batch prompt"]
) -> Float[Tensor, "batch clusters dim"]:
    r"""The same with k = 4 for a batch of small pools: :math:`y_{bk} = \frac14 \sum_{j \in N_4(b, k)} p_{bj}`.

    All frames of a pool that has fewer than four; zeros of one that has none.

    Arguments:
        sources: Vectors that all pools are asked for.
        pools: Padded; what stands in padding is never read.
        mask: True where a frame is real.
    Example:
        >>> pools = torch.tensor([[[5.0, 0.0], [0.0, 1.0], [0.0, 9.0]]])
        >>> averages(torch.tensor([[0.0, 1.0]]), pools, torch.tensor([[True, False, True]]))
        tensor([[[2.5000, 4.5000]]])
    """
    pools = pools.masked_fill(~mask[..., None], 0.0)
    cosines = functional.normalize(sources, dim=-1) @ functional.normalize(pools, dim=-1).transpose(1, 2)
    found = cosines.masked_fill(~mask[:, None], -torch.inf).topk(min(DEFAULT_NEIGHBOURS, pools.shape[1]), dim=-1)
    chosen = torch.zeros_like(cosines).scatter_(-1, found.indices, torch.isfinite(found.values).to(cosines.dtype))
    return chosen / chosen.sum(-1, keepdim=True).clamp(min=1) @ pools
