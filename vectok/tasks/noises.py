"""Noise of known kinds at a known level: generated, babble of voices, and excerpts of music."""

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vectok.frames import SAMPLE_RATE_HZ

SLOPES = {"white": 0.0, "pink": 0.5, "brown": 1.0}  # amplitude falls as frequency to this power
LOWEST_HZ = 40.0  # below it a coloured noise is flat
HUM_HZ, N_HARMONICS, HUM_FLOOR = 50.0, 12, 0.01
KINDS = (*SLOPES, "hum")
LOUDEST_PEAK = 0.98


def stationary(kind: str, n_samples: int, seed: int) -> Float[Tensor, " samples"]:
    r"""Noise whose kind does not change over time, of unit power.

    White has an even spectrum, pink falls by 3 and brown by 6 dB an octave; hum is mains at 50 Hz with harmonics
    :math:`1/k` and a little white noise.

    Arguments:
        kind: One of :data:`KINDS`.
        n_samples: At 16 kHz.
        seed: Of phases and samples.
    Raises:
        ValueError: Another kind, or no samples.
    """
    if kind not in KINDS or n_samples < 1:
        raise ValueError(f"expected a kind of {', '.join(KINDS)} and samples, got {kind!r} and {n_samples}")
    generator = np.random.default_rng(seed)
    noise = generator.standard_normal(n_samples)
    if kind == "hum":
        angles = 2 * np.pi * HUM_HZ * np.arange(n_samples) / SAMPLE_RATE_HZ
        phases = generator.uniform(0, 2 * np.pi, N_HARMONICS)
        noise = HUM_FLOOR * noise + sum(np.sin(k * angles + phases[k - 1]) / k for k in range(1, N_HARMONICS + 1))
    else:
        hertz = np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE_HZ)
        noise = np.fft.irfft(np.fft.rfft(noise) * np.maximum(hertz, LOWEST_HZ) ** -SLOPES[kind], n_samples)
    return torch.from_numpy(noise / np.sqrt(np.mean(noise**2))).float()


def babble(
    voices: Sequence[Float[Tensor, " _samples"]], n_samples: int, n_voices: int, seed: int
) -> Float[Tensor, " samples"]:
    """Several people at once: tracks of joined recordings from random places, each of unit power, added up.

    Arguments:
        voices: Recordings; each track takes them in an order of its own.
        n_samples: At 16 kHz.
        n_voices: Tracks.
        seed: Of the orders and places.
    Raises:
        ValueError: No recording.
    """
    if not voices:
        raise ValueError("expected recordings to make babble of, got none: give a corpus with other speakers")
    generator, total = np.random.default_rng(seed), torch.zeros(n_samples)
    for _ in range(n_voices):
        parts, length = [], 0
        while length < 2 * n_samples:
            parts.append(voices[generator.integers(len(voices))])
            length += len(parts[-1])
        total += _unit(excerpt(torch.cat(parts), n_samples, int(generator.integers(2**31))))
    return _unit(total)


def excerpt(recording: Float[Tensor, " length"], n_samples: int, seed: int) -> Float[Tensor, " samples"]:
    """A stretch of a recording from a random place, which begins again when it is too short."""
    start = int(np.random.default_rng(seed).integers(max(1, len(recording) - n_samples)))
    repeated = recording.repeat(-(-(start + n_samples) // len(recording)))
    return repeated[start : start + n_samples]


class NoiseSource:
    """Noise of any kind for any recording: the same names always give the same noise.

    Arguments:
        music: Recordings of music; without any there is no kind "music".
        voices: Recordings of other people; without any there is no kind "babble".
        n_voices: Of the babble.
        seed: Of all draws.
    """

    def __init__(
        self,
        music: Sequence[Float[Tensor, " _samples"]],
        voices: Sequence[Float[Tensor, " _samples"]],
        n_voices: int,
        seed: int,
    ) -> None:
        self.music, self.voices, self.n_voices, self.seed = list(music), list(voices), n_voices, seed

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it can give."""
        return (*KINDS, *["babble"] * bool(self.voices), *["music"] * bool(self.music))

    def __call__(self, kind: str, item: str, n_samples: int) -> Float[Tensor, " samples"]:
        """Noise for one recording.

        Raises:
            ValueError: A kind that it cannot give.
        """
        if kind not in self.kinds:
            raise ValueError(f"expected a kind of {', '.join(self.kinds)}, got {kind!r}: add its recordings")
        seed = zlib.crc32(f"{self.seed} {kind} {item}".encode())
        if kind == "babble":
            return babble(self.voices, n_samples, self.n_voices, seed)
        if kind == "music":
            chosen = self.music[seed % len(self.music)]
            return excerpt(chosen, n_samples, seed)
        return stationary(kind, n_samples, seed)


def _unit(audio: Float[Tensor, " samples"]) -> Float[Tensor, " samples"]:
    return audio / audio.square().mean().sqrt().clamp(min=1e-6)


def mix_at_snr(
    speech: Float[Tensor, " samples"], noise: Float[Tensor, " others"], snr_db: float
) -> Float[Tensor, " samples"]:
    r"""Adds noise so that :math:`10 \log_{10}(\overline{x^2} / \overline{n^2})` is the given ratio over the recording.

    A sum that would clip is turned down as a whole.

    Raises:
        ValueError: Lengths that differ, or silence on either side, which has no ratio.
    Example:
        >>> mix_at_snr(torch.tensor([0.5, -0.5]), torch.tensor([3.0, 3.0]), 20.0)
        tensor([ 0.5500, -0.4500])
    """
    powers = [float(part.square().mean()) for part in (speech, noise)]
    if len(speech) != len(noise) or min(powers) <= 0:
        raise ValueError(f"expected two sounds of one length, got {len(speech)} and {len(noise)} samples, {powers}")
    mixed = speech + noise * (powers[0] / powers[1] / 10 ** (snr_db / 10)) ** 0.5
    return mixed * (LOUDEST_PEAK / mixed.abs().max().clamp(min=LOUDEST_PEAK))
