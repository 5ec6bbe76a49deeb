"""Voices to anonymise with: pseudo voices of training, which nobody has, or a folder of recordings."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from vectok.api import VecTok
from vectok.config import stage_parameters
from vectok.evaluation.privacy import pool_of
from vectok.parts import PRODUCT_FILES, VOICES, has_all
from vectok.store import FeatureStore


def save(folder: Path, voices: Mapping[str, Float[Tensor, "_prompt dim"]]) -> None:
    """Writes voices.safetensors (fp16, as the feature store has them) and config.json with their order."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: vectors.half().contiguous() for name, vectors in voices.items()}, folder / "voices.safetensors")
    config = {"n_voices": len(voices), "voices": list(voices)}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def of_home(home: Path) -> dict[str, Tensor]:
    """Prompts by voice: those that a release holds, or those that the evaluation of a profile anonymises with.

    Arguments:
        home: Folder of a release or of a profile's stages (:attr:`vectok.parts.Parts.home`).
    Raises:
        ValueError: It has neither.
    """
    folder, augmented = home / VOICES, home / "features" / "augmented"
    if has_all(folder, PRODUCT_FILES[VOICES]):
        stored = load_file(folder / "voices.safetensors")
        names = json.loads((folder / "config.json").read_text(encoding="utf-8"))["voices"]
        return {name: stored[name].float() for name in names}
    if not (augmented / "index.csv").is_file():
        raise ValueError(f"{home} holds no voices to anonymise with: give a pool, a folder with a recording a voice")
    settings = stage_parameters(home.name, "tasks_evaluation")
    return pool_of(FeatureStore(augmented), settings["n_pool"], settings["prompt_seconds"], settings["seed"])


class RecordedVoices(Mapping):
    """Prompts of recordings by path, each encoded when it is first drawn.

    Arguments:
        model: A system.
        recordings: Of a second or more, a voice each.
    """

    def __init__(self, model: VecTok, recordings: list[Path]) -> None:
        self.model, self.recordings = model, recordings
        self._prompts: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Float[Tensor, "prompt dim"]:
        if name not in self._prompts:
            self._prompts[name] = self.model.prompt_vectors(name)
        return self._prompts[name]

    def __iter__(self) -> Iterator[str]:
        return map(str, self.recordings)

    def __len__(self) -> int:
        return len(self.recordings)
