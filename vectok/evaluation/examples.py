"""Listening examples: small files of a few items of each table, spectrograms beside them, and an index with credits."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from vectok import audio
from vectok.frames import SAMPLE_RATE_HZ

SYSTEMS = {
    "codec": ("ground_truth", "vocoder", "tokens"),
    "table1_vc_intra": ("no_conversion", "vectok", "knn_vc_k4", "ground_truth"),
    "table2_vc_cross": ("no_conversion", "vectok", "knn_vc_k4", "ground_truth"),
}
CREDITS = (
    "Derived from the Asterisk core sounds (Allison Smith: en, es; June Wallack: fr; Carlo Flora: it; Maxim Topal, "
    "ivrvoice.ru: ru; CC BY-SA 3.0 and CC BY 3.0) and from the voices of Drascula: The Vampire Strikes Back (Alcachofa "
    "Soft). This derived audio is published under CC BY-SA 3.0. Nobody here consented to voice cloning."
)
PANEL_INCHES = (2.4, 1.5)
N_FFT, HOP = 512, 160
FLOOR_DB = 80.0


class Example(NamedTuple):
    """One item of a table: its clips by system."""

    table: str
    number: int
    item: str
    clips: dict[str, str]


def choose(rows: pd.DataFrame, n_examples: int) -> list[Example]:
    """Items spread evenly over each table, so that every language and both kinds of voices are heard.

    Arguments:
        rows: The plan.
        n_examples: Items of each table.
    """
    chosen = []
    for table, part in rows.groupby("table", sort=False):
        order = part.drop_duplicates("item").sort_values(["is_seen", "language", "item"], ascending=[False, True, True])
        items = order["item"].tolist()
        places = np.unique(np.linspace(0, len(items) - 1, min(n_examples, len(items))).round().astype(int))
        for number, place in enumerate(places, 1):
            own = part[part["item"] == items[place]].set_index("system")["clip"]
            chosen.append(Example(table, number, items[place], {s: own[s] for s in SYSTEMS[table] if s in own}))
    return chosen


def decibels(samples: Float[Tensor, " samples"]) -> Float[np.ndarray, "bins frames"]:
    """Power spectrogram in dB below its loudest point, at least -80."""
    spectrum = torch.stft(samples, N_FFT, HOP, window=torch.hann_window(N_FFT), return_complex=True).abs()
    levels = 20 * torch.log10(spectrum.clamp(min=1e-5))
    return (levels - levels.max()).clamp(min=-FLOOR_DB).numpy()


def plot(clips: dict[str, Tensor], path: Path) -> None:
    """Spectrograms of the clips side by side, on one scale of frequencies, as a small PNG."""
    width, height = PANEL_INCHES
    figure, axes = plt.subplots(1, len(clips), figsize=(width * len(clips), height), sharey=True, squeeze=False)
    for axis, (system, samples) in zip(axes[0], clips.items(), strict=True):
        seconds = len(samples) / SAMPLE_RATE_HZ
        axis.imshow(decibels(samples), origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, 8))
        axis.set_title(system, fontsize=7)
        axis.tick_params(labelsize=6)
    axes[0][0].set_ylabel("kHz", fontsize=6)
    figure.savefig(path, dpi=72, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def write(examples: list[Example], make: Callable[[str], Tensor], folder: Path) -> pd.DataFrame:
    """Writes ``<table>-<number>-<system>.ogg`` and ``<table>-<number>.png``; returns one row a file of sound.

    Arguments:
        examples: What :func:`choose` gives.
        make: Audio of a clip's name.
        folder: Made when it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for example in examples:
        stem, clips = f"{example.table}-{example.number:02d}", {s: make(name) for s, name in example.clips.items()}
        plot(clips, folder / f"{stem}.png")
        for system, samples in clips.items():
            audio.write(folder / f"{stem}-{system}.ogg", samples)
            rows.append({"table": example.table, "item": example.item, "system": system,
                         "file": f"{stem}-{system}.ogg", "spectrogram": f"{stem}.png"})  # fmt: skip
    return pd.DataFrame(rows)


def index_page(files: pd.DataFrame) -> str:
    """A Markdown page that links every file, with the credits."""
    parts = ["# Listening examples", CREDITS]
    for table, part in files.groupby("table", sort=False):
        parts.append(f"## {table}")
        for item, own in part.groupby("item", sort=False):
            links = ", ".join(f"[{row.system}]({row.file})" for row in own.itertuples())
            parts.append(f"`{item}`: {links}\n\n![spectrograms]({own['spectrogram'].iloc[0]})")
    return "\n\n".join(parts) + "\n"
