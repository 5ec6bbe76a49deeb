"""Judges of audio: by period, by scale and by spectrogram, each with its widths as parameters.

The full multi-period and multi-scale discriminators are HiFi-GAN's (Kong et al., "HiFi-GAN", 2020). The light ones of
the embedded profile are narrow multi-period judges and judges of spectrograms at several resolutions (*Deviation*: the
full ones take seconds a step on a CPU).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, leaky_relu, pad
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from vectok.vocoder.losses import magnitude

SLOPE = 0.1


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """Which judges there are, and how wide. Defaults: HiFi-GAN's.

    Arguments:
        periods: Of the multi-period judges, in samples.
        period_channels: Channels of their layers; all but the last have stride 3.
        n_scales: Number of multi-scale judges, each on audio at half the rate of the one before; 0 for none.
        n_ffts: Windows of the spectrogram judges in samples; hops are a quarter; empty for none.
        spectrogram_channels: Channels of their layers.
    """

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    period_channels: tuple[int, ...] = (32, 128, 512, 1024, 1024)
    n_scales: int = 3
    n_ffts: tuple[int, ...] = ()
    spectrogram_channels: tuple[int, ...] = (32, 32, 32)


class Judgement(NamedTuple):
    """One judge's scores, and the activations of its layers for feature matching."""

    score: Tensor
    features: list[Tensor]


def _through(layers: nn.ModuleList, last: nn.Module, hidden: Tensor) -> Judgement:
    """Runs the layers with leaky rectifiers and keeps what each gives."""
    features = []
    for layer in layers:
        hidden = leaky_relu(layer(hidden), SLOPE)
        features.append(hidden)
    return Judgement(last(hidden), features)


class PeriodJudge(nn.Module):
    """Sees every ``period``-th sample side by side. Source: HiFi-GAN, section 2.3 (multi-period discriminator)."""

    def __init__(self, period: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.period, widths = period, (1, *channels)
        last = len(channels) - 1
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(widths[i], widths[i + 1], (5, 1), (3 if i < last else 1, 1), padding=(2, 0)))
            for i in range(len(channels))
        )
        self.last = weight_norm(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, audio: Float[Tensor, "batch samples"]) -> Judgement:
        missing = -audio.shape[1] % self.period
        folded = pad(audio[:, None], (0, missing), mode="reflect").unflatten(-1, (-1, self.period))
        return _through(self.layers, self.last, folded)


class ScaleJudge(nn.Module):
    """Sees the waveform at one rate. Source: HiFi-GAN, section 2.3 (multi-scale discriminator, after MelGAN)."""

    # channels out, kernel, stride, groups of each layer
    LAYERS = (
        (128, 15, 1, 1),
        (128, 41, 2, 4),
        (256, 41, 2, 16),
        (512, 41, 4, 16),
        (1024, 41, 4, 16),
        (1024, 41, 1, 16),
        (1024, 5, 1, 1),
    )

    def __init__(self, n_halvings: int) -> None:
        super().__init__()
        self.n_halvings = n_halvings
        # HiFi-GAN normalises the judge of the full rate by its spectral norm, the others by weight.
        norm, width, layers = (weight_norm if n_halvings else spectral_norm), 1, []
        for channels, kernel, stride, groups in self.LAYERS:
            layers.append(norm(nn.Conv1d(width, channels, kernel, stride, kernel // 2, groups=groups)))
            width = channels
        self.layers, self.last = nn.ModuleList(layers), norm(nn.Conv1d(width, 1, 3, padding=1))

    def forward(self, audio: Float[Tensor, "batch samples"]) -> Judgement:
        slower = audio[:, None]
        for _ in range(self.n_halvings):
            slower = avg_pool1d(slower, 4, 2, padding=2)
        return _through(self.layers, self.last, slower)


class SpectrogramJudge(nn.Module):
    """Sees a log-magnitude spectrogram as an image, strided in frequency.

    Source: multi-resolution discriminators of spectrograms, Jang et al., "UnivNet", 2021; widths are ours.
    """

    def __init__(self, n_fft: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.n_fft, widths = n_fft, (1, *channels)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.layers = nn.ModuleList(
            weight_norm(
                nn.Conv2d(widths[i], widths[i + 1], (3, 7 if i == 0 else 5), (1, 2), padding=(1, 3 if i == 0 else 2))
            )
            for i in range(len(channels))
        )
        self.last = weight_norm(nn.Conv2d(channels[-1], 1, (3, 3), padding=1))

    def forward(self, audio: Float[Tensor, "batch samples"]) -> Judgement:
        with torch.autocast(audio.device.type, enabled=False):
            image = magnitude(audio.float(), self.n_fft, self.window).log()[:, None]
        return _through(self.layers, self.last, image)


class Discriminators(nn.Module):
    """All judges of a configuration."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.judges = nn.ModuleList(
            [PeriodJudge(period, config.period_channels) for period in config.periods]
            + [ScaleJudge(n_halvings) for n_halvings in range(config.n_scales)]
            + [SpectrogramJudge(n_fft, config.spectrogram_channels) for n_fft in config.n_ffts]
        )

    def extra_repr(self) -> str:
        return f"n_judges={len(self.judges)}, n_parameters={sum(p.numel() for p in self.parameters())}"

    def forward(self, audio: Float[Tensor, "batch samples"]) -> list[Judgement]:
        return [judge(audio) for judge in self.judges]


def load_discriminators(folder: Path) -> Discriminators:
    """Opens the discriminators that a vocoder was saved with.

    Raises:
        ValueError: The folder holds none.
    """
    if not (folder / "discriminators.safetensors").exists():
        raise ValueError(f"no discriminators in {folder}: run the vocoder stage first")
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))["discriminators"]
    config = DiscriminatorConfig(**{name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()})
    discriminators = Discriminators(config)
    discriminators.load_state_dict(load_file(folder / "discriminators.safetensors"))
    return discriminators
