"""What every vocoder is: speech vectors in, 320 samples a frame out."""

import dataclasses
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vectok.vocoder.pitch import Pitch


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
        samples = self.context_frames * 320
        audio = self(vectors)
        return TrainingPass(audio[:, samples : audio.shape[1] - samples], None, {})

    @torch.inference_mode()
    def synthesize(self, vectors: Float[Tensor, "frames dim"]) -> Float[Tensor, " samples"]:
        """Audio of one utterance of any length: the same vectors always give the same samples.

        Raises:
            ValueError: No frame, or another dimension than the vocoder's.
        """
        self.check(vectors)
        return self(vectors[None])[0]

    def check(self, vectors: Tensor) -> None:
        """Raises ValueError unless ``vectors`` is frames x dim with at least one frame."""
        if vectors.dim() != 2 or vectors.shape[0] == 0 or vectors.shape[1] != self.config.dim:
            raise ValueError(f"expected vectors [frames >= 1, {self.config.dim}], got {list(vectors.shape)}")

    def save(self, folder: Path, extra: Callable[[Path], None] | None = None) -> None:
        """Writes config.json and model.safetensors, whole or not at all; ``extra`` adds files to the folder."""
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        config = {"kind": self.kind, **dataclasses.asdict(self.config)}
        (partial / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        save_file({k: v.contiguous() for k, v in self.state_dict().items()}, partial / "model.safetensors")
        if extra is not None:
            extra(partial)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)


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
    vocoder = build(json.loads((folder / "config.json").read_text()))
    vocoder.load_state_dict(load_file(folder / "model.safetensors"))
    return vocoder.eval()
