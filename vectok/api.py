"""Vec-Tok Speech in three verbs: encode, decode, convert.

.. math:: \\{vec, tok\\} = \\mathrm{encode}(wave), \\qquad wave' = \\mathrm{decode}(tok, vec_{prompt})

Source: Vec-Tok Speech, Eq. 1 and 3.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vectok import audio as audio_files
from vectok import vocoder as vocoders
from vectok.bpe import PieceTokenizer
from vectok.codebook import Codebook, content_hash, load_codebook, read_both
from vectok.codec import InverseKMeans
from vectok.config import read_params
from vectok.features import Vectoriser
from vectok.frames import FRAME_RATE_HZ, SAMPLES_PER_FRAME, frames_of_seconds
from vectok.guidance import guided
from vectok.kmeans import assign
from vectok.parts import Parts, parts_of_profile, parts_of_release
from vectok.vocoder.base import Vocoder

SHORTEST_PROMPT_SECONDS = 1.0
Audio = str | Path | Tensor


class Encoding(NamedTuple):
    """What :meth:`VecTok.encode` gives: 50 vectors and 50 tokens a second, and the same tokens as pieces."""

    vectors: Float[Tensor, "frames dim"]
    tokens: Int[Tensor, " frames"]
    pieces: Int[Tensor, " pieces"]


class VecTok:
    """A whole system: encoder, codebook, BPE model, inverse K-means model and vocoder.

    Audio is a path, or float32 samples [samples] in [-1, 1] at 16 kHz; what comes out is such samples.

    Arguments:
        vectoriser: Audio to standardised vectors.
        codebook: What tokens are read off, and what stands for them.
        tokenizer: Tokens to pieces and back.
        codec: Tokens and a prompt's vectors to vectors.
        vocoder: Vectors to audio.
        home: Folder of the profile or release that it came from: where .vtok files find their coder, and anonymisation
            its voices.
    Raises:
        ValueError: Parts that do not fit together.
    """

    def __init__(
        self,
        vectoriser: Vectoriser,
        codebook: Codebook,
        tokenizer: PieceTokenizer,
        codec: InverseKMeans,
        vocoder: Vocoder,
        home: Path | None = None,
    ) -> None:
        _check_fit(vectoriser, codebook, tokenizer, codec, vocoder)
        self.vectoriser, self.codebook, self.tokenizer = vectoriser, codebook, tokenizer
        self.codec, self.vocoder, self.home = codec, vocoder, home
        self._trained_codec = codec
        self.reader, self.codebook_hash = codebook.reader(vectoriser.encoder), content_hash(codebook)

    def __repr__(self) -> str:
        return (
            f"VecTok(encoder={self.vectoriser.encoder.name!r}, layer={self.vectoriser.layer}, "
            f"token_layer={self.codebook.layer}, n_clusters={len(self.codebook.centroids)}, "
            f"n_vocab={self.tokenizer.n_vocab})"
        )

    @property
    def guidance(self) -> float:
        """How far the voice goes away from what tokens betray of the source's; its own weight until it is set.

        Less keeps more of the words, more changes more of the voice: :func:`vectok.guidance.guided`.
        """
        return self.codec.config.guidance

    @guidance.setter
    def guidance(self, weight: float) -> None:
        self.codec = guided(self._trained_codec, weight)

    def encode(self, wav: Audio) -> Encoding:
        """Vectors, tokens and pieces of one recording of any length; ceil(samples / 320) frames.

        Raises:
            ValueError: Audio that cannot be read, is empty, shorter than one frame, not finite or not mono.
        """
        vectors, frames = read_both(self.vectoriser, self.reader, samples_of(wav))
        tokens = assign(frames, self.codebook.centroids)
        return Encoding(vectors, tokens, self.tokenizer.encode(tokens))

    def prompt_vectors(self, prompt: Audio) -> Float[Tensor, "prompt dim"]:
        """Vectors of a prompt: a second or more of the target speaker, as audio or as vectors already.

        Raises:
            ValueError: Too short, silent, or vectors of another dimension.
        """
        if isinstance(prompt, Tensor) and prompt.dim() == 2:
            vectors = self._checked_vectors(prompt)
        else:
            samples = samples_of(prompt)
            if float(samples.abs().max()) < 1e-4:
                raise ValueError(f"{_name(prompt)}: the prompt is silent: give speech of the target speaker")
            vectors = self.vectoriser.vectorise(samples)
        if len(vectors) < frames_of_seconds(SHORTEST_PROMPT_SECONDS):
            raise ValueError(
                f"{_name(prompt)}: expected a prompt of at least {SHORTEST_PROMPT_SECONDS:g} s, got "
                f"{len(vectors) / FRAME_RATE_HZ:g} s: give more speech of the target speaker (3 s are good)"
            )
        return vectors

    def decode(self, content: Tensor, prompt: Audio | None = None) -> Float[Tensor, " samples"]:
        """Audio from tokens in the voice of a prompt, or from vectors, which carry their own voice.

        Pieces go through ``model.tokenizer.decode(pieces)`` first.

        Arguments:
            content: Tokens, int [frames], or standardised vectors, float [frames, dim].
            prompt: Speech of the target speaker, or its vectors; needed for tokens, refused for vectors.
        Returns: 320 samples a frame.
        Raises:
            ValueError: Tokens without a prompt, vectors with one, or content of another shape.
        """
        if content.dim() == 2 and content.is_floating_point():
            if prompt is not None:
                raise ValueError("vectors carry their own voice: leave the prompt out, or give tokens to change it")
            return self.vocoder.synthesize(self._checked_vectors(content)).clamp(-1, 1)
        if content.dim() != 1 or content.is_floating_point() or len(content) == 0:
            raise ValueError(
                f"expected tokens, int [frames], or vectors, float [frames, {self.vectoriser.dim}], got "
                f"{content.dtype} {list(content.shape)}: audio goes through encode or convert"
            )
        if prompt is None:
            raise ValueError("tokens say what is spoken, not by whom: give a prompt, speech of the target speaker")
        vectors = self.codec.reconstruct(content.long(), self.prompt_vectors(prompt))
        return self.vocoder.synthesize(vectors).clamp(-1, 1)

    def convert(self, wav: Audio, target: Audio) -> Float[Tensor, " samples"]:
        """The words of one recording in the voice of another; as many samples as the source.

        Arguments:
            wav: What is to be said, by anyone.
            target: A second or more of whoever is to say it, or the vectors of that (:meth:`prompt_vectors`).
        Raises:
            ValueError: As :meth:`encode` and :meth:`prompt_vectors`.
        """
        samples = samples_of(wav)
        tokens = assign(self.reader.vectorise(samples), self.codebook.centroids)
        return self.decode(tokens, self.prompt_vectors(target))[: len(samples)]

    def _checked_vectors(self, vectors: Tensor) -> Float[Tensor, "frames dim"]:
        """Refuses what has two axes and is no sequence of vectors, such as stereo audio."""
        if vectors.shape[1] != self.vectoriser.dim or len(vectors) == 0 or not bool(torch.isfinite(vectors).all()):
            raise ValueError(
                f"expected finite vectors [frames, {self.vectoriser.dim}] or mono audio [samples], got "
                f"{list(vectors.shape)}: average the channels of stereo audio first"
            )
        return vectors.float()


def _name(wav: Audio) -> str:
    """How an error calls what it was given."""
    return "the given tensor" if isinstance(wav, Tensor) else str(wav)


def samples_of(wav: Audio) -> Float[Tensor, " samples"]:
    """Samples at 16 kHz of a path, or of a tensor that holds them already.

    Raises:
        ValueError: Audio that cannot be read, is empty, shorter than one frame, not finite or not mono.
    """
    if not isinstance(wav, Tensor):
        return audio_files.read(wav)
    if wav.dim() != 1 or not wav.is_floating_point():
        raise ValueError(
            f"expected mono audio, float [samples], got {wav.dtype} {list(wav.shape)}: "
            "average the channels and scale to [-1, 1]"
        )
    if len(wav) < SAMPLES_PER_FRAME:
        raise ValueError(f"expected audio of at least one frame (320 samples), got {len(wav)}: record longer")
    if not bool(torch.isfinite(wav).all()):
        raise ValueError("expected finite samples, got NaN or infinity: repair the recording")
    return wav.float().clamp(-1, 1)


def _check_fit(
    vectoriser: Vectoriser, codebook: Codebook, tokenizer: PieceTokenizer, codec: InverseKMeans, vocoder: Vocoder
) -> None:
    """Refuses parts of different runs."""
    n_clusters, dim = codebook.vectors.shape
    found = {
        "dim of the encoder": (vectoriser.dim, dim),
        "dim of the codec": (codec.config.vector_dim, dim),
        "dim of the vocoder": (vocoder.config.dim, dim),
        "n_clusters of the BPE model": (tokenizer.n_clusters, n_clusters),
        "n_clusters of the codec": (codec.config.n_clusters, n_clusters),
    }
    if wrong := [
        f"{name}: expected {expected}, got {got}" for name, (got, expected) in found.items() if got != expected
    ]:
        raise ValueError(f"the parts do not fit the codebook ({'; '.join(wrong)}): run `make repro`")
    if not torch.equal(codec.centroids.cpu(), codebook.vectors):
        raise ValueError("the codec was trained with another codebook: run `make repro`")


def load(profile_or_path: str | Path) -> VecTok:
    """Opens a system by the name of its profile, or by the folder of a release, whose hashes are checked.

    Arguments:
        profile_or_path: ``"embedded"`` and the like once `make repro` has run, or what `make release` wrote.
    Raises:
        ValueError: Neither a profile nor a folder, a stage that has not run, a file that has changed.
    Example:
        >>> model = load("embedded")  # doctest: +SKIP
        >>> vectors, tokens, pieces = model.encode("source.wav")  # doctest: +SKIP
        >>> audio = model.convert("source.wav", target="target.wav")  # doctest: +SKIP
    """
    profiles = read_params()["profiles"]
    if str(profile_or_path) in profiles:
        return load_parts(parts_of_profile(str(profile_or_path)))
    if Path(profile_or_path).is_dir():
        return load_parts(parts_of_release(Path(profile_or_path)))
    raise ValueError(
        f"{profile_or_path}: expected a profile ({', '.join(profiles)}) or the folder of a release, got neither: "
        "check the name, or make one with `make release`"
    )


def load_parts(parts: Parts) -> VecTok:
    """Opens a system from its folders."""
    return VecTok(
        Vectoriser.load(parts.encoder),
        load_codebook(parts.kmeans),
        PieceTokenizer(parts.bpe / "bpe.model"),
        InverseKMeans.load(parts.codec),
        vocoders.load(parts.vocoder),
        parts.home,
    )
