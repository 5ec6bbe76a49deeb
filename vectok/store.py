"""The feature store: speech vectors and the audio they came from, in few big shards, read by memory map.

A store is a folder with ``index.csv`` (one row an utterance), ``shard-00000.layer3.f16`` for each layer of the encoder
that is kept (frames x dim, little-endian fp16; the first is that of the speech vectors) and ``shard-00000.audio.i16``
(frames x 320 samples, 16-bit). Frame t of an utterance stands beside its samples [320 t, 320 (t + 1)). A shard counts
only once its own part of the index has been moved into place, so that a killed run loses at most one shard and leaves
nothing that looks whole.
"""

import copy
import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from vectok.frames import SAMPLES_PER_FRAME, frames_of_samples


@dataclass(frozen=True, kw_only=True)
class Item:
    """One utterance on its way into a store.

    Arguments:
        utterance: Its name, unique in the store.
        vectors: Speech vectors.
        audio: 16 kHz; as many frames as vectors, the last one perhaps not full.
        metadata: Columns of the index.
        others: The same frames at the store's other layers, in their order.
    """

    utterance: str
    vectors: Float[Tensor, "frames dim"]
    audio: Float[Tensor, " samples"]
    metadata: dict[str, object]
    others: Sequence[Float[Tensor, "frames dim"]] = ()


def _pad_to_frames(audio: Tensor, n_frames: int) -> Tensor:
    """Zero-pads on the right to whole frames."""
    if frames_of_samples(len(audio)) != n_frames:
        raise ValueError(f"{len(audio)} samples make {frames_of_samples(len(audio))} frames, got {n_frames} vectors")
    return torch.nn.functional.pad(audio, (0, n_frames * SAMPLES_PER_FRAME - len(audio)))


def _frames_file(stem: Path, layer: int) -> Path:
    """Frames of one layer in one shard."""
    return Path(f"{stem}.layer{layer}.f16")


class StoreWriter:
    """Writes a store shard by shard; shards that are already whole are kept, so that a killed run goes on.

    Arguments:
        folder: The store's folder.
        dim: Dimension of the vectors.
        layers: Of the encoder, that are kept; the speech vectors' first.
    """

    def __init__(self, folder: Path, dim: int, layers: Sequence[int] = (0,)) -> None:
        self.folder, self.dim, self.layers = folder, dim, list(layers)
        folder.mkdir(parents=True, exist_ok=True)

    def has(self, shard: int) -> bool:
        """Whether that shard is already whole."""
        return (self.folder / f"shard-{shard:05d}.csv").exists()

    def write(self, shard: int, items: Iterable[Item]) -> None:
        """Writes one shard: data first, its index last, by renaming."""
        stem, rows, start = self.folder / f"shard-{shard:05d}", [], 0
        with ExitStack() as stack:
            files = [stack.enter_context(open(_frames_file(stem, layer), "wb")) for layer in self.layers]
            audio_file = stack.enter_context(open(f"{stem}.audio.i16", "wb"))
            for item in items:
                n_frames = len(item.vectors)
                for file, frames in zip(files, (item.vectors, *item.others), strict=True):
                    file.write(frames.to(torch.float16).numpy().tobytes())
                samples = _pad_to_frames(item.audio, n_frames).clamp(-1, 1) * 32767
                audio_file.write(samples.round().to(torch.int16).numpy().tobytes())
                rows.append({"utterance": item.utterance, "shard": shard, "start": start, "n_frames": n_frames,
                             "n_samples": len(item.audio), **item.metadata})  # fmt: skip
                start += n_frames
        partial = Path(f"{stem}.csv.partial")
        pd.DataFrame(rows).to_csv(partial, index=False)
        partial.rename(f"{stem}.csv")

    def close(self, n_shards: int) -> "FeatureStore":
        """Joins the shards' indices into the store's, and opens it."""
        paths = [self.folder / f"shard-{shard:05d}.csv" for shard in range(n_shards)]
        # A text may read "null"; a shard of unreadable recordings has no row, and so no header.
        parts = [pd.read_csv(path, keep_default_na=False) for path in paths if path.stat().st_size > 1]
        described = {"dim": self.dim, "layers": self.layers, "n_shards": n_shards}
        (self.folder / "store.json").write_text(json.dumps(described) + "\n")
        pd.concat(parts, ignore_index=True).to_csv(self.folder / "index.csv", index=False)
        for shard in range(n_shards):
            (self.folder / f"shard-{shard:05d}.csv").unlink()
        return FeatureStore(self.folder)


# Parts of the features stage, and the split of each that trainings use: recordings, pseudo speakers, lent voices.
PARTS = {"store": "train", "augmented": "train", "voices": "voices"}


class FeatureStore:
    """Reads a store. Memory stays constant: shards are mapped, never loaded.

    Arguments:
        folder: A folder that :class:`StoreWriter` closed.
    Raises:
        ValueError: The folder holds no finished store.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "index.csv").exists():
            raise ValueError(f"no feature store in {folder}: run the features stage first")
        self.folder = folder
        described = json.loads((folder / "store.json").read_text())
        self.dim, self.layers = described["dim"], described["layers"]
        self.layer = self.layers[0]
        self.index = pd.read_csv(folder / "index.csv", keep_default_na=False, dtype={"utterance": str, "speaker": str})
        self._rows = {utterance: row for row, utterance in enumerate(self.index["utterance"])}
        self._starts = self.index[["shard", "start", "n_frames", "n_samples"]].to_numpy()

    def __len__(self) -> int:
        return len(self.index)

    def at_layer(self, layer: int) -> "FeatureStore":
        """The same utterances, seen at another layer that is kept: :meth:`vectors` gives its frames.

        Raises:
            ValueError: The store does not keep that layer.
        """
        if layer not in self.layers:
            raise ValueError(
                f"{self.folder} keeps layers {self.layers}, got {layer}: name it in other_layers of the features stage "
                "(params.yaml) and run that again"
            )
        view = copy.copy(self)
        view.layer = layer
        view.__dict__.pop("_shards", None)
        return view

    @cached_property
    def _shards(self) -> dict[int, tuple[np.memmap, np.memmap]]:
        stems = {shard: self.folder / f"shard-{shard:05d}" for shard in sorted(set(self._starts[:, 0].tolist()))}
        return {
            shard: (
                np.memmap(_frames_file(stem, self.layer), np.float16, "r").reshape(-1, self.dim),
                np.memmap(f"{stem}.audio.i16", np.int16, "r").reshape(-1, SAMPLES_PER_FRAME),
            )
            for shard, stem in stems.items()
        }

    def _place(self, utterance: str) -> tuple[int, int, int, int]:
        if utterance not in self._rows:
            raise ValueError(f"no utterance {utterance!r} in {self.folder}")
        return tuple(self._starts[self._rows[utterance]].tolist())

    def n_frames(self, utterance: str) -> int:
        """Length of one utterance in frames."""
        return self._place(utterance)[2]

    def vectors(self, utterance: str, start: int = 0, n_frames: int | None = None) -> Float[Tensor, "frames dim"]:
        """Vectors of one utterance, or of a stretch of it, at the store's layer, as float32."""
        shard, first, total, _ = self._place(utterance)
        stop = total if n_frames is None else min(total, start + n_frames)
        return torch.from_numpy(self._shards[shard][0][first + start : first + stop].astype(np.float32))

    def audio(self, utterance: str, start: int = 0, n_frames: int | None = None) -> Float[Tensor, " samples"]:
        """Samples under the same frames, in [-1, 1]; the whole utterance comes without its padding."""
        shard, first, total, n_samples = self._place(utterance)
        stop = total if n_frames is None else min(total, start + n_frames)
        samples = self._shards[shard][1][first + start : first + stop].reshape(-1)
        samples = samples[:n_samples] if n_frames is None and start == 0 else samples
        return torch.from_numpy(samples.astype(np.float32) / 32767)


def open_parts(features: Path) -> dict[str, FeatureStore]:
    """The stores of the features stage, by their names in :data:`PARTS`; a profile may have no lent voices.

    Raises:
        ValueError: The stage has not run.
    """
    return {part: FeatureStore(features / part) for part in PARTS if part != "voices" or (features / part).is_dir()}
