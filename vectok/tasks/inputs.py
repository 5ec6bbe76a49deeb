"""What the tasks take as a recording: a path or samples, as :mod:`vectok.api` does."""

from jaxtyping import Float
from torch import Tensor

from vectok import audio
from vectok.api import Audio


def samples_of(wav: Audio) -> Float[Tensor, " samples"]:
    """Samples at 16 kHz of a path, or the given ones.

    Raises:
        AudioError: A file that cannot be used.
    """
    return wav if isinstance(wav, Tensor) else audio.read(wav)
