"""Vocoders: from speech vectors to audio, behind one interface."""

from pathlib import Path

__all__ = ["load"]


def load(folder: Path):
    """Opens a trained vocoder of any kind: see :func:`vectok.vocoder.base.load`."""
    from vectok.vocoder.base import load as load_vocoder

    return load_vocoder(folder)
