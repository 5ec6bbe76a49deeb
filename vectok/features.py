"""From audio to standardised speech vectors: one encoder, one layer, one mean and deviation a channel.

Everything downstream sees vectors only through a :class:`Vectoriser`, in training and in use, so that the layer, the
statistics and the cropping policy (whole utterances; crops are taken from their vectors) are decided once.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from vectok.encoders import SpeechEncoder, load_encoder
from vectok.folders import replacing

SMALLEST_STD = 1e-4


class ChannelStatistics(NamedTuple):
    """Per channel, over frames: mean and standard deviation."""

    mean: Float[Tensor, " dim"]
    std: Float[Tensor, " dim"]


def fit_statistics(
    encoder: SpeechEncoder, layers: Sequence[int], audios: Iterable[Float[Tensor, " _samples"]]
) -> list[ChannelStatistics]:
    r"""Mean and standard deviation of each channel of each layer over all frames, in one pass.

    .. math:: \mu = \frac1T \sum_t x_t, \quad \sigma = \sqrt{\tfrac1T \sum_t x_t^2 - \mu^2}

    *Deviation*: the paper does not standardise. A few channels of Whisper are a hundred times larger than the rest and
    would decide every distance alone.

    Arguments:
        encoder: Whose layers they are.
        layers: Which of them.
        audios: Utterances, read one at a time.
    Returns: One for each layer, in their order.
    Raises:
        ValueError: No audio.
    """
    count, total, squares = 0, *torch.zeros(2, len(layers), encoder.dim, dtype=torch.float64)
    for audio in audios:
        vectors = encoder.encode_layers(audio, layers).double()
        count, total, squares = count + vectors.shape[1], total + vectors.sum(1), squares + vectors.square().sum(1)
    if count == 0:
        raise ValueError("no audio to take channel statistics from: choose at least one train utterance")
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt().clamp(min=SMALLEST_STD)
    return [ChannelStatistics(*each) for each in zip(mean.float(), std.float(), strict=True)]


class Vectoriser:
    """An encoder, a layer of it and the statistics that standardise it.

    Arguments:
        encoder: Any :class:`SpeechEncoder`.
        layer: Which of its layers.
        statistics: From :func:`fit_statistics`.
    Raises:
        ValueError: Unknown layer, or statistics of another dimension.
    """

    def __init__(self, encoder: SpeechEncoder, layer: int, statistics: ChannelStatistics) -> None:
        encoder.check_layer(layer)
        if statistics.mean.shape != (encoder.dim,) or statistics.std.shape != (encoder.dim,):
            raise ValueError(f"expected statistics of {encoder.dim} channels, got {tuple(statistics.mean.shape)}")
        self.encoder, self.layer, self.statistics = encoder, layer, statistics

    @property
    def dim(self) -> int:
        """Channels of a vector."""
        return self.encoder.dim

    def vectorise(self, audio: Float[Tensor, " samples"]) -> Float[Tensor, "frames dim"]:
        r"""Standardised vectors of one utterance of any length: :math:`(x - \mu) / \sigma`.

        Arguments:
            audio: 16 kHz; ceil(samples / 320) vectors come back.
        Raises:
            ValueError: Empty audio, NaN, or not one row of samples.
        """
        return self.vectorise_batch([audio])[0]

    def vectorise_batch(self, audios: Sequence[Float[Tensor, " _samples"]]) -> list[Float[Tensor, "_frames dim"]]:
        """Standardised vectors of several utterances; each comes out as it would alone, up to rounding."""
        return [vectors for (vectors,) in read_layers([self], audios)]

    def save(self, folder: Path) -> None:
        """Writes config.json and statistics.safetensors; the folder appears whole or not at all."""
        config = {
            "encoder": self.encoder.name,
            "layer": self.layer,
            "dim": self.dim,
            "content_hash": self.encoder.content_hash,
        }
        with replacing(folder) as partial:
            (partial / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            save_file(self.statistics._asdict(), partial / "statistics.safetensors")

    @classmethod
    def load(cls, folder: Path, encoder: SpeechEncoder | None = None, device: str = "cpu") -> "Vectoriser":
        """Reads what :meth:`save` wrote and loads the encoder that it names.

        Arguments:
            folder: The ``encoder`` folder of the features stage.
            encoder: An encoder that is loaded already, to save its memory.
        Raises:
            ValueError: No such folder, or the encoder's weights are not those that the vectors were made with.
        """
        if not (folder / "config.json").exists():
            raise ValueError(f"no vectoriser in {folder}: run the features stage first")
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        encoder = load_encoder(config["encoder"], device) if encoder is None else encoder
        if encoder.content_hash != config["content_hash"]:
            raise ValueError(
                f"{folder}: made with {config['encoder']} of hash {config['content_hash']}, got "
                f"{encoder.content_hash}: use the same weights or run the features stage again"
            )
        return cls(encoder, config["layer"], ChannelStatistics(**load_file(folder / "statistics.safetensors")))


def read_layers(
    vectorisers: Sequence[Vectoriser], audios: Sequence[Float[Tensor, " _samples"]]
) -> list[list[Float[Tensor, "_frames dim"]]]:
    """Standardised vectors of several utterances at several layers, from one run of the encoder.

    Arguments:
        vectorisers: Of one encoder.
        audios: 16 kHz; ceil(samples / 320) rows come back for each and each vectoriser.
    Raises:
        ValueError: Empty audio, NaN, or not one row of samples.
    """
    encoded = vectorisers[0].encoder.encode_batch(audios, [each.layer for each in vectorisers])
    return [
        [(raw - each.statistics.mean) / each.statistics.std for raw, each in zip(layers, vectorisers, strict=True)]
        for layers in encoded
    ]
