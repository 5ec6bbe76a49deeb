"""Vec-Tok Speech: speech vectors, semantic tokens, and the way back.

>>> import vectok
>>> vectok.SAMPLE_RATE_HZ
16000
"""

from vectok.frames import FRAME_RATE_HZ, SAMPLE_RATE_HZ

__all__ = ["FRAME_RATE_HZ", "SAMPLE_RATE_HZ", "load"]


def __getattr__(name: str):
    """Imports :func:`vectok.api.load` on first use, so that importing the package stays cheap."""
    if name == "load":
        from vectok.api import load

        return load
    raise AttributeError(f"module 'vectok' has no attribute {name!r}")
