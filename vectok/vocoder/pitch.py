"""Fundamental frequency and voicing at 100 Hz by YIN, batched.

Source: de Cheveigne and Kawahara, "YIN, a fundamental frequency estimator for speech and music", 2002: the difference
function, its cumulative mean normalisation, the absolute threshold, parabolic interpolation and the best local
estimate (steps 2 to 6). Frame k is centred at sample 160 k, so that a signal of n vectors has 2 n pitch frames.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from vectok.frames import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

PITCH_FRAMES_PER_FRAME = 2
SAMPLES_PER_PITCH_FRAME = SAMPLES_PER_FRAME // PITCH_FRAMES_PER_FRAME
UNKNOWN_HZ = 200.0  # stands where nothing is voiced: heard by nobody, it only keeps the excitation finite


@dataclass(frozen=True, kw_only=True)
class PitchConfig:
    """What YIN searches.

    Arguments:
        min_hz, max_hz: Range of the fundamental frequency.
        window_seconds: Length of the integration window.
        threshold: Aperiodicity under which the first dip is taken.
        max_aperiodicity: A frame is voiced when its aperiodicity is under it.
        silence_db: A frame is unvoiced when its level is under it, relative to full scale.
    """

    min_hz: float = 60.0
    max_hz: float = 500.0
    window_seconds: float = 0.032
    threshold: float = 0.15
    max_aperiodicity: float = 0.3
    silence_db: float = -55.0

    def __post_init__(self) -> None:
        if not 0 < self.min_hz < self.max_hz < SAMPLE_RATE_HZ / 4:
            raise ValueError(f"pitch range {self.min_hz} to {self.max_hz} Hz: expected 0 < min_hz < max_hz < 4000")

    @property
    def n_window(self) -> int:
        """Integration window in samples."""
        return round(self.window_seconds * SAMPLE_RATE_HZ)

    @property
    def lags(self) -> tuple[int, int]:
        """Shortest and longest lag in samples."""
        return int(SAMPLE_RATE_HZ / self.max_hz), int(SAMPLE_RATE_HZ / self.min_hz) + 1


class Pitch(NamedTuple):
    """Pitch track: ``f0_hz`` and ``voiced``, 100 frames per second, with the aperiodicity that decided."""

    f0_hz: Float[Tensor, "batch frames"]
    voiced: Bool[Tensor, "batch frames"]
    aperiodicity: Float[Tensor, "batch frames"]


def normalised_difference(windows: Float[Tensor, "frames samples"], n_window: int) -> Float[Tensor, "frames lags"]:
    r"""Cumulative mean normalised difference of each window, by FFT.

    .. math::
        d(\tau) = \sum_{j < W} (x_j - x_{j + \tau})^2, \qquad
        d'(\tau) = \tau\, d(\tau) / \sum_{1 \le s \le \tau} d(s), \qquad d'(0) = 1

    Source: YIN, equations 6 and 8. Where all differences vanish (digital silence) d' is 1: nothing is periodic.
    Arguments:
        windows: Signal under each frame, ``n_window`` plus the longest lag.
        n_window: Integration window W in samples.
    """
    n_samples = windows.shape[1]
    n_lags, n_fft = n_samples - n_window + 1, 2 ** (n_samples - 1).bit_length()
    head, whole = torch.fft.rfft(windows[:, :n_window], n_fft), torch.fft.rfft(windows, n_fft)
    correlation = torch.fft.irfft(head.conj() * whole, n_fft)[:, :n_lags]
    energy = pad(windows.square().cumsum(1), (1, 0))
    energy = energy[:, n_window:] - energy[:, :n_lags]
    difference = (energy[:, :1] + energy - 2 * correlation).clamp_min(0)
    difference[:, 0] = 0
    total, lag = difference.cumsum(1), torch.arange(n_lags, device=windows.device)
    normalised = difference * lag / total.clamp_min(1e-9)
    return torch.where(total > 1e-6, normalised, 1.0)


def _first_dip(difference: Float[Tensor, "frames lags"], threshold: float) -> Int[Tensor, " frames"]:
    """Smallest lag at a local minimum under the threshold, else the lag of the global minimum."""
    inner = difference[:, 1:-1]
    dip = (inner < threshold) & (inner <= difference[:, 2:]) & (inner < difference[:, :-2])
    first = dip.to(torch.uint8).argmax(1) + 1
    return torch.where(dip.any(1), first, difference.argmin(1)).clamp(1, difference.shape[1] - 2)


def _best_near(difference: Float[Tensor, "frames lags"], lag: Int[Tensor, " frames"], width: float) -> Tensor:
    """Lag of the minimum within ``lag * (1 +- width)``."""
    lags = torch.arange(difference.shape[1], device=lag.device)
    far = (lags - lag[:, None]).abs() > width * lag[:, None]
    return difference.masked_fill(far, torch.inf).argmin(1).clamp(1, difference.shape[1] - 2)


def _local_estimate(difference: Tensor, lag: Tensor, aperiodicity: Tensor, reach: int = 2) -> Tensor:
    """YIN's step 6: of the frames within ``reach``, the most periodic one's lag is the place to search again."""
    n = len(lag)
    near = (torch.arange(n, device=lag.device)[:, None] + torch.arange(-reach, reach + 1, device=lag.device)).clamp(
        0, n - 1
    )
    best = near.gather(1, aperiodicity[near].argmin(1, keepdim=True))[:, 0]
    return _best_near(difference, lag[best], 0.2)


def _parabola(difference: Float[Tensor, "frames lags"], lag: Int[Tensor, " frames"]) -> Float[Tensor, " frames"]:
    """Vertex of the parabola through a minimum and its two neighbours."""
    before, at, after = (difference.gather(1, (lag + step)[:, None])[:, 0] for step in (-1, 0, 1))
    curvature = (before + after - 2 * at).clamp_min(1e-9)
    return lag + (0.5 * (before - after) / curvature).clamp(-0.5, 0.5)


def track(audio: Float[Tensor, "batch samples"], config: PitchConfig | None = None) -> Pitch:
    r"""Fundamental frequency of a batch, 100 frames per second: :math:`f_0 = 16000 / \arg\min_\tau d'(\tau)`.

    Arguments:
        audio: Signals of whole frames: a multiple of 320 samples.
    Returns: ``samples / 160`` frames; f0 is meaningful where ``voiced``.
    Raises:
        ValueError: The number of samples is not a multiple of 320.
    Example:
        >>> tone = torch.sin(2 * torch.pi * 200 / 16000 * torch.arange(16000.0))
        >>> round(track(tone[None]).f0_hz[0, 50].item())
        200
    """
    config = PitchConfig() if config is None else config
    if audio.shape[-1] % SAMPLES_PER_FRAME:
        raise ValueError(f"expected whole frames of {SAMPLES_PER_FRAME} samples, got {audio.shape[-1]}: pad with zeros")
    (shortest, longest), n_window = config.lags, config.n_window
    n_frames = audio.shape[-1] // SAMPLES_PER_PITCH_FRAME
    # The two windows of a lag lie around the frame's centre for the usual period of 80 samples.
    left, n_samples = (n_window + 80) // 2, n_window + longest + 1
    padded = pad(audio.float(), (left, n_samples))
    windows = padded.unfold(-1, n_samples, SAMPLES_PER_PITCH_FRAME)[:, :n_frames].reshape(-1, n_samples)
    difference = normalised_difference(windows, n_window)
    difference[:, : shortest - 1] = 1.0
    lag = _first_dip(difference, config.threshold)
    lag = _local_estimate(difference, lag, difference.gather(1, lag[:, None])[:, 0])
    aperiodicity = difference.gather(1, lag[:, None])[:, 0]
    level_db = 10 * torch.log10(windows[:, :n_window].square().mean(1) + 1e-12)
    voiced = (aperiodicity < config.max_aperiodicity) & (level_db > config.silence_db)
    f0_hz = (SAMPLE_RATE_HZ / _parabola(difference, lag)).clamp(config.min_hz, config.max_hz)
    shape = (len(audio), n_frames)
    return Pitch(f0_hz.reshape(shape), voiced.reshape(shape), aperiodicity.reshape(shape))


def continuous(
    f0_hz: Float[Tensor, "batch frames"], voiced: Bool[Tensor, "batch frames"]
) -> Float[Tensor, "batch frames"]:
    """Fills unvoiced stretches: log-linear between the voiced frames around them, constant at the ends.

    Example:
        >>> f0, voiced = torch.tensor([[9.0, 100, 9, 400, 9]]), torch.tensor([[False, True, False, True, False]])
        >>> continuous(f0, voiced).round()
        tensor([[100., 100., 200., 400., 400.]])
    """
    n_frames = f0_hz.shape[1]
    place = torch.arange(n_frames, device=f0_hz.device).expand_as(f0_hz)
    before = torch.where(voiced, place, -1).cummax(1).values
    after = torch.where(voiced, place, n_frames).flip(1).cummin(1).values.flip(1)
    left, right = torch.where(before < 0, after, before), torch.where(after >= n_frames, before, after)
    left, right = left.clamp(0, n_frames - 1), right.clamp(0, n_frames - 1)
    log_f0 = torch.where(voiced, f0_hz, UNKNOWN_HZ).clamp_min(1e-3).log()
    share = (place - left) / (right - left).clamp_min(1)
    return torch.lerp(log_f0.gather(1, left), log_f0.gather(1, right), share).exp()


def cents_error(
    predicted_hz: Float[Tensor, "batch frames"],
    f0_hz: Float[Tensor, "batch frames"],
    voiced: Bool[Tensor, "batch frames"],
) -> Float[Tensor, " voiced"]:
    r"""Pitch error in cents on voiced frames: :math:`1200 \log_2 (\hat f / f)`."""
    return 1200 * torch.log2(predicted_hz[voiced] / f0_hz[voiced])
