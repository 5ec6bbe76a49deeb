"""What goes into the tasks over the language models, and what comes out."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from vectok.lm.generation import GenerationConfig


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """How the tasks generate. PAPER: temperature .8, top-p .8, repetition penalty 2.

    *Deviation*: no repetition penalty; the pieces keep the tokens' repetitions, which are how long a sound lasts.

    Arguments:
        temperature: Of the draws.
        top_p: Probability that the drawn ids hold together.
        repetition_penalty: Of pieces that were drawn a short while ago.
        penalty_window: Pieces of the same word that are penalised.
        max_word_pieces: A word that runs on is cut there.
        max_pieces: An utterance of the plain form is cut there.
        max_symbols: A transcript's end or a translation that runs on is cut there.
        n_drafts: Of a transcript, which vote letter by letter, or of a translated text (:mod:`vectok.lm.writing`).
        draft_temperature: Of the drafts beyond the first, greedy one.
        least_alike: Where the translation memory holds a text that is so alike (0 to 1), its translation is taken;
            elsewhere the LM translates itself. Above 1, always.
        style_seconds: Of a style prompt that the LM is shown.
        n_rows: Candidates in flight; it changes the speed alone.
    """

    temperature: float = 0.8
    top_p: float = 0.8
    repetition_penalty: float = 1.0
    penalty_window: int = 8
    max_word_pieces: int = 60
    max_pieces: int = 1000
    max_symbols: int = 200
    n_drafts: int = 16
    draft_temperature: float = 0.7
    least_alike: float = 0.3
    style_seconds: float = 3.0
    n_rows: int = 128

    def generation(self, seed: int, in_words: bool) -> GenerationConfig:
        """Settings of :func:`vectok.lm.generation.generate`.

        Arguments:
            seed: Of the noise.
            in_words: Whether the text's words are forced: then it is a word that is cut when it runs on.
        """
        return GenerationConfig(
            temperature=self.temperature,
            top_p=self.top_p,
            repetition_penalty=self.repetition_penalty,
            penalty_window=self.penalty_window,
            max_pieces_per_word=self.max_word_pieces if in_words else self.max_pieces,
            n_rows=self.n_rows,
            seed=seed,
        )


class Line(NamedTuple):
    """A text to say. ``key`` decides the noise; ``style`` are pieces of the prompt."""

    key: str
    text: str
    language: str
    style: tuple[int, ...]


class Heard(NamedTuple):
    """Speech to translate, as pieces, and the style to say it in. ``text`` is its transcript; None: to be read."""

    key: str
    pieces: tuple[int, ...]
    source: str
    target: str
    style: tuple[int, ...]
    text: str | None = None


class Begun(NamedTuple):
    """Speech to continue, as pieces."""

    key: str
    pieces: tuple[int, ...]
    language: str


def rank_of(logprob: float, score: float) -> float:
    """What the best candidate has most of: log-likelihood of an id plus CLVP's similarity, if there is one.

    *Deviation*: the paper takes CLVP alone; the likelihood alone chooses better here (reports/LOG.md).
    Arguments:
        logprob: Mean log-likelihood of an id.
        score: CLVP's similarity; NaN where there is none.
    """
    return logprob + (0.0 if math.isnan(score) else score)


class Candidate(NamedTuple):
    """One sample: its pieces, mean log-likelihood of an id, CLVP's similarity, and whether it ended by itself.

    The similarity of a continuation, which has no text, is NaN. ``text`` is what it was to say: normalised for TTS, the
    LM's own translation for S2ST, empty for a continuation. The best candidate has the highest ``rank``.
    """

    pieces: tuple[int, ...]
    logprob: float
    score: float
    stopped: bool
    text: str

    @property
    def rank(self) -> float:
        """See :func:`rank_of`."""
        return rank_of(self.logprob, self.score)
