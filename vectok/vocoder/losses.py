"""Losses of vocoders, one formula each."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from vectok.frames import SAMPLE_RATE_HZ

POWER_FLOOR = 1e-6  # inside every square root: at zero its gradient is infinite, and one silent frame is enough for NaN


@dataclass(frozen=True, kw_only=True)
class SpectralConfig:
    """Resolutions at which spectra are compared.

    Arguments:
        n_ffts: Windows of the linear spectra in samples; hops are a quarter.
        mel_n_ffts: Windows of the mel spectra in samples; hops are a quarter.
        n_mels: Bands of each mel spectrum, in the order of ``mel_n_ffts``.
    """

    n_ffts: tuple[int, ...] = (256, 512, 1024)
    mel_n_ffts: tuple[int, ...] = (1024,)
    n_mels: tuple[int, ...] = (80,)


def magnitude(audio: Float[Tensor, "batch samples"], n_fft: int, window: Tensor) -> Float[Tensor, "batch frames bins"]:
    r"""Magnitude with a floor inside the root: :math:`\sqrt{|X|^2 + \epsilon}`, smooth at silence."""
    spectrum = torch.stft(audio, n_fft, n_fft // 4, window=window, center=False, return_complex=True).mT
    return (spectrum.real.square() + spectrum.imag.square() + POWER_FLOOR).sqrt()


class Spectra(nn.Module):
    """Log-magnitudes of a signal at several resolutions, linear and mel."""

    def __init__(self, config: SpectralConfig) -> None:
        super().__init__()
        if len(config.mel_n_ffts) != len(config.n_mels):
            raise ValueError(f"mel_n_ffts and n_mels differ in length: {config.mel_n_ffts}, {config.n_mels}")
        self.config = config
        for n_fft in {*config.n_ffts, *config.mel_n_ffts}:
            self.register_buffer(f"window_{n_fft}", torch.hann_window(n_fft), persistent=False)
        for n_fft, n_mels in zip(config.mel_n_ffts, config.n_mels, strict=True):
            bank = melscale_fbanks(n_fft // 2 + 1, 0.0, SAMPLE_RATE_HZ / 2, n_mels, SAMPLE_RATE_HZ, "slaney", "slaney")
            self.register_buffer(f"bank_{n_fft}", bank, persistent=False)

    def forward(self, audio: Float[Tensor, "batch samples"]) -> dict[str, Float[Tensor, "batch frames bins"]]:
        """Log-magnitudes by name: ``linear_<n_fft>`` and ``mel_<n_fft>``."""
        config, found, magnitudes = self.config, {}, {}
        for n_fft in sorted({*config.n_ffts, *config.mel_n_ffts}):
            magnitudes[n_fft] = magnitude(audio, n_fft, getattr(self, f"window_{n_fft}"))
        for n_fft in config.n_ffts:
            found[f"linear_{n_fft}"] = magnitudes[n_fft].log()
        for n_fft in config.mel_n_ffts:
            found[f"mel_{n_fft}"] = (magnitudes[n_fft] @ getattr(self, f"bank_{n_fft}")).clamp_min(1e-5).log()
        return found


def spectral_distance(first: dict[str, Tensor], second: dict[str, Tensor]) -> dict[str, Tensor]:
    r"""Mean absolute difference of log-magnitudes: :math:`\mathrm{mean} |\log |X| - \log |Y||`, summed over
    resolutions, apart for ``mel`` and ``linear``.

    Source: Yamamoto et al., "Parallel WaveGAN", 2020 (multi-resolution STFT loss), and HiFi-GAN's mel loss.
    """
    sums: dict[str, Tensor] = {}
    for name, spectrum in first.items():
        kind = name.split("_")[0]
        sums[kind] = sums.get(kind, 0) + (spectrum - second[name]).abs().mean()
    return sums


def spectral_energy_distance(
    target: dict[str, Tensor], first: dict[str, Tensor], second: dict[str, Tensor], repulsion: float = 1.0
) -> dict[str, Tensor]:
    r"""Generalised energy distance between the recording x and two draws y, y' of the same audio.

    .. math:: \tfrac12 \left( d(x, y) + d(x, y') - r\, d(y, y') \right)

    At repulsion r = 1 it is a proper score; at r = 0 the best answer to a noisy spectrum is one without noise, which
    buzzes. Below 1 voices keep clearer harmonics.
    Source: Gritsenko et al., "A spectral energy distance for parallel speech synthesis", 2020.
    """
    near, far, apart = (spectral_distance(*pair) for pair in ((target, first), (target, second), (first, second)))
    return {kind: 0.5 * (near[kind] + far[kind] - repulsion * apart[kind]) for kind in near}


def discriminator_loss(real: list[Tensor], generated: list[Tensor]) -> Tensor:
    r"""Least squares: :math:`\sum_k E[(D_k(x) - 1)^2] + E[D_k(y)^2]` over all judges k. Source: LSGAN; HiFi-GAN."""
    return sum(
        (r.float() - 1).square().mean() + g.float().square().mean() for r, g in zip(real, generated, strict=True)
    )


def deception_loss(generated: list[Tensor]) -> Tensor:
    r"""Least squares: :math:`\sum_k E[(D_k(y) - 1)^2]`. Source: LSGAN; HiFi-GAN, equation 4."""
    return sum((g.float() - 1).square().mean() for g in generated)


def feature_matching(real: list[list[Tensor]], generated: list[list[Tensor]]) -> Tensor:
    r"""Mean absolute difference of the judges' activations: :math:`\sum_k \sum_l E|D_k^l(x) - D_k^l(y)|`.

    Source: HiFi-GAN, equation 6. The recording's side carries no gradient.
    """
    pairs = [pair for a, b in zip(real, generated, strict=True) for pair in zip(a, b, strict=True)]
    return sum((a.detach().float() - b.float()).abs().mean() for a, b in pairs)
