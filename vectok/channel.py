r"""The channel between a mouth and a file: colour of microphone and room, background noise, level.

Few speakers are few channels, too. Recordings from one studio share their spectral balance, their silence and their
level, and a model that has only heard such ones hears a new voice's channel as something else.

*Deviation*: the paper learns from many thousand channels and does not augment.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vectok.frames import SAMPLE_RATE_HZ

_N_COSINES = 5
_STEEPEST_NOISE = 1.0  # of the magnitude over frequency: from white (0) to brown (1)
_LOUDEST_PEAK = 0.98


@dataclass(frozen=True, kw_only=True)
class ChannelRange:
    """What channels are drawn from.

    Arguments:
        colour_db: Standard deviation over the mel axis of the frequency response.
        gain_db: Least and greatest level against the recording's own.
        snr_db: Least and greatest signal-to-noise ratio.
    """

    colour_db: float
    gain_db: tuple[float, float]
    snr_db: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One channel.

    Arguments:
        cosines_db: Amplitudes of the cosines over the mel axis that make up the frequency response.
        gain_db: Level against the recording's own.
        snr_db: Signal-to-noise ratio.
        noise_slope: The noise's magnitude falls with frequency to this power.
    """

    cosines_db: tuple[float, ...]
    gain_db: float
    snr_db: float
    noise_slope: float

    @property
    def suffix(self) -> str:
        """What the name of a voice gains by it.

        Example:
            >>> Channel(cosines_db=(3.0, -1.5), gain_db=-6.0, snr_db=30.0, noise_slope=0.5).suffix
            '~gain-6.0~snr30.0~slope0.50~colour+3.0-1.5'
        """
        colour = "".join(f"{amplitude:+.1f}" for amplitude in self.cosines_db)
        return f"~gain{self.gain_db:.1f}~snr{self.snr_db:.1f}~slope{self.noise_slope:.2f}~colour{colour}"

    def apply(self, audio: Float[Tensor, " samples"], seed: int) -> Float[Tensor, " samples"]:
        r"""Audio as it arrives: :math:`10^{g/20} (h * x + n)`, as long as before, peaks below full scale.

        The response h has no phase and leaves the power as it was.

        Arguments:
            audio: One utterance.
            seed: Of the noise.
        """
        power = audio.square().mean()
        coloured = _filter(audio, self._response_db)
        coloured = coloured * (power / coloured.square().mean().clamp(min=1e-12)).sqrt()
        noise = self._noise(len(audio), seed) * (power * 10 ** (-self.snr_db / 10)).sqrt()
        arrived = (coloured + noise) * 10 ** (self.gain_db / 20)
        return arrived * (_LOUDEST_PEAK / arrived.abs().max().clamp(min=_LOUDEST_PEAK))

    def _response_db(self, frequency_hz: Float[Tensor, " bins"]) -> Float[Tensor, " bins"]:
        """Smooth over the mel axis: the first cosine is a tilt, the next ones are broad hills."""
        place = torch.log1p(frequency_hz / 700) / np.log1p(SAMPLE_RATE_HZ / 2 / 700)
        hills = [a * torch.cos(np.pi * (n + 1) * place) for n, a in enumerate(self.cosines_db)]
        return torch.stack(hills).sum(0)

    def _noise(self, n_samples: int, seed: int) -> Float[Tensor, " samples"]:
        """Stationary noise of power one."""
        white = torch.from_numpy(np.random.default_rng(seed).standard_normal(n_samples)).float()
        noise = _filter(white, lambda frequency_hz: -20 * self.noise_slope * (frequency_hz + 50).log10())
        return noise / noise.square().mean().sqrt().clamp(min=1e-12)


def _filter(audio: Tensor, response_db: Callable[[Tensor], Tensor]) -> Tensor:
    """Multiplies the spectrum by a real response; zeros behind the audio keep its end from coming round."""
    size = 1 << (len(audio) + SAMPLE_RATE_HZ // 10).bit_length()
    spectrum = torch.fft.rfft(audio, size)
    frequency_hz = torch.linspace(0, SAMPLE_RATE_HZ / 2, len(spectrum))
    return torch.fft.irfft(spectrum * 10 ** (response_db(frequency_hz) / 20), size)[: len(audio)]


def draw_channel(limits: ChannelRange, random: np.random.Generator) -> Channel:
    r"""A channel: cosines of normal amplitudes that fall as :math:`1 / \sqrt n`; level and noise from their ranges.

    Arguments:
        limits: What is drawn from.
        random: Source of the draws.
    """
    falling = 1 / np.sqrt(np.arange(1, _N_COSINES + 1))
    cosines = random.standard_normal(_N_COSINES) * falling * limits.colour_db / np.sqrt((falling**2).sum() / 2)
    return Channel(
        cosines_db=tuple(round(float(amplitude), 1) for amplitude in cosines),
        gain_db=round(float(random.uniform(*limits.gain_db)), 1),
        snr_db=round(float(random.uniform(*limits.snr_db)), 1),
        noise_slope=round(float(random.uniform(0, _STEEPEST_NOISE)), 2),
    )
