"""What each row of the tables does to a source: the clip of a system, from stored vectors and tokens.

========================  =========================================================================================
``recording``             the source as recorded
``vocoder``               its true vectors through the vocoder
``vectok``                its tokens, the prompt's vectors, the inverse K-means model, the tuned vocoder
``vectok_guidance0`` ...  the same with another weight of guidance than the model's own
``knn_vc_k1`` ... ``k16`` its vectors matched to the prompt's (the same target audio), the same tuned vocoder
========================  =========================================================================================

``tokens`` is ``vectok`` with a prompt of the source's own speaker.
"""

import re
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vectok import knn_vc
from vectok.codec import InverseKMeans
from vectok.guidance import guided
from vectok.layout import stage_folder
from vectok.store import FeatureStore
from vectok.tokens import TokenTable
from vectok.vocoder.base import Vocoder
from vectok.vocoder.base import load as load_vocoder


def guided_name(weight: float) -> str:
    """The row of our own at another weight of guidance.

    Example:
        >>> guided_name(0.25)
        'vectok_guidance0.25'
    """
    return f"vectok_guidance{weight:g}"


class Parts(NamedTuple):
    """The trained parts of one profile and the features of its recordings."""

    store: FeatureStore
    tokens: TokenTable
    codec: InverseKMeans
    vocoder: Vocoder
    tuned_vocoder: Vocoder


class Clip(NamedTuple):
    """What one clip is made from; ``method`` is a row of the table above."""

    method: str
    source: str
    prompt: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Method, source and prompt in one word: equal names are equal audio."""
        return "|".join([self.method, self.source, " ".join(self.prompt)])

    @classmethod
    def of_name(cls, name: str) -> "Clip":
        """Back from :attr:`name`.

        Example:
            >>> Clip.of_name("vectok|a/en/x|b/en/y b/en/z").prompt
            ('b/en/y', 'b/en/z')
        """
        method, source, prompt = name.split("|")
        return cls(method, source, tuple(prompt.split()))


def load_parts(profile: str) -> Parts:
    """Loads what the earlier stages of a profile left.

    Raises:
        ValueError: A stage has not been run.
    """
    features, kmeans = stage_folder(profile, "features"), stage_folder(profile, "kmeans")
    store = FeatureStore(features / "store")
    return Parts(
        store=store,
        tokens=TokenTable(store, kmeans / "tokens.npy"),
        codec=InverseKMeans.load(stage_folder(profile, "codec")),
        vocoder=load_vocoder(stage_folder(profile, "vocoder")),
        tuned_vocoder=load_vocoder(stage_folder(profile, "vocoder_tuning")),
    )


def prompt_vectors(store: FeatureStore, prompt: tuple[str, ...]) -> Float[Tensor, "prompt dim"]:
    """The vectors of the prompt's utterances, joined.

    Raises:
        ValueError: The prompt is empty.
    """
    if not prompt:
        raise ValueError("a conversion wants a prompt, got none: check the test list")
    return torch.cat([store.vectors(utterance) for utterance in prompt])


@torch.inference_mode()
def synthesise(parts: Parts, clip: Clip) -> Float[Tensor, " samples"]:
    """Makes the audio of a clip, as long as its source in frames.

    Raises:
        ValueError: An unknown method, a missing utterance or an empty prompt.
    """
    if clip.method == "recording":
        return parts.store.audio(clip.source)
    if clip.method == "vocoder":
        return parts.vocoder.synthesize(parts.store.vectors(clip.source))
    prompt = prompt_vectors(parts.store, clip.prompt)
    if ours := re.fullmatch(r"vectok(?:_guidance([\d.]+))?", clip.method):
        codec = guided(parts.codec, float(ours[1])) if ours[1] else parts.codec
        return parts.tuned_vocoder.synthesize(codec.reconstruct(parts.tokens.tokens(clip.source), prompt))
    if neighbours := re.fullmatch(r"knn_vc_k(\d+)", clip.method):
        matched = knn_vc.convert(parts.store.vectors(clip.source), prompt, int(neighbours[1]))
        return parts.tuned_vocoder.synthesize(matched)
    raise ValueError(f"unknown method {clip.method!r}: expected one of the table in vectok/evaluation/systems.py")
