"""Excitation of the source-filter vocoder: a band-limited pulse train in closed form, and white noise."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from vectok.frames import SAMPLE_RATE_HZ
from vectok.vocoder.pitch import SAMPLES_PER_PITCH_FRAME

BANDWIDTH_HZ = 7_900.0


def frame_phase(f0_hz: Float[Tensor, "batch frames"]) -> Float[Tensor, "batch frames"]:
    r"""Phase in cycles, in [0, 1), at each frame, when f0 is linear between frames.

    .. math:: \phi_{k+1} = \phi_k + 160\,(f_k + f_{k+1}) / (2 \cdot 16000) \pmod 1

    Summed in float64: after an hour a float32 sum would have lost the phase.
    """
    steps = (f0_hz[:, 1:].double() + f0_hz[:, :-1].double()) * (0.5 * SAMPLES_PER_PITCH_FRAME / SAMPLE_RATE_HZ)
    return pad(steps.cumsum(1), (1, 0)) % 1.0


def sample_phase(
    f0_hz: Float[Tensor, "batch frames"], phase: Float[Tensor, "batch frames"]
) -> tuple[Float[Tensor, "batch samples"], Float[Tensor, "batch samples"]]:
    r"""f0 and phase at every sample between the first and the last frame, in closed form.

    .. math:: \phi(u) = \phi_k + (f_k u + (f_{k+1} - f_k) u^2 / 320) / 16000, \qquad 0 \le u < 160

    Arguments:
        phase: From :func:`frame_phase`, at the same frames.
    Returns: f0 in Hz and phase in cycles, 160 samples for each frame but the last.
    """
    u = torch.arange(SAMPLES_PER_PITCH_FRAME, device=f0_hz.device)
    first, rise = f0_hz[:, :-1, None].double(), f0_hz.double().diff(dim=1)[..., None]
    cycles = (first * u + rise * u**2 / (2 * SAMPLES_PER_PITCH_FRAME)) / SAMPLE_RATE_HZ
    f0 = first + rise * u / SAMPLES_PER_PITCH_FRAME
    return f0.flatten(1), ((phase[:, :-1, None].double() + cycles) % 1.0).flatten(1)


def pulses(
    f0_hz: Float[Tensor, "batch samples"], phase: Float[Tensor, "batch samples"]
) -> Float[Tensor, "batch samples"]:
    r"""Band-limited pulse train of unit power: all harmonics up to 7.9 kHz, alike in level (the Dirichlet kernel).

    .. math::
        p = \sqrt{2 / N} \sum_{h=1}^{N} \cos 2 \pi h \phi
          = \sqrt{1 / 2N} \left( \frac{\sin (2N + 1) \pi \phi}{\sin \pi \phi} - 1 \right),
        \qquad N = \lfloor 7900 / f_0 \rfloor

    Arguments:
        f0_hz, phase: From :func:`sample_phase`.
    """
    n_harmonics = (BANDWIDTH_HZ / f0_hz.double()).floor().clamp_min(1)
    half = torch.pi * phase.double()
    at_pulse = half.sin().abs() < 1e-6
    kernel = torch.sin((2 * n_harmonics + 1) * half) / torch.where(at_pulse, 1.0, half.sin())
    kernel = torch.where(at_pulse, 2 * n_harmonics + 1, kernel)
    return ((kernel - 1) / (2 * n_harmonics).sqrt()).float()
