"""What every speech encoder does: audio in, one raw vector every 320 samples out.

A subclass encodes windows of at most 30 seconds; this module cuts longer audio into overlapping windows, keeps the
centre of each, and gathers windows of similar length into batches. A layer is numbered as transformers numbers
``hidden_states``: 0 is what enters the first block, k what leaves the k-th; the last one has passed the encoder's
final normalisation.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vectok.frames import SAMPLES_PER_FRAME, frames_of_samples, samples_of_frames

WINDOW_FRAMES = 1500  # 30 s: as many positions as Whisper has
CONTEXT_FRAMES = 100  # 2 s that a window sees but does not keep on a side where another window follows
BATCH_FRAMES = 1000  # padded frames that go through the encoder at once


class Window(NamedTuple):
    """Frames [start, stop) that are encoded, of which [keep_start, keep_stop) are kept."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int


def windows_of(n_frames: int, window: int = WINDOW_FRAMES, context: int = CONTEXT_FRAMES) -> list[Window]:
    """Cuts an utterance into overlapping windows whose kept parts tile it exactly.

    The last window ends where the utterance ends, so that every window of a long utterance is full. Two neighbours
    share the overlap half and half.

    Example:
        >>> windows_of(10, window=6, context=1)
        [Window(start=0, stop=6, keep_start=0, keep_stop=5), Window(start=4, stop=10, keep_start=5, keep_stop=10)]
    """
    if n_frames <= window:
        return [Window(0, n_frames, 0, n_frames)]
    hop = window - 2 * context
    starts = [*range(0, n_frames - window, hop), n_frames - window]
    seams = [0, *((left + window + right) // 2 for left, right in zip(starts, starts[1:], strict=False)), n_frames]
    return [
        Window(start, start + window, seam, following)
        for start, seam, following in zip(starts, seams, seams[1:], strict=False)
    ]


def hash_tensors(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over names, shapes and fp16 values, in the order of the names: the same for every source of a model."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}{tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].detach().to("cpu", torch.float16).contiguous().numpy().tobytes())
    return digest.hexdigest()


def _batches(lengths: Sequence[int], batch_frames: int) -> list[list[int]]:
    """Indices by rising length, in batches of at most ``batch_frames`` padded frames (or of one)."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batches and lengths[index] * (len(batches[-1]) + 1) <= batch_frames:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


class SpeechEncoder(ABC):
    """A frozen speech encoder.

    Arguments:
        name: What :func:`vectok.encoders.load_encoder` was asked for.
        dim: Channels of a vector.
        n_layers: The highest layer.
        content_hash: :func:`hash_tensors` of the weights.
        device: Where the weights lie.
    """

    def __init__(self, name: str, dim: int, n_layers: int, content_hash: str, device: torch.device) -> None:
        self.name, self.dim, self.n_layers, self.content_hash = name, dim, n_layers, content_hash
        self.device = device
        self.batch_frames = BATCH_FRAMES

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, dim={self.dim}, n_layers={self.n_layers})"

    @abstractmethod
    def _encode_windows(
        self, windows: list[Float[Tensor, " _samples"]], layers: Sequence[int]
    ) -> list[Float[Tensor, "layers _frames dim"]]:
        """Encodes windows of whole frames, at most 30 s each; runs no block above the highest layer asked for.

        What one window gives must not depend on the others beside it.
        """

    def check_layer(self, layer: int) -> None:
        """Refuses a layer that the encoder does not have.

        Raises:
            ValueError: With the layers that there are.
        """
        if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer <= self.n_layers:
            raise ValueError(f"unknown layer {layer!r} of {self.name}: expected one of 0 to {self.n_layers}")

    def encode(self, audio: Float[Tensor, " samples"], layer: int) -> Float[Tensor, "frames dim"]:
        """Raw vectors of one utterance of any length at one layer, ceil(samples / 320) of them, on the CPU.

        Raises:
            ValueError: Unknown layer; audio that is empty, not one-dimensional or not finite.
        """
        return self.encode_batch([audio], [layer])[0][0]

    def encode_layers(
        self, audio: Float[Tensor, " samples"], layers: Sequence[int]
    ) -> Float[Tensor, "layers frames dim"]:
        """Raw vectors of one utterance at several layers, from one run."""
        return self.encode_batch([audio], layers)[0]

    @torch.inference_mode()
    def encode_batch(
        self, audios: Sequence[Float[Tensor, " _samples"]], layers: Sequence[int]
    ) -> list[Float[Tensor, "layers _frames dim"]]:
        """Raw vectors of several utterances of any lengths, in their order.

        Windows are sorted by length and run in batches of about ``batch_frames`` frames; the result is that of each
        utterance alone, up to rounding.
        """
        for layer in layers:
            self.check_layer(layer)
        pieces = [(owner, window) for owner, audio in enumerate(audios) for window in windows_of(_n_frames(audio))]
        lengths = [window.stop - window.start for _, window in pieces]
        encoded: dict[int, Tensor] = {}
        for batch in _batches(lengths, self.batch_frames):
            windows = [_cut(audios[pieces[index][0]], pieces[index][1]) for index in batch]
            encoded |= zip(batch, self._encode_windows(windows, layers), strict=True)
        kept: list[list[Tensor]] = [[] for _ in audios]
        for index, (owner, window) in enumerate(pieces):
            kept[owner].append(encoded[index][:, window.keep_start - window.start : window.keep_stop - window.start])
        return [torch.cat(parts, dim=1).float().cpu() for parts in kept]


def _n_frames(audio: Tensor) -> int:
    """Length in frames of audio that can be encoded."""
    if audio.dim() != 1 or len(audio) == 0:
        raise ValueError(f"expected audio of shape [samples] with samples in it, got {tuple(audio.shape)}")
    if not bool(torch.isfinite(audio).all()):
        raise ValueError("audio holds NaN or infinite samples: remove them before it is encoded")
    return frames_of_samples(len(audio))


def _cut(audio: Tensor, window: Window) -> Tensor:
    """The window's samples, zero-padded on the right to whole frames."""
    samples = audio[samples_of_frames(window.start) : samples_of_frames(window.stop)]
    return torch.nn.functional.pad(samples, (0, (window.stop - window.start) * SAMPLES_PER_FRAME - len(samples)))
