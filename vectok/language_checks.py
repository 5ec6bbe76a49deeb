"""What the tasks over the language models refuse, each with one clear line."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from vectok import audio
from vectok.frames import SAMPLES_PER_FRAME, seconds_of_samples

SHORTEST_PROMPT_SECONDS = 1.0
LONGEST_PROMPT_SECONDS = 30.0
SHORTEST_SOURCE_SECONDS = 0.4
LONGEST_SOURCE_SECONDS = 30.0
SILENT_PEAK = 1e-4
STEADY_DB = 3.0  # deviation of the level of 20 ms windows; noise and hum have less than one, speech six to twenty
FLOOR_DB = 50.0  # below the loudest window: quieter ones count as this


def speech_samples(wav: str | Path | Tensor) -> Float[Tensor, " samples"]:
    """Samples at 16 kHz of a path, or of a tensor that holds them already.

    Raises:
        ValueError: Audio that cannot be read, or a tensor that is not float [samples], finite.
    """
    if not isinstance(wav, Tensor):
        return audio.read(wav)
    if wav.dim() != 1 or not wav.is_floating_point() or not bool(torch.isfinite(wav).all()):
        raise ValueError(
            f"expected finite mono audio, float [samples], got {wav.dtype} {list(wav.shape)}: average the channels, "
            "scale to [-1, 1], repair NaN"
        )
    return wav.float().clamp(-1, 1)


def level_deviation(samples: Float[Tensor, " samples"]) -> float:
    r"""Standard deviation over time of the level in dB, :math:`10 \log_{10} \overline{(x_t - x_{t-1})^2}`, of 20 ms.

    The difference of neighbours takes out what is slow. White noise: about .35.
    """
    steps = samples.diff()
    n_windows = len(steps) // SAMPLES_PER_FRAME
    if n_windows < 2:
        return 0.0
    powers = steps[: n_windows * SAMPLES_PER_FRAME].reshape(n_windows, -1).square().mean(1)
    levels = 10 * torch.log10(powers.clamp(min=1e-12))
    return float(levels.clamp(min=float(levels.max()) - FLOOR_DB).std())


def check_speech(samples: Float[Tensor, " samples"], name: str, shortest: float, longest: float) -> None:
    """Refuses recordings that hold no speech to work with.

    Arguments:
        samples: At 16 kHz.
        name: How the error calls it.
        shortest: Seconds.
        longest: Seconds.
    Raises:
        ValueError: Too short, too long, silent, or as steady as noise or hum.
    """
    seconds = seconds_of_samples(len(samples))
    if not shortest <= seconds <= longest:
        remedy = "record longer" if seconds < shortest else "cut it"
        raise ValueError(f"{name}: expected {shortest:g} to {longest:g} s of speech, got {seconds:.3g} s: {remedy}")
    if float(samples.abs().max()) < SILENT_PEAK:
        raise ValueError(f"{name}: expected speech, got silence: give a recording of somebody who speaks")
    deviation = level_deviation(samples)
    if deviation < STEADY_DB:
        raise ValueError(
            f"{name}: expected speech, got a sound as steady as noise (its level varies by {deviation:.1f} dB, speech "
            f"by more than {STEADY_DB:g}): give a recording of somebody who speaks"
        )


def check_prompt(samples: Float[Tensor, " samples"], name: str) -> None:
    """A prompt: 1 to 30 s of speech (3 s are good)."""
    check_speech(samples, name, SHORTEST_PROMPT_SECONDS, LONGEST_PROMPT_SECONDS)


def check_source(samples: Float[Tensor, " samples"], name: str) -> None:
    """A recording to transcribe, translate or continue: at most 30 s."""
    check_speech(samples, name, SHORTEST_SOURCE_SECONDS, LONGEST_SOURCE_SECONDS)


def check_seconds(seconds: float, longest: float) -> None:
    """A duration to generate.

    Raises:
        ValueError: Not in (0, longest].
    """
    if not 0 < seconds <= longest:
        raise ValueError(f"expected more than 0 and at most {longest:g} s to generate, got {seconds:g}: ask for less")
