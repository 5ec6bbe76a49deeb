"""Tokens of a whole store: made once, kept flat beside the codebook, read by utterance."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from vectok.kmeans import nearest_centred
from vectok.store import FeatureStore


class Tokenised(NamedTuple):
    """Tokens of all utterances end to end, and the store's index with each utterance's summed squared distance."""

    tokens: Int[Tensor, " frames"]
    index: pd.DataFrame


def tokenise_store(store: FeatureStore, centroids: Float[Tensor, "clusters dim"]) -> Tokenised:
    """Tokens of every utterance in the order of the store's index.

    Arguments:
        store: Standardised frames of the layer that tokens are read off.
        centroids: Of that layer; at most 65,536 clusters.
    Returns: Flat tokens, and the index with the column ``squared_distance`` (summed over the utterance's frames).
    """
    tokens, distances = [], []
    for utterance in tqdm(store.index["utterance"], desc="tokens", mininterval=10):
        found = nearest_centred(store.vectors(utterance), centroids)
        tokens.append(found.tokens)
        distances.append(float(found.squared_distances.sum(dtype=torch.float64)))
    return Tokenised(torch.cat(tokens), store.index.assign(squared_distance=distances))


def save_tokens(path: Path, tokens: Int[Tensor, " frames"]) -> None:
    """Writes flat tokens as uint16, beside their place first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        np.save(file, tokens.numpy().astype(np.uint16), allow_pickle=False)
    os.replace(partial, path)


def tokens_file(kmeans: Path, part: str) -> Path:
    """Where the kmeans stage keeps the tokens of a part of the features stage."""
    return kmeans / ("tokens.npy" if part == "store" else f"{part}_tokens.npy")


class TokenTable:
    """Reads the tokens of a store's utterances, by memory map.

    Arguments:
        store: The store that was tokenised.
        path: ``tokens.npy`` of the kmeans stage, in the order of the store's index.
    Raises:
        ValueError: The file is missing, or its length is not the store's number of frames.
    """

    def __init__(self, store: FeatureStore, path: Path) -> None:
        if not path.exists():
            raise ValueError(f"no tokens at {path}: run the kmeans stage (make repro)")
        self._flat = np.load(path, mmap_mode="r", allow_pickle=False)
        ends = np.cumsum(store.index["n_frames"].to_numpy())
        if len(self._flat) != (n_frames := int(ends[-1])):
            raise ValueError(
                f"{path}: expected {n_frames} tokens, one for each frame of {store.folder}, got {len(self._flat)}: "
                "run the kmeans stage again"
            )
        starts = ends - store.index["n_frames"].to_numpy()
        self._spans = dict(zip(store.index["utterance"], zip(starts.tolist(), ends.tolist(), strict=True), strict=True))

    def tokens(self, utterance: str, start: int = 0, n_frames: int | None = None) -> Int[Tensor, " frames"]:
        """Tokens of one utterance, or of a stretch of it.

        Raises:
            ValueError: The store has no such utterance.
        """
        if utterance not in self._spans:
            raise ValueError(f"no utterance {utterance!r} among the tokens: take one of the store's index")
        first, end = self._spans[utterance]
        stop = end if n_frames is None else min(end, first + start + n_frames)
        return torch.from_numpy(self._flat[first + start : stop].astype(np.int64))
