"""Bandwidth extension: the tokens of a narrow-band recording in a voice that was recorded with the whole band.

Source: Vec-Tok Speech, the demonstration of bandwidth extension: narrow-band source tokens, wide-band prompt.
"""

import numpy as np
import soxr
import torch
from jaxtyping import Float
from torch import Tensor

from vectok.api import Audio, VecTok, samples_of
from vectok.frames import SAMPLE_RATE_HZ

N_FFT, HOP_SAMPLES = 1024, 256
FADE_HZ = 300.0  # over which the recording gives way to the output
LEVEL_BAND_HZ = 1000.0  # below the limit, where the two are brought to one level


def extend(model: VecTok, wav: Audio, prompt: Audio, keep_below_hz: float | None = None) -> Float[Tensor, " samples"]:
    """A narrow-band recording with the band above, as many samples as it had.

    Arguments:
        model: A system.
        wav: The recording, brought to 16 kHz.
        prompt: A second or more of wide-band speech, of the same speaker or of another, or its vectors.
        keep_below_hz: Below it the recording itself is kept (:func:`splice`); all is new when it is not given.
    Raises:
        ValueError: Audio or a prompt that cannot be used, or a limit outside the band.
    """
    samples = samples_of(wav)
    extended = model.convert(samples, prompt)
    return extended if keep_below_hz is None else splice(samples, extended, keep_below_hz)


def splice(
    low: Float[Tensor, " samples"], high: Float[Tensor, " others"], limit_hz: float
) -> Float[Tensor, " samples"]:
    r"""One recording below a limit, another above it, faded over 300 Hz below the limit.

    .. math:: Y = (1 - m) X_\mathrm{low} + m\, g X_\mathrm{high}

    The gain g brings the two to one level in the thousand Hertz below the limit.

    Arguments:
        low: Heard below.
        high: Heard above, as long.
        limit_hz: Where ``low`` ends.
    Raises:
        ValueError: Lengths that differ, or a limit outside (300, 8000) Hz.
    """
    if len(low) != len(high) or not FADE_HZ < limit_hz < SAMPLE_RATE_HZ / 2:
        raise ValueError(
            f"expected recordings of one length and a limit in (300, 8000) Hz, got {len(low)} and {len(high)} samples "
            f"and {limit_hz:g} Hz: pad one of them, or choose another limit"
        )
    window = torch.hann_window(N_FFT)
    below, above = (
        torch.stft(part, N_FFT, HOP_SAMPLES, window=window, pad_mode="constant", return_complex=True)
        for part in (low, high)
    )
    hertz = torch.arange(len(below)) * SAMPLE_RATE_HZ / N_FFT
    band = (hertz > limit_hz - LEVEL_BAND_HZ - FADE_HZ) & (hertz < limit_hz - FADE_HZ)
    gain = below[band].abs().square().sum().sqrt() / above[band].abs().square().sum().sqrt().clamp(min=1e-6)
    share = ((hertz - limit_hz + FADE_HZ) / FADE_HZ).clamp(0, 1)[:, None]
    mixed = (1 - share) * below + share * gain.clamp(max=10.0) * above
    return torch.istft(mixed, N_FFT, HOP_SAMPLES, window=window, length=len(low)).clamp(-1, 1)


def narrow(audio: Float[Tensor, " samples"], rate_hz: int) -> Float[Tensor, " samples"]:
    """A recording as a lower sampling rate keeps it, back at 16 kHz: the baseline and the input.

    Raises:
        ValueError: A rate of 16 kHz or more.
    """
    _check_rate(rate_hz)
    few = soxr.resample(audio.numpy(), SAMPLE_RATE_HZ, rate_hz)
    return _as_long(soxr.resample(few, rate_hz, SAMPLE_RATE_HZ), len(audio))


def fold(audio: Float[Tensor, " samples"], rate_hz: int) -> Float[Tensor, " samples"]:
    """Spectral folding: the band of a narrow recording mirrored upwards, by zeros between its samples.

    The oldest way to fill an empty band: :math:`|Y(f_s - f)| = |Y(f)|` for the low rate :math:`f_s`.

    Arguments:
        audio: The recording at 16 kHz; what a lower rate cannot keep is taken away first.
        rate_hz: The lower rate, a divisor of 16,000.
    Raises:
        ValueError: A rate that does not divide 16,000.
    """
    _check_rate(rate_hz)
    factor = SAMPLE_RATE_HZ // rate_hz
    few = soxr.resample(audio.numpy(), SAMPLE_RATE_HZ, rate_hz)
    many = np.zeros(len(few) * factor, np.float32)
    many[::factor] = few * factor
    return _as_long(many, len(audio)).clamp(-1, 1)


def _check_rate(rate_hz: int) -> None:
    if not 0 < rate_hz < SAMPLE_RATE_HZ or SAMPLE_RATE_HZ % rate_hz:
        raise ValueError(f"expected a sampling rate that divides {SAMPLE_RATE_HZ}, got {rate_hz}: use 8000 or 4000")


def _as_long(samples: Float[np.ndarray, " resampled"], n_samples: int) -> Float[Tensor, " samples"]:
    """Samples cut or padded to a length."""
    padded = np.pad(samples[:n_samples], (0, max(0, n_samples - len(samples))))
    return torch.from_numpy(padded.astype(np.float32))
