"""Tokens made otherwise than the pipeline's: of a later layer, without mean normalisation, of another codebook size.

The vectors stay what they are; only what the tokens are read off changes. Made once for each kind and kept in the
profile's state folder, since several ablations take the same ones.
"""

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from vectok.ablations.settings import build
from vectok.codebook import load_codebook, mean_vectors
from vectok.codec_data import TokenisedStore
from vectok.kmeans import KMeansConfig, centre, fit_in_memory, nearest
from vectok.store import FeatureStore, open_parts
from vectok.tokens import TokenTable, save_tokens, tokens_file

HELD = ("train", "dev")  # splits of the recordings that ablations read


class Tokenised(NamedTuple):
    """Every part of the features (recordings of train and dev alone) with its tokens, and each token's mean vector."""

    sources: dict[str, TokenisedStore]
    centroids: Float[Tensor, "clusters dim"]


def only(store: FeatureStore, rows: Bool[ndarray, " utterances"]) -> FeatureStore:
    """The same store, seen through some rows of its index."""
    view = copy.copy(store)
    view.index = store.index[rows].reset_index(drop=True)
    return view


def fit_codebook(view: FeatureStore, centred: bool, config: KMeansConfig) -> Float[Tensor, "clusters dim"]:
    """K-means on every second frame of training utterances drawn at random, ``n_fit_frames`` in all at most.

    Arguments:
        view: Recordings, at the layer that tokens are read off.
        centred: Whether the utterance's mean is taken away.
        config: Sizes and seed.
    """
    train = view.index[view.index["split"] == "train"].sample(frac=1, random_state=config.seed)
    names = train.loc[train["n_frames"].cumsum() <= 2 * config.n_fit_frames, "utterance"].tolist()
    frames = [(centre(vectors) if centred else vectors)[::2] for vectors in map(view.vectors, names)]
    return fit_in_memory(torch.cat(frames), config).centroids


def tokenise(view: FeatureStore, centroids: Float[Tensor, "clusters dim"], centred: bool, path: Path) -> None:
    """Tokens of a whole store, written to ``path``."""
    frames = map(view.vectors, view.index["utterance"])
    save_tokens(path, torch.cat([nearest(centre(each) if centred else each, centroids).tokens for each in frames]))


def means_by_token(source: TokenisedStore, n_clusters: int) -> Float[Tensor, "clusters dim"]:
    """What stands for a centroid where the tokens were not clustered in the space of the vectors."""
    store, table = source
    train = store.index.loc[store.index["split"] == "train", "utterance"].tolist()
    return mean_vectors(store, train, list(map(table.tokens, train)), n_clusters)


def is_usual(data: Path, parameters: Mapping[str, Any]) -> bool:
    """Whether a variant's tokens are the pipeline's own."""
    usual = json.loads((data / "kmeans" / "config.json").read_text(encoding="utf-8"))
    own = parameters["token_layer"] == usual["layer"] and parameters["centred"]
    return own and parameters["n_clusters"] == usual["n_clusters"]


def make(data: Path, state: Path, parameters: Mapping[str, Any]) -> Tokenised:
    """The pipeline's tokens, or those of a variant, made now or found in the state folder.

    Arguments:
        data: The profile's data folder, with ``features`` and ``kmeans`` in it.
        state: Where other tokens are kept.
        parameters: Of the variant: ``token_layer``, ``centred``, ``n_clusters``, and the other keys of K-means.
    """
    whole = open_parts(data / "features")
    parts = {**whole, "store": only(whole["store"], whole["store"].index["split"].isin(HELD).to_numpy())}
    if is_usual(data, parameters):
        tables = {part: TokenTable(store, tokens_file(data / "kmeans", part)) for part, store in whole.items()}
        sources = {part: TokenisedStore(store, tables[part]) for part, store in parts.items()}
        return Tokenised(sources, load_codebook(data / "kmeans").vectors)
    kind = (parameters["token_layer"], parameters["centred"], repr(build(KMeansConfig, parameters)))
    folder = state / _plan(data, parts, kind)
    if not (folder / "whole").exists():
        _make_all(folder, parts, parameters)
    tables = {part: TokenTable(store, tokens_file(folder, part)) for part, store in parts.items()}
    sources = {part: TokenisedStore(store, tables[part]) for part, store in parts.items()}
    return Tokenised(sources, means_by_token(sources["store"], parameters["n_clusters"]))


def _plan(data: Path, parts: Mapping[str, FeatureStore], kind: Sequence[Any]) -> str:
    """Hash of the recordings, their codebook and the parameters that decide what is made of them."""
    usual = json.loads((data / "kmeans" / "config.json").read_text(encoding="utf-8"))
    frames = {part: int(store.index["n_frames"].sum()) for part, store in parts.items()}
    return hashlib.sha256(json.dumps([usual["sha256"], *kind, frames]).encode()).hexdigest()[:16]


def _make_all(folder: Path, parts: Mapping[str, FeatureStore], parameters: Mapping[str, Any]) -> None:
    """Codebook and tokens of every part; the file ``whole`` comes last."""
    centred = parameters["centred"]
    views = {part: store.at_layer(parameters["token_layer"]) for part, store in parts.items()}
    centroids = fit_codebook(views["store"], centred, build(KMeansConfig, parameters))
    for part, view in views.items():
        tokenise(view, centroids, centred, tokens_file(folder, part))
    (folder / "whole").touch()
