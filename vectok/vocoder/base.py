"""What every vocoder is: speech vectors in, 320 samples a frame out."""

import dataclasses
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vectok.folders import replacing
from vectok.frames import samples_of_frames
from vectok.vocoder.pitch import Pitch

WINDOW_FRAMES = 1_500  # longer utterances are synthesised in windows of this size, so that memory stays constant
REACH_FRAMES = 24  # frames around a window that it can depend on, more than any receptive field here


class TrainingPass(NamedTuple):
    """What a generator gives its training.

    ``audio`` is judged by all losses. ``second`` is another draw of the same audio where the generator is stochastic
    (the spectral energy distance needs two), else None. ``losses`` are the generator's own, weighted.
    """

    audio: Float[Tensor, "batch samples"]
    second: Float[Tensor, "batch samples"] | None
    losses: dict[str, Tensor]


class Vocoder(nn.Module, ABC):
    """Turns standardised speech vectors, 50 a second, into audio at 16 kHz.

    A kind of vocoder sets ``kind`` (its name in config.json), takes one frozen dataclass ``config`` and implements
    :meth:`forward`. Crops in training carry ``context_frames`` true frames on both sides.
    """

    kind: str
    context_frames: int = 0

    @abstractmethod
    def forward(self, vectors: Float[Tensor, "batch frames dim"]) -> Float[Tensor, "batch samples"]:
        """Audio of a batch of equal lengths: 320 samples a frame, deterministic."""

    def training_pass(self, vectors: Float[Tensor, "batch frames dim"], pitch: Pitch) -> TrainingPass:
        """Audio of the frames inside the context, with gradients; ``pitch`` is the recording's own, same context."""
        margin, audio = samples_of_frames(self.context_frames), self(vectors)
        return TrainingPass(audio[:, margin : audio.shape[1] - margin], None, {})

    @torch.inference_mode()
    def synthesize(self, vectors: Float[Tensor, "frames dim"]) -> Float[Tensor, " samples"]:
        """Audio of one utterance of any length: the same vectors always give the same samples.

        Raises:
            ValueError: No frame, or another dimension than the vocoder's.
        """
        if vectors.dim() != 2 or vectors.shape[0] == 0 or vectors.shape[1] != self.config.dim:
            raise ValueError(f"expected vectors [frames >= 1, {self.config.dim}], got {list(vectors.shape)}")
        return self(vectors[None])[0] if len(vectors) <= WINDOW_FRAMES else self._in_windows(vectors)

    def _in_windows(self, vectors: Float[Tensor, "frames dim"]) -> Float[Tensor, " samples"]:
        """The same audio, window by window, each with the frames around it that it depends on."""
        parts = []
        for window in windows_of(len(vectors)):
            audio = self(vectors[None, window.first : window.last])[0]
            parts.append(
                audio[samples_of_frames(window.start - window.first) :][: samples_of_frames(window.stop - window.start)]
            )
        return torch.cat(parts)

    def save(self, folder: Path, discriminators: nn.Module | None = None) -> None:
        """Writes config.json and model.safetensors, whole or not at all, and the discriminators beside them."""
        config = {"kind": self.kind, **dataclasses.asdict(self.config)}
        with replacing(folder) as partial:
            if discriminators is not None:
                config["discriminators"] = dataclasses.asdict(discriminators.config)
                save_weights(discriminators, partial / "discriminators.safetensors")
            (partial / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            save_weights(self, partial / "model.safetensors")


class Window(NamedTuple):
    """Frames [start, stop) of the output, computed from frames [first, last) of the input."""

    start: int
    stop: int
    first: int
    last: int


def windows_of(n_frames: int) -> list[Window]:
    """Windows that cover ``n_frames``, with their reach on both sides.

    Example:
        >>> windows_of(1600)
        [Window(start=0, stop=1500, first=0, last=1524), Window(start=1500, stop=1600, first=1476, last=1600)]
    """
    ends = [(start, min(n_frames, start + WINDOW_FRAMES)) for start in range(0, n_frames, WINDOW_FRAMES)]
    return [Window(a, b, max(0, a - REACH_FRAMES), min(n_frames, b + REACH_FRAMES)) for a, b in ends]


def save_weights(module: nn.Module, path: Path) -> None:
    """Writes a module's weights as safetensors."""
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, path)


@dataclass(frozen=True)
class _Kind:
    """A vocoder class and the class of its configuration."""

    vocoder: type[Vocoder]
    config: type


def kinds() -> dict[str, _Kind]:
    """All kinds of vocoder by the name that stands in config.json and in params.yaml."""
    from vectok.vocoder.hifigan import Hifigan, HifiganConfig
    from vectok.vocoder.istft import SourceFilter, SourceFilterConfig

    return {
        Hifigan.kind: _Kind(Hifigan, HifiganConfig),
        SourceFilter.kind: _Kind(SourceFilter, SourceFilterConfig),
    }


def build(settings: dict) -> Vocoder:
    """A new vocoder from a dict with ``kind`` and the fields of that kind's configuration.

    Raises:
        ValueError: Unknown kind or unknown field, with the known ones.
    """
    known = kinds()
    kind = known.get(settings.get("kind"))
    if kind is None:
        raise ValueError(f"unknown kind of vocoder {settings.get('kind')!r}: expected one of {', '.join(known)}")
    fields = {field.name for field in dataclasses.fields(kind.config)}
    given = {name: tuple(v) if isinstance(v, list) else v for name, v in settings.items() if name != "kind"}
    if unknown := sorted(given.keys() - fields):
        raise ValueError(f"unknown fields {unknown} of vocoder {settings['kind']}: it has {sorted(fields)}")
    return kind.vocoder(kind.config(**given))


def load(folder: Path) -> Vocoder:
    """Opens a vocoder saved by :meth:`Vocoder.save`, ready for inference.

    Raises:
        ValueError: The folder holds no vocoder.
    """
    folder = Path(folder)
    if not (folder / "model.safetensors").exists():
        raise ValueError(f"no vocoder in {folder}: expected config.json and model.safetensors; run the vocoder stage")
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    settings.pop("discriminators", None)
    vocoder = build(settings)
    vocoder.load_state_dict(load_file(folder / "model.safetensors"))
    return vocoder.eval()
