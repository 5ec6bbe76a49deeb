"""Models that belong to a vocabulary, on disk: config.json, vocabulary.json and model.safetensors."""

import json
from pathlib import Path
from typing import NamedTuple

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from vectok.folders import replacing
from vectok.lm.vocabulary import Vocabulary


class Checkpoint(NamedTuple):
    """Sizes by name, what the ids mean, and weights by name."""

    config: dict[str, object]
    vocabulary: Vocabulary
    weights: dict[str, Tensor]


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes the three files; the folder appears whole or not at all."""
    weights = {name: value.contiguous() for name, value in checkpoint.weights.items()}
    with replacing(folder) as partial:
        (partial / "config.json").write_text(json.dumps(checkpoint.config, indent=2) + "\n")
        checkpoint.vocabulary.save(partial / "vocabulary.json")
        save_file(weights, partial / "model.safetensors", {"vocabulary": checkpoint.vocabulary.content_hash})


def load(folder: Path, model: str, stage: str) -> Checkpoint:
    """Reads what :func:`save` wrote.

    Arguments:
        folder: Where it lies.
        model: What an error calls it.
        stage: What makes it.
    Raises:
        ValueError: The folder holds no such model, or its weights belong to another vocabulary.
    """
    if not (folder / "config.json").exists():
        raise ValueError(f"no {model} in {folder}: run the {stage} stage first (make repro)")
    vocabulary = Vocabulary.load(folder / "vocabulary.json")
    with safe_open(folder / "model.safetensors", "pt") as file:
        made_with = (file.metadata() or {}).get("vocabulary")
    if made_with != vocabulary.content_hash:
        raise ValueError(
            f"{folder}: expected weights of the vocabulary {vocabulary.content_hash}, got {made_with}: "
            "take both files of one training"
        )
    config = json.loads((folder / "config.json").read_text())
    return Checkpoint(config, vocabulary, load_file(folder / "model.safetensors"))
