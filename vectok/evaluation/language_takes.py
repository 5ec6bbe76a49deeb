"""What the language models said: one take a candidate, kept as 50 Hz tokens, turned into sound when it is scored.

A clip of the language side is ``take|<name>|`` or, beside the clips of :mod:`vectok.evaluation.systems`,
``rest|<utterance>|<frames>``, a recording from some frame on, and ``retake|<utterance>|<frames>``, the codec's own
resynthesis of it in the voice of its beginning.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vectok.evaluation import systems
from vectok.frames import samples_of_frames
from vectok.language_items import Candidate, rank_of

SILENT_FRAMES = 15  # of a take in which nothing was said


class Timbre(NamedTuple):
    """Whose vectors speak: utterances joined, and how many of their first frames (0: all)."""

    utterances: tuple[str, ...]
    n_frames: int = 0


class Take(NamedTuple):
    """Something generated. ``skip_frames`` of its tokens are context that is not scored; ``text`` was to be said.

    ``logprob``, ``score`` and ``stopped`` are its :class:`vectok.language_items.Candidate`'s.
    """

    name: str
    tokens: tuple[int, ...]
    timbre: Timbre
    skip_frames: int
    text: str
    logprob: float
    score: float
    stopped: bool
    n_pieces: int
    repetition: float

    @property
    def rank(self) -> float:
        """See :func:`vectok.language_items.rank_of`."""
        return rank_of(self.logprob, self.score)

    @property
    def clip(self) -> str:
        """Name of its clip."""
        return systems.Clip("take", self.name).name

    @property
    def n_frames(self) -> int:
        """Frames of speech that are scored."""
        return len(self.tokens) - self.skip_frames


def repetition(pieces: Sequence[int], n_joined: int = 3) -> float:
    """Share of runs of three pieces that stood before in the same utterance.

    Example:
        >>> repetition([1, 2, 3, 1, 2, 3]), repetition([1, 2])
        (0.25, 0.0)
    """
    runs = [tuple(pieces[start : start + n_joined]) for start in range(len(pieces) - n_joined + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def take_of(name: str, candidate: Candidate, tokens: Tensor, timbre: Timbre, context: Tensor | None = None) -> Take:
    """A take of one candidate.

    Arguments:
        name: Without ``|`` and spaces.
        candidate: What was generated.
        tokens: Its pieces as tokens.
        timbre: Whose voice it gets.
        context: Tokens that stand before it and are not scored.
    """
    before = [] if context is None else context.tolist()
    pieces = candidate.pieces
    return Take(
        name=name, tokens=tuple(before + tokens.tolist()), timbre=timbre, skip_frames=len(before), text=candidate.text,
        logprob=candidate.logprob, score=candidate.score, stopped=candidate.stopped, n_pieces=len(pieces),
        repetition=repetition(pieces),
    )  # fmt: skip


def timbre_vectors(parts: systems.Parts, timbre: Timbre) -> Float[Tensor, "prompt dim"]:
    """The prompt's vectors."""
    vectors = systems.prompt_vectors(parts.store, timbre.utterances)
    return vectors[: timbre.n_frames] if timbre.n_frames else vectors


def _spoken(parts: systems.Parts, tokens: Tensor, timbre: Timbre, skip_frames: int) -> Float[Tensor, " samples"]:
    """Tokens in a voice, from some frame on; where nothing was said, a short silence, which can be scored."""
    if len(tokens) <= skip_frames:
        return torch.zeros(samples_of_frames(SILENT_FRAMES))
    vectors = parts.codec.reconstruct(tokens, timbre_vectors(parts, timbre))
    return parts.tuned_vocoder.synthesize(vectors)[samples_of_frames(skip_frames) :].clamp(-1, 1)


@torch.inference_mode()
def synthesise(parts: systems.Parts, takes: dict[str, Take], name: str) -> Float[Tensor, " samples"]:
    """Audio of a clip's name.

    Raises:
        ValueError: An unknown take, or as :func:`vectok.evaluation.systems.synthesise`.
    """
    clip = systems.Clip.of_name(name)
    if clip.method == "take":
        if clip.source not in takes:
            raise ValueError(f"no take {clip.source!r} among {len(takes)}: generate it first")
        take = takes[clip.source]
        return _spoken(parts, torch.tensor(take.tokens), take.timbre, take.skip_frames)
    if clip.method == "rest":
        return parts.store.audio(clip.source, start=int(clip.prompt[0]))
    if clip.method == "retake":
        n_frames = int(clip.prompt[0])
        return _spoken(parts, parts.tokens.tokens(clip.source), Timbre((clip.source,), n_frames), n_frames)
    return systems.synthesise(parts, clip)


def save(takes: Iterable[Take], path: Path) -> None:
    """Writes all takes as one table, beside its place first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with open(partial, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Take._fields)
        for take in takes:
            flat = take._replace(
                tokens=" ".join(map(str, take.tokens)),
                timbre=" ".join([*take.timbre.utterances, str(take.timbre.n_frames)]),
                **{name: round(getattr(take, name), 5) for name in ("logprob", "score", "repetition")},
            )  # fmt: skip
            writer.writerow(flat)
    partial.rename(path)
