"""Figures of the vocoder's notebooks."""

from io import BytesIO
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import soundfile
import torch
from IPython.display import Audio
from jaxtyping import Float
from torch import Tensor

from vectok.frames import SAMPLE_RATE_HZ
from vectok.vocoder.pitch import SAMPLES_PER_PITCH_FRAME
from vectok.vocoder.source import frame_phase, pulses, sample_phase


def rising_pulses(first_hz: float, last_hz: float, seconds: float) -> Float[Tensor, " samples"]:
    """Pulse train whose pitch rises evenly: what excites the source-filter vocoder."""
    n_frames = round(seconds * SAMPLE_RATE_HZ / SAMPLES_PER_PITCH_FRAME) + 1
    f0_hz = torch.linspace(first_hz, last_hz, n_frames)[None]
    train = pulses(*sample_phase(f0_hz, frame_phase(f0_hz)))[0]
    return train / train.abs().max()


def player(audio: Float[Tensor, " samples"], seconds: float = 4.0) -> Audio:
    """A player of the first seconds, in Ogg Vorbis: a tenth of what IPython would put into the notebook."""
    buffer = BytesIO()
    samples = audio[: round(seconds * SAMPLE_RATE_HZ)].clamp(-1, 1).numpy()
    soundfile.write(buffer, samples, SAMPLE_RATE_HZ, format="OGG", subtype="VORBIS")
    sound = Audio(data=buffer.getvalue())
    sound.mimetype = "audio/ogg"  # Audio would call any bytes audio/wav
    return sound


def spectrograms(audios: dict[str, Float[Tensor, " samples"]], path: Path, n_columns: int = 1) -> None:
    """Spectrograms side by side, titled by their names, saved and shown."""
    n_rows = -(-len(audios) // n_columns)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=(5.5 * n_columns, 2.2 * n_rows), squeeze=False)
    for axis, (name, audio) in zip(axes.flat, audios.items(), strict=False):
        # A trace of noise keeps digital silence off the logarithm's pole.
        samples = audio[: 3 * SAMPLE_RATE_HZ].numpy() + 1e-6
        axis.specgram(samples, NFFT=512, noverlap=384, Fs=SAMPLE_RATE_HZ, vmin=-130, vmax=-40, cmap="magma")
        axis.set_title(name, fontsize=8)
        axis.grid(False)
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def learning_curves(history: pd.DataFrame, path: Path) -> None:
    """Running means of all losses, one panel each, saved and shown."""
    names = [name for name in history.columns if name not in ("step", "learning_rate")]
    smooth = history[names].rolling(max(1, len(history) // 50), min_periods=1).mean().assign(step=history["step"])
    n_rows = -(-len(names) // 4)
    figure, axes = plt.subplots(n_rows, 4, figsize=(12, 2.3 * n_rows), squeeze=False)
    for axis, name in zip(axes.flat, names, strict=False):
        sns.lineplot(smooth, x="step", y=name, ax=axis).set(title=name, ylabel="")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
