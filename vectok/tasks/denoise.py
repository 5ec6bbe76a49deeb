"""Denoising: the tokens of a noisy recording in a voice that was recorded without noise.

Source: Vec-Tok Speech, the demonstration of denoising: noisy source tokens, clean prompt.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from vectok.api import Audio, VecTok, samples_of
from vectok.frames import SAMPLE_RATE_HZ


def denoise(model: VecTok, wav: Audio, prompt: Audio, gate_first: bool = False) -> Float[Tensor, " samples"]:
    """A recording without its noise, as many samples as it had.

    Arguments:
        model: A system.
        wav: The noisy recording.
        prompt: A second or more of clean speech, of the same speaker or of another, or its vectors.
        gate_first: Whether the tokens are those of the recording after :func:`gate`.
    Raises:
        ValueError: Audio or a prompt that cannot be used.
    """
    samples = samples_of(wav)
    return model.convert(gate(samples) if gate_first else samples, prompt)


def gate(audio: Float[Tensor, "*channels samples"]) -> Float[Tensor, " samples"]:
    """Spectral gating by the library noisereduce, stationary: the baseline.

    Bins that do not stand out of their own level over the recording are turned down.

    Raises:
        ValueError: Not one row of samples.
    """
    import noisereduce

    if audio.dim() != 1 or not len(audio):
        raise ValueError(f"expected mono audio [samples], got {list(audio.shape)}: average its channels")
    reduced = noisereduce.reduce_noise(audio.numpy(), SAMPLE_RATE_HZ, stationary=True, n_fft=1024)
    return torch.from_numpy(reduced.copy()).float().clamp(-1, 1)
