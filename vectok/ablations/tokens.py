"""Tokens made otherwise than the pipeline's: of a later layer, without mean normalisation, of another codebook size.

The vectors stay what they are; only what the tokens are read off changes. Made once for each kind and kept in the
profile's state folder, since several ablations take the same ones.
"""

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor
from tqdm import tqdm

from vectok.ablations.settings import build
from vectok.codec_data import TokenisedStore
from vectok.features import Vectoriser, fit_statistics
from vectok.kmeans import KMeansConfig, centre, fit_in_memory, load_codebook, nearest
from vectok.store import FeatureStore, open_parts
from vectok.tokens import TokenTable, save_tokens, tokens_file

USUAL_LAYER = -1
BATCH_SECONDS = 60.0  # of audio that is encoded at once
HELD = ("train", "dev")  # splits of the recordings that ablations read

Read = Callable[[FeatureStore, Sequence[str]], Iterator[Float[Tensor, "_frames dim"]]]


class Tokenised(NamedTuple):
    """Every part of the features (recordings of train and dev alone) with its tokens, and each token's mean vector."""

    sources: dict[str, TokenisedStore]
    centroids: Float[Tensor, "clusters dim"]


def only(store: FeatureStore, rows: Bool[ndarray, " utterances"]) -> FeatureStore:
    """The same store, seen through some rows of its index."""
    view = copy.copy(store)
    view.index = store.index[rows].reset_index(drop=True)
    return view


def stored(store: FeatureStore, utterances: Sequence[str]) -> Iterator[Float[Tensor, "_frames dim"]]:
    """The store's own vectors, utterance by utterance."""
    yield from map(store.vectors, utterances)


def encoded(vectoriser: Vectoriser) -> Read:
    """Reads vectors of another layer, from the store's audio, a minute at a time."""

    def read(store: FeatureStore, utterances: Sequence[str]) -> Iterator[Float[Tensor, "_frames dim"]]:
        waiting: list[Tensor] = []
        for place, utterance in enumerate(utterances):
            waiting.append(store.audio(utterance))
            if sum(map(len, waiting)) > BATCH_SECONDS * 16_000 or place == len(utterances) - 1:
                yield from vectoriser.vectorise_batch(waiting)
                waiting = []

    return read


def later_layer(store: FeatureStore, parameters: Mapping[str, Any], vectoriser: Vectoriser) -> Vectoriser:
    """The pipeline's encoder at the layer ``token_layer``, with statistics of its own."""
    train = store.index[store.index["split"] == "train"].sample(frac=1, random_state=parameters["seed"])
    some = train[train["seconds"].cumsum() <= max(60 * parameters["statistics_minutes"], train["seconds"].iloc[0])]
    layer, encoder = parameters["token_layer"], vectoriser.encoder
    return Vectoriser(encoder, layer, fit_statistics(encoder, layer, map(store.audio, some["utterance"])))


def fit_codebook(store: FeatureStore, read: Read, centred: bool, config: KMeansConfig) -> Float[Tensor, "clusters dim"]:
    """K-means on every second frame of training utterances drawn at random, ``n_fit_frames`` in all at most.

    Arguments:
        store: Recordings.
        read: Gives the vectors of utterances.
        centred: Whether the utterance's mean is taken away.
        config: Sizes and seed.
    """
    train = store.index[store.index["split"] == "train"].sample(frac=1, random_state=config.seed)
    names = train.loc[train["n_frames"].cumsum() <= 2 * config.n_fit_frames, "utterance"].tolist()
    frames = []
    for vectors in tqdm(read(store, names), "codebook", total=len(names), mininterval=10):
        frames.append((centre(vectors) if centred else vectors)[::2])
    return fit_in_memory(torch.cat(frames), config).centroids


def tokenise(
    store: FeatureStore, read: Read, centroids: Float[Tensor, "clusters dim"], centred: bool, path: Path
) -> TokenTable:
    """Tokens of a whole store, written to ``path``."""
    names, tokens = store.index["utterance"].tolist(), []
    for vectors in tqdm(read(store, names), "tokens", total=len(names), mininterval=10):
        tokens.append(nearest(centre(vectors) if centred else vectors, centroids).tokens)
    save_tokens(path, torch.cat(tokens))
    return TokenTable(store, path)


def means_by_token(source: TokenisedStore, n_clusters: int) -> Float[Tensor, "clusters dim"]:
    r"""Mean of the vectors under each token: :math:`c_k = \frac{1}{n_k} \sum_{s_t = k} (x_t - \bar x)`.

    What stands for a centroid where the tokens were not clustered in the space of the vectors.
    """
    store, table = source
    sums, counts = torch.zeros(n_clusters, store.dim), torch.zeros(n_clusters)
    for utterance in store.index.loc[store.index["split"] == "train", "utterance"]:
        tokens = table.tokens(utterance)
        sums.index_add_(0, tokens, centre(store.vectors(utterance)))
        counts += torch.bincount(tokens, minlength=n_clusters)
    return sums / counts.clamp(min=1)[:, None]


def is_usual(data: Path, parameters: Mapping[str, Any]) -> bool:
    """Whether a variant's tokens are the pipeline's own."""
    usual = json.loads((data / "kmeans" / "config.json").read_text(encoding="utf-8"))
    own = parameters["token_layer"] == USUAL_LAYER and parameters["centred"]
    return own and parameters["n_clusters"] == usual["n_clusters"]


def make(data: Path, state: Path, parameters: Mapping[str, Any]) -> Tokenised:
    """The pipeline's tokens, or those of a variant, made now or found in the state folder.

    Arguments:
        data: The profile's data folder, with ``features`` and ``kmeans`` in it.
        state: Where other tokens are kept.
        parameters: Of the variant: ``token_layer`` (-1 for the vectors' own), ``centred``, ``n_clusters``, and the
            keys of K-means.
    """
    whole = open_parts(data / "features")
    parts = {**whole, "store": only(whole["store"], whole["store"].index["split"].isin(HELD).to_numpy())}
    if is_usual(data, parameters):
        tables = {part: TokenTable(store, tokens_file(data / "kmeans", part)) for part, store in whole.items()}
        sources = {part: TokenisedStore(store, tables[part]) for part, store in parts.items()}
        return Tokenised(sources, load_codebook(data / "kmeans"))
    folder = state / _plan(data, parts, parameters)
    if not (folder / "whole").exists():
        _make_all(data, folder, parts, parameters)
    tables = {part: TokenTable(store, tokens_file(folder, part)) for part, store in parts.items()}
    sources = {part: TokenisedStore(store, tables[part]) for part, store in parts.items()}
    return Tokenised(sources, means_by_token(sources["store"], parameters["n_clusters"]))


def _plan(data: Path, parts: Mapping[str, FeatureStore], parameters: Mapping[str, Any]) -> str:
    """Hash of all that decides a variant's tokens."""
    usual = json.loads((data / "kmeans" / "config.json").read_text(encoding="utf-8"))
    kind = [usual["sha256"], parameters["token_layer"], parameters["centred"], repr(build(KMeansConfig, parameters))]
    frames = {part: int(store.index["n_frames"].sum()) for part, store in parts.items()}
    return hashlib.sha256(json.dumps([kind, frames]).encode()).hexdigest()[:16]


def _make_all(data: Path, folder: Path, parts: Mapping[str, FeatureStore], parameters: Mapping[str, Any]) -> None:
    """Codebook and tokens of every part; the file ``whole`` comes last."""
    read, centred, recordings = stored, parameters["centred"], parts["store"]
    if parameters["token_layer"] != USUAL_LAYER:
        read = encoded(later_layer(recordings, parameters, Vectoriser.load(data / "features" / "encoder")))
    centroids = fit_codebook(recordings, read, centred, build(KMeansConfig, parameters))
    for part, store in parts.items():
        tokenise(store, read, centroids, centred, tokens_file(folder, part))
    (folder / "whole").touch()
