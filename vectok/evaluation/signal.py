"""Measures between two recordings of the same words at the same times: spectra, waveforms, pitch, tokens."""

import math
import warnings

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vectok.evaluation.metrics import ErrorCounts, word_errors
from vectok.evaluation.models import ModelMissing
from vectok.frames import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from vectok.vocoder.pitch import track

N_FFT, HOP_SAMPLES = 1024, 256
FLOOR_DB = -80.0
FEWEST_VOICED = 20  # pitch frames of 10 ms, below which a correlation says nothing


def levels_db(
    audio: Float[Tensor, " samples"], reference: Float[Tensor, " samples"]
) -> tuple[Float[Tensor, "bins frames"], Float[Tensor, "bins frames"]]:
    """Power spectra of both in dB below the reference's loudest bin, at least -80, the first brought to its power."""
    window = torch.hann_window(N_FFT)
    gain = (reference.square().mean() / audio.square().mean().clamp(min=1e-12)).sqrt()
    spectra = [
        torch.stft(part, N_FFT, HOP_SAMPLES, window=window, pad_mode="constant", return_complex=True).abs()
        for part in (audio * gain, reference)
    ]
    peak = spectra[1].max().clamp(min=1e-9)
    return tuple((20 * torch.log10((part / peak).clamp(min=1e-9))).clamp(min=FLOOR_DB) for part in spectra)


def log_spectral_distance(
    audio: Float[Tensor, " samples"], reference: Float[Tensor, " samples"], above_hz: float = 0.0
) -> float:
    r"""Log-spectral distance in dB, of the whole band or of what lies above a limit.

    .. math:: \frac1T \sum_t \sqrt{\frac1F \sum_f (L_{tf} - \hat L_{tf})^2}

    Levels have a floor 80 dB below the reference's loudest bin, so that digital silence is no infinite distance, and
    the audio is first brought to the reference's power.

    Arguments:
        audio: What is judged.
        reference: As long.
        above_hz: Bins from here on.
    """
    first, second = levels_db(audio, reference)
    hertz = torch.arange(len(first)) * SAMPLE_RATE_HZ / N_FFT
    chosen = hertz >= above_hz
    return float((first[chosen] - second[chosen]).square().mean(0).sqrt().mean())


def si_sdr(audio: Float[Tensor, " samples"], reference: Float[Tensor, " samples"]) -> float:
    r"""Scale-invariant signal-to-distortion ratio in dB, means removed.

    .. math:: 10 \log_{10} \frac{\lVert \alpha s \rVert^2}{\lVert \alpha s - \hat s \rVert^2}, \quad
        \alpha = \frac{\hat s \cdot s}{\lVert s \rVert^2}

    Source: Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019.
    Example:
        >>> round(si_sdr(torch.tensor([1.0, -1.0, 0.5, -0.5]), torch.tensor([2.0, -2.0, 0.0, 0.0])), 2)
        6.02
    """
    heard, clean = (part.double() - part.double().mean() for part in (audio, reference))
    target = (heard @ clean) / (clean @ clean).clamp(min=1e-12) * clean
    noise = (target - heard).square().sum()
    return float(10 * torch.log10(target.square().sum().clamp(min=1e-12) / noise.clamp(min=1e-12)))


def intelligibility(audio: Float[Tensor, " samples"], reference: Float[Tensor, " samples"]) -> float:
    """STOI of pystoi, 0 to 1; NaN where the recording holds too little speech for it.

    Raises:
        ModelMissing: pystoi is not installed.
    """
    try:
        from pystoi import stoi
    except ImportError as error:
        raise ModelMissing("pystoi: not installed; run make env") from error
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # how pystoi says that there are too few frames
        try:
            return float(stoi(reference.numpy(), audio.numpy(), SAMPLE_RATE_HZ))
        except RuntimeWarning:
            return math.nan


def perceptual_quality(audio: Float[Tensor, " samples"], reference: Float[Tensor, " samples"]) -> float:
    """Wide-band PESQ (ITU-T P.862.2), 1 to 4.64; NaN where it finds no speech.

    Raises:
        ModelMissing: The package ``pesq``, which has no wheel and wants a compiler, is not installed.
    """
    try:
        from pesq import NoUtterancesError, pesq
    except ImportError as error:
        raise ModelMissing("pesq: not installed; it wants a compiler: pip install pesq") from error
    try:
        return float(pesq(SAMPLE_RATE_HZ, reference.numpy(), audio.numpy(), "wb"))
    except NoUtterancesError:
        return math.nan


def f0_correlation(audio: Float[Tensor, " samples"], reference: Float[Tensor, " samples"]) -> float:
    """Pearson correlation of the logarithms of both pitches where both are voiced; NaN below 0.2 s of that."""
    log_f0, voiced = [], []
    for part in (audio, reference):
        padded = torch.nn.functional.pad(part, (0, -len(part) % SAMPLES_PER_FRAME))
        pitch = track(padded[None])
        log_f0.append(pitch.f0_hz[0].log().numpy())
        voiced.append(pitch.voiced[0].numpy())
    both = voiced[0] & voiced[1]
    if both.sum() < FEWEST_VOICED:
        return math.nan
    first, second = log_f0[0][both], log_f0[1][both]
    return float(np.corrcoef(first, second)[0, 1]) if first.std() > 0 and second.std() > 0 else math.nan


def token_errors(reference: Int[Tensor, " frames"], found: Int[Tensor, " others"]) -> ErrorCounts:
    """Edit distance between tokens, and the number of the reference's.

    Example:
        >>> token_errors(torch.tensor([1, 2, 3]), torch.tensor([1, 3, 3]))
        ErrorCounts(errors=1, length=3)
    """
    return word_errors(*(" ".join(map(str, part.tolist())) for part in (reference, found)))
