"""A loaded system and .vtok files: the coder that belongs to it, and speaking what a file holds."""

from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from vectok.api import Audio, Encoding, VecTok, samples_of
from vectok.bitstream.coder import Coder
from vectok.bitstream.entropy import PieceModel
from vectok.bitstream.errors import VtokError
from vectok.bitstream.prompt import PROMPT_SECONDS
from vectok.bitstream.stream import Content
from vectok.parts import BITSTREAM


def coder_of(system: VecTok, folder: Path | None = None) -> Coder:
    """The coder of a loaded system.

    Arguments:
        system: What :func:`vectok.load` gives.
        folder: Of the bitstream stage (model.safetensors and config.json); by default that of the profile or release
            that the system was loaded from.
    Raises:
        ValueError: No model there, or one of another number of pieces.
    """
    if folder is None and system.home is None:
        raise ValueError("this system was put together by hand: give the folder of the bitstream stage")
    vectoriser, model = system.vectoriser, PieceModel.load(folder or system.home / BITSTREAM)
    return Coder(system.tokenizer, model, system.codebook, vectoriser.encoder.content_hash, vectoriser.layer)


def encode(
    system: VecTok,
    coder: Coder,
    wav: Audio,
    language: str = "",
    prompt: Audio | None = None,
    prompt_seconds: float = PROMPT_SECONDS,
) -> Content:
    """What a file of a recording holds.

    Arguments:
        system: A system.
        coder: Of the same system.
        wav: The recording.
        language: "" when unknown.
        prompt: Speech of whoever is to say it, or its vectors: the recording itself for its own voice. A file without
            one is decoded with somebody's.
        prompt_seconds: How much of the prompt's beginning is kept, as tokens; its mean is of all of it.
    Raises:
        ValueError: Audio or a prompt that cannot be used.
    """
    samples = samples_of(wav)
    return content_of(system, coder, system.encode(samples), len(samples), language, prompt, prompt_seconds)


def content_of(
    system: VecTok,
    coder: Coder,
    encoding: Encoding,
    n_samples: int,
    language: str = "",
    prompt: Audio | None = None,
    prompt_seconds: float = PROMPT_SECONDS,
) -> Content:
    """The same as :func:`encode` of a recording that has been encoded already.

    Arguments:
        system: A system.
        coder: Of the same system.
        encoding: What :meth:`vectok.api.VecTok.encode` gave.
        n_samples: Of the recording.
        language: "" when unknown.
        prompt: As for :func:`encode`.
        prompt_seconds: As for :func:`encode`.
    Raises:
        ValueError: A prompt that cannot be used.
    """
    speaker = None if prompt is None else coder.compact(system.prompt_vectors(prompt), prompt_seconds)
    return Content(encoding.tokens, n_samples, language, speaker)


def decode(system: VecTok, coder: Coder, content: Content, prompt: Audio | None = None) -> Float[Tensor, " samples"]:
    """Audio of a file's content, in the voice of its own prompt or of another.

    Raises:
        VtokError: The file has no prompt and none is given.
        ValueError: A prompt that cannot be used.
    """
    if prompt is None and content.prompt is None:
        raise VtokError("the file holds no prompt: give one (--prompt), speech of whoever is to say it")
    voice = coder.expand(content.prompt) if prompt is None else prompt
    return system.decode(content.tokens, voice)[: content.n_samples]
