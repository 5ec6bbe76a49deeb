"""The codebook: which layer tokens are read off, and what stands for them in the space of the vectors.

Source: Vec-Tok Speech, the codec encoder, which reads vectors and tokens off one layer. *Deviation* (``layer``): tokens
may be read off another one; a later layer tells less of the speaker and more of the content.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor

from vectok.encoders import SpeechEncoder
from vectok.features import ChannelStatistics, Vectoriser, read_layers
from vectok.kmeans import KMeansConfig, centre
from vectok.store import FeatureStore


class Codebook(NamedTuple):
    """A K-means codebook.

    Arguments:
        layer: Of the encoder; tokens are read off it.
        statistics: Mean and deviation of its channels, which standardise it.
        centroids: Of that layer's mean-removed, standardised frames: a frame's token is the nearest one.
        vectors: What the inverse K-means model looks up: the mean of the mean-removed speech vectors under each token.
            Where tokens and vectors are of one layer, the centroids themselves.
    """

    layer: int
    statistics: ChannelStatistics
    centroids: Float[Tensor, "clusters dim"]
    vectors: Float[Tensor, "clusters dim"]

    def reader(self, encoder: SpeechEncoder) -> Vectoriser:
        """What gives the standardised frames that tokens are read off.

        Raises:
            ValueError: An encoder without that layer, or of another dimension.
        """
        return Vectoriser(encoder, self.layer, self.statistics)


def read_both(
    vectoriser: Vectoriser, reader: Vectoriser, audio: Float[Tensor, " samples"]
) -> tuple[Float[Tensor, "frames dim"], Float[Tensor, "frames dim"]]:
    """Vectors of one utterance, and the frames that its tokens are read off, from one run of the encoder.

    Arguments:
        vectoriser: Of the vectors.
        reader: Of the tokens (:meth:`Codebook.reader`): another layer of the same encoder, or the same.
        audio: 16 kHz; ceil(samples / 320) rows come back, twice.
    Raises:
        ValueError: Empty audio, NaN, or not one row of samples.
    """
    vectors, frames = read_layers([vectoriser, reader], [audio])[0]
    return vectors, frames


def mean_vectors(
    store: FeatureStore, utterances: Sequence[str], tokens: Sequence[Int[Tensor, " _frames"]], n_clusters: int
) -> Float[Tensor, "clusters dim"]:
    r"""Mean of the vectors under each token: :math:`v_k = \frac{1}{n_k} \sum_{s_t = k} (x_t - \bar x)`.

    Arguments:
        store: Speech vectors.
        utterances: Of train.
        tokens: Of each of them.
        n_clusters: Size of the codebook; a token that never occurs gets zeros, the vectors' own centre.
    """
    sums, counts = torch.zeros(n_clusters, store.dim, dtype=torch.float64), torch.zeros(n_clusters)
    for utterance, said in zip(utterances, tokens, strict=True):
        sums.index_add_(0, said, centre(store.vectors(utterance)).double())
        counts += torch.bincount(said, minlength=n_clusters)
    return (sums / counts.clamp(min=1)[:, None]).float()


def content_hash(codebook: Codebook) -> str:
    """SHA-256 over the layer and the float32 bytes of all matrices: names the codebook that tokens belong to."""
    digest = hashlib.sha256(codebook.layer.to_bytes(4, "little"))
    for matrix in (*codebook.statistics, codebook.centroids, codebook.vectors):
        digest.update(matrix.float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_codebook(folder: Path, codebook: Codebook, config: KMeansConfig) -> None:
    """Writes ``codebook.safetensors`` and ``config.json`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    matrices = {**codebook.statistics._asdict(), "centroids": codebook.centroids, "vectors": codebook.vectors}
    save_file({name: each.float().contiguous().clone() for name, each in matrices.items()},
              folder / "codebook.safetensors")  # fmt: skip
    sizes = {"layer": codebook.layer, "dim": codebook.vectors.shape[1]}
    described = {**asdict(config), **sizes, "sha256": content_hash(codebook)}
    (folder / "config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


def load_codebook(folder: Path) -> Codebook:
    """Reads the codebook back and checks its hash.

    Raises:
        ValueError: The folder holds no codebook, or one whose content is not what ``config.json`` says.
    """
    if not (folder / "codebook.safetensors").exists():
        raise ValueError(f"no codebook in {folder}: run the kmeans stage (make repro)")
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    found = load_file(folder / "codebook.safetensors")
    statistics = ChannelStatistics(found["mean"], found["std"])
    codebook = Codebook(config["layer"], statistics, found["centroids"], found["vectors"])
    if (sha256 := content_hash(codebook)) != config["sha256"]:
        raise ValueError(f"{folder}: expected a codebook of hash {config['sha256']}, got {sha256}: run kmeans again")
    return codebook
