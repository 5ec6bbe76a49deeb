"""Small random speech encoders on disk, and a stub that needs no weights."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import (
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperModel,
)

from vectok.encoders.base import SpeechEncoder
from vectok.frames import SAMPLES_PER_FRAME

SELF_SUPERVISED = {"wavlm": (WavLMConfig, WavLMModel), "hubert": (HubertConfig, HubertModel)}
SELF_SUPERVISED["wav2vec2"] = (Wav2Vec2Config, Wav2Vec2Model)


def save_whisper(folder: Path) -> Path:
    """A Whisper of two blocks and 16 channels, with all 1,500 positions."""
    torch.manual_seed(1)
    config = WhisperConfig(
        d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32,
        decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=32, vocab_size=64,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    WhisperModel(config).save_pretrained(folder)
    return folder


def save_self_supervised(folder: Path, kind: str, large: bool) -> Path:
    """A WavLM, HuBERT or wav2vec 2.0 of three blocks; the large kind normalises differently, inside and before."""
    torch.manual_seed(2)
    config_class, model_class = SELF_SUPERVISED[kind]
    config = config_class(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, conv_dim=(8,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
        do_stable_layer_norm=large, feat_extract_norm="layer" if large else "group",
    )  # fmt: skip
    model_class(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=large).save_pretrained(folder)
    return folder


class StubEncoder(SpeechEncoder):
    """Layer k of a frame is (k + 1) times its first samples: nothing to load, and known in advance."""

    def __init__(self, dim: int = 4) -> None:
        super().__init__("stub", dim, 2, "0" * 64, torch.device("cpu"))

    def _encode_windows(
        self, windows: list[Float[Tensor, " _samples"]], layers: Sequence[int]
    ) -> list[Float[Tensor, "layers _frames dim"]]:
        frames = [window.reshape(-1, SAMPLES_PER_FRAME)[:, : self.dim] for window in windows]
        return [torch.stack([(layer + 1) * matrix for layer in layers]) for matrix in frames]
