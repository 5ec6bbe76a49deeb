"""A loaded system and .vtok files: the coder that belongs to it, and speaking what a file holds."""

from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from vectok.api import Audio, VecTok
from vectok.bitstream.coder import Coder
from vectok.bitstream.entropy import PieceModel
from vectok.bitstream.errors import VtokError
from vectok.bitstream.stream import Content


def coder_of(system: VecTok, folder: Path) -> Coder:
    """The coder of a loaded system.

    Arguments:
        system: What :func:`vectok.load` gives.
        folder: Of the bitstream stage: model.safetensors and config.json.
    Raises:
        ValueError: No model there, or one of another number of pieces.
    """
    vectoriser, model = system.vectoriser, PieceModel.load(folder)
    return Coder(system.tokenizer, model, system.centroids, vectoriser.encoder.content_hash, vectoriser.layer)


def encode(
    system: VecTok, coder: Coder, wav: Float[Tensor, " samples"], language: str = "", prompt: Audio | None = None
) -> Content:
    """What a file of a recording holds.

    Arguments:
        system: A system.
        coder: Of the same system.
        wav: The recording.
        language: "" when unknown.
        prompt: Speech of whoever is to say it, or its vectors; the recording itself keeps its own voice.
    Raises:
        ValueError: Audio or a prompt that cannot be used.
    """
    tokens = system.encode(wav).tokens
    speaker = None if prompt is None else coder.compact(system.prompt_vectors(prompt))
    return Content(tokens, len(wav), language, speaker)


def decode(system: VecTok, coder: Coder, content: Content, prompt: Audio | None = None) -> Float[Tensor, " samples"]:
    """Audio of a file's content, in the voice of its own prompt or of another.

    Raises:
        VtokError: The file has no prompt and none is given.
        ValueError: A prompt that cannot be used.
    """
    if prompt is None and content.prompt is None:
        raise VtokError("the file holds no prompt: give one, speech of whoever is to say it")
    voice = coder.expand(content.prompt) if prompt is None else prompt
    return system.decode(content.tokens, voice)[: content.n_samples]
