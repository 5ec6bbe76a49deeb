"""K-means on speech vectors whose utterance mean is taken away: the semantic tokens.

scikit-learn does the clustering: Lloyd's K-means when the frames fit into memory, MiniBatchKMeans as a stream when they
do not. This module samples the frames, assigns tokens and measures the codebook's health.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from sklearn.cluster import KMeans, MiniBatchKMeans
from threadpoolctl import threadpool_limits
from torch import Tensor

from vectok.reproducibility import N_THREADS
from vectok.store import FeatureStore

CHUNK_FRAMES = 8192


@dataclass(frozen=True, kw_only=True)
class KMeansConfig:
    """How the codebook is fitted.

    Arguments:
        n_clusters: Size of the codebook; the paper's is 300.
        n_fit_frames: Frames drawn from train, at most.
        n_iterations: Lloyd iterations at most, or passes over the frames when they are streamed.
        tolerance: Lloyd stops once the centroids' squared movement is below it, relative to the frames' variance.
        max_frames_in_memory: More frames than this are streamed in mini-batches of this size.
        seed: Of the sample, of k-means++ and of the mini-batches.
    """

    n_clusters: int
    n_fit_frames: int
    n_iterations: int = 100
    tolerance: float = 1e-4
    max_frames_in_memory: int = 500_000
    seed: int = 0


class Nearest(NamedTuple):
    """Nearest centroid of each frame, and the squared distance to it."""

    tokens: Int[Tensor, " frames"]
    squared_distances: Float[Tensor, " frames"]


class Fit(NamedTuple):
    """A codebook, and the mean squared distance that it leaves on the frames it was fitted on."""

    centroids: Float[Tensor, "clusters dim"]
    inertia_per_frame: float
    n_iterations: int
    n_frames: int


def centre(vectors: Float[Tensor, "frames dim"]) -> Float[Tensor, "frames dim"]:
    r"""Takes the utterance's mean over time away: :math:`x_t - \bar x`. The mean carries the speaker.

    Source: Vec-Tok Speech, appendix A.2.
    """
    return vectors - vectors.mean(0, keepdim=True)


def nearest(vectors: Float[Tensor, "frames dim"], centroids: Float[Tensor, "clusters dim"]) -> Nearest:
    r"""Nearest centroid of each frame as it stands, chunk by chunk.

    .. math:: d_t = \min_k \lVert x_t \rVert^2 - 2 x_t \cdot c_k + \lVert c_k \rVert^2

    Arguments:
        vectors: Already centred.
        centroids: Codebook from :func:`fit`.
    """
    norms = centroids.square().sum(1)
    found = []
    for chunk in vectors.split(CHUNK_FRAMES):
        distances, tokens = torch.addmm(norms, chunk, centroids.T, alpha=-2).min(1)
        found.append((tokens, (distances + chunk.square().sum(1)).clamp_min(0)))
    return Nearest(torch.cat([tokens for tokens, _ in found]), torch.cat([distances for _, distances in found]))


def nearest_centred(vectors: Float[Tensor, "frames dim"], centroids: Float[Tensor, "clusters dim"]) -> Nearest:
    """Centres one utterance and finds its nearest centroids: :func:`assign` with the distances.

    Raises:
        ValueError: If the utterance is empty or the two dims differ.
    """
    if len(vectors) == 0:
        raise ValueError("expected at least one frame, got an empty utterance: leave it out of the corpus")
    if vectors.shape[1] != centroids.shape[1]:
        raise ValueError(
            f"expected vectors of dim {centroids.shape[1]} as in the codebook, got {vectors.shape[1]}: "
            "use the encoder that the codebook was fitted on"
        )
    return nearest(centre(vectors), centroids)


def assign(vectors: Float[Tensor, "frames dim"], centroids: Float[Tensor, "clusters dim"]) -> Int[Tensor, " frames"]:
    r"""Maps each speech vector of one utterance to its nearest centroid.

    .. math:: s_t = \arg\min_k \lVert (x_t - \bar x) - c_k \rVert_2

    Source: Vec-Tok Speech, section on the codec encoder.
    *Deviation*: the vectors are standardised per channel first, because a few channels of Whisper are huge.
    Arguments:
        vectors: Standardised vectors of a whole utterance, 50 frames per second, not yet centred.
        centroids: Codebook from :func:`fit`.
    Returns: Cluster index per frame, in [0, clusters).
    Raises:
        ValueError: If the utterance is empty or the two dims differ.
    Example:
        >>> assign(torch.tensor([[0.0], [4.0]]), torch.tensor([[-2.0], [2.0]]))
        tensor([0, 1])
    """
    return nearest_centred(vectors, centroids).tokens


def sample_frames(
    store: FeatureStore, utterances: Sequence[str], n_frames: int, seed: int
) -> Iterator[Float[Tensor, "frames dim"]]:
    """Centred frames drawn without replacement from some utterances, utterance by utterance.

    Arguments:
        store: Where the vectors are.
        utterances: To draw from; an utterance's mean is that of all its frames, drawn or not.
        n_frames: How many to draw; all of them when there are no more.
        seed: Of the draw and of the order of the utterances.
    """
    generator = np.random.default_rng(seed)
    ordered = [utterances[i] for i in generator.permutation(len(utterances))]
    ends = np.cumsum([store.n_frames(utterance) for utterance in ordered])
    n_drawn = min(n_frames, int(ends[-1]))
    drawn = np.sort(generator.choice(int(ends[-1]), n_drawn, replace=False))
    for utterance, end in zip(ordered, ends, strict=True):
        first = end - store.n_frames(utterance)
        own = drawn[np.searchsorted(drawn, first) : np.searchsorted(drawn, end)] - first
        if len(own):
            yield centre(store.vectors(utterance))[torch.from_numpy(own)]


def _check_frames(n_frames: int, config: KMeansConfig) -> None:
    if n_frames < config.n_clusters:
        raise ValueError(
            f"expected at least {config.n_clusters} frames for as many clusters, got {n_frames}: "
            "lower n_clusters or give more speech"
        )
    if config.max_frames_in_memory < config.n_clusters:
        raise ValueError(
            f"expected max_frames_in_memory of at least {config.n_clusters} clusters, "
            f"got {config.max_frames_in_memory}: raise it"
        )


def fit_in_memory(frames: Float[Tensor, "frames dim"], config: KMeansConfig) -> Fit:
    """Lloyd's K-means from k-means++, on frames that are already centred.

    One thread of OpenMP: with more, scikit-learn adds the threads' sums in the order in which they finish. BLAS, whose
    products choose the first centroids, has the usual ones.
    """
    _check_frames(len(frames), config)
    model = KMeans(config.n_clusters, n_init=1, max_iter=config.n_iterations, tol=config.tolerance,
                   random_state=config.seed, copy_x=False)  # fmt: skip
    with threadpool_limits({"openmp": 1, "blas": N_THREADS}):
        model.fit(frames.numpy())
    centroids = torch.from_numpy(model.cluster_centers_.astype(np.float32))
    return Fit(centroids, float(model.inertia_) / len(frames), int(model.n_iter_), len(frames))


def _batches(frames: Iterator[Float[Tensor, "frames dim"]], size: int) -> Iterator[Float[Tensor, "frames dim"]]:
    """Joins stretches of frames into batches of ``size``; what is left at the end is one smaller batch."""
    waiting, n_waiting = [], 0
    for stretch in frames:
        for piece in stretch.split(size):
            waiting.append(piece)
            n_waiting += len(piece)
            if n_waiting >= size:
                joined = torch.cat(waiting)
                yield joined[:size]
                waiting, n_waiting = [joined[size:]], n_waiting - size
    if n_waiting:
        yield torch.cat(waiting)


def fit_streaming(store: FeatureStore, utterances: Sequence[str], config: KMeansConfig) -> Fit:
    """Mini-batch K-means over a stream of frames, of which ``max_frames_in_memory`` are held at a time."""
    model = MiniBatchKMeans(config.n_clusters, n_init=1, random_state=config.seed)
    total = n_frames = 0
    with threadpool_limits(1):
        for epoch in range(config.n_iterations):
            stream = sample_frames(store, utterances, config.n_fit_frames, config.seed + epoch)
            for batch in _batches(stream, config.max_frames_in_memory):
                # The first batch seeds the centroids; a last one that is smaller than the codebook adds nothing.
                if len(batch) >= config.n_clusters:
                    model.partial_fit(batch.numpy())
        centroids = torch.from_numpy(model.cluster_centers_.astype(np.float32))
        for stretch in sample_frames(store, utterances, config.n_fit_frames, config.seed):
            total += float(nearest(stretch, centroids).squared_distances.sum(dtype=torch.float64))
            n_frames += len(stretch)
    return Fit(centroids, total / n_frames, config.n_iterations, n_frames)


def fit(store: FeatureStore, utterances: Sequence[str], config: KMeansConfig) -> Fit:
    """Fits the codebook on a seeded sample of frames, in memory if they fit and as a stream if they do not.

    *Deviation*: the paper does not say how many frames its K-means saw; a sample is enough for 300 centroids.
    Arguments:
        store: Standardised vectors.
        utterances: Of the train split.
        config: Sizes, limits and seed.
    Raises:
        ValueError: No utterances, or fewer frames than clusters.
    """
    if not len(utterances):
        raise ValueError("expected train utterances, got none: check the split column of the store")
    available = sum(store.n_frames(utterance) for utterance in utterances)
    n_frames = min(available, config.n_fit_frames)
    _check_frames(n_frames, config)
    if n_frames > config.max_frames_in_memory:
        return fit_streaming(store, utterances, config)
    return fit_in_memory(torch.cat(list(sample_frames(store, utterances, n_frames, config.seed))), config)


def health(tokens: Int[Tensor, " frames"], n_clusters: int) -> dict[str, int | float]:
    r"""How evenly a codebook is used: entropy :math:`H = -\sum_k p_k \log_2 p_k` and perplexity :math:`2^H`.

    Example:
        >>> health(torch.tensor([0, 0, 1, 1]), 3)
        {'n_frames': 4, 'n_dead': 1, 'use': 0.6667, 'entropy_bits': 1.0, 'perplexity': 2.0, 'largest_share': 0.5}
    """
    shares = torch.bincount(tokens, minlength=n_clusters).double() / max(1, len(tokens))
    entropy = float(-torch.xlogy(shares, shares).sum() / np.log(2))
    n_dead = int((shares == 0).sum())
    return {
        "n_frames": len(tokens),
        "n_dead": n_dead,
        "use": round(1 - n_dead / n_clusters, 4),
        "entropy_bits": round(entropy, 4) + 0.0,
        "perplexity": round(2**entropy, 2),
        "largest_share": round(float(shares.max()), 5),
    }


def health_by_language(index: pd.DataFrame, tokens: Int[Tensor, " frames"], n_clusters: int) -> pd.DataFrame:
    """:func:`health` of each language and of all, one row each, with the inertia per frame.

    Arguments:
        index: The store's index with the column ``squared_distance`` of :func:`vectok.tokens.tokenise_store`.
        tokens: Of the same utterances, end to end.
        n_clusters: Size of the codebook.
    """
    frame_language = np.repeat(index["language"].to_numpy(), index["n_frames"].to_numpy())
    rows = []
    for language in ["all", *sorted(index["language"].unique())]:
        mask = np.ones(len(tokens), bool) if language == "all" else frame_language == language
        chosen = index if language == "all" else index[index["language"] == language]
        inertia = chosen["squared_distance"].sum() / chosen["n_frames"].sum()
        row = {"language": language, **health(tokens[torch.from_numpy(mask)], n_clusters)}
        rows.append(row | {"inertia_per_frame": round(float(inertia), 3)})
    return pd.DataFrame(rows)
