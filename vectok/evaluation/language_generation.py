"""Makes what the language side's tables score: takes of every task over the test items, batched."""

import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vectok.evaluation.kept import Kept
from vectok.evaluation.language_plan import Pair, Voice
from vectok.evaluation.language_takes import Take, Timbre, take_of
from vectok.evaluation.systems import Parts
from vectok.frames import frames_of_seconds
from vectok.language_items import Begun, Candidate, Heard, Line
from vectok.language_tasks import LanguageTasks

N_AT_ONCE = 1024  # candidates that are kept together: a killed run generates so many again, at most


class Read(NamedTuple):
    """A recording to be transcribed."""

    language: str
    pieces: tuple[int, ...]


class Rest(NamedTuple):
    """A recording to be continued, by so many frames at most."""

    begun: Begun
    n_frames: int


class Said(NamedTuple):
    """All candidates of one item."""

    takes: list[Take]

    @property
    def best(self) -> Take:
        """By likelihood and CLVP together."""
        return max(self.takes, key=lambda take: take.rank)

    @property
    def best_by_clvp(self) -> Take:
        """By CLVP alone, as the paper chooses."""
        return max(self.takes, key=lambda take: take.score)

    def first(self, n_candidates: int) -> "Said":
        """The same with the first few candidates only."""
        return Said(self.takes[:n_candidates])


class Studio:
    """The recordings' tokens and the tasks over the language models.

    Arguments:
        parts: Of the codec's evaluation.
        tasks: Over the models.
        kept: What was generated and read so far.
    """

    def __init__(self, parts: Parts, tasks: LanguageTasks, kept: Kept) -> None:
        self.parts, self.tokenizer, self.tasks, self.kept = parts, tasks.tokenizer, tasks, kept

    def pieces(self, utterance: str, n_frames: int | None = None) -> tuple[int, ...]:
        """Pieces of a recording, or of its beginning."""
        return tuple(self.tokenizer.encode(self.parts.tokens.tokens(utterance, 0, n_frames)).tolist())

    def style(self, utterances: Sequence[str]) -> tuple[int, ...]:
        """Pieces of a style prompt, as long as the LM has seen any."""
        tokens = torch.cat([self.parts.tokens.tokens(utterance) for utterance in utterances])
        return tuple(self.tokenizer.encode(tokens[: frames_of_seconds(self.tasks.config.style_seconds)]).tolist())

    def take(self, name: str, candidate: Candidate, timbre: Timbre, context: Tensor | None = None) -> Take:
        """A take of a candidate."""
        tokens = self.tokenizer.decode(torch.tensor(candidate.pieces, dtype=torch.int64))
        return take_of(name, candidate, tokens, timbre, context)

    def _said(self, key: str, seed: int, candidates: Sequence[Candidate], timbre: Timbre) -> Said:
        return Said([self.take(f"{key}:s{seed}:c{n}", one, timbre) for n, one in enumerate(candidates)])

    def _drawn(
        self, task: str, jobs: Sequence[tuple], n_candidates: int, seed: int,
        draw: Callable[[Sequence[tuple]], list[list[Candidate]]],
    ) -> list[list[Candidate]]:  # fmt: skip
        """Candidates of each job, generated or kept."""
        name = f"{task} {n_candidates} {seed}"
        found = self.kept.each(name, jobs, max(1, N_AT_ONCE // n_candidates), draw)
        return [[Candidate(tuple(pieces), *rest) for pieces, *rest in own] for own in found]

    def transcribe(self, items: pd.DataFrame) -> dict[str, str]:
        """What the LM hears in each recording, by its name; nothing when it was not trained to."""
        if not self.tasks.can("asr"):
            return {}
        read = [Read(item.language, self.pieces(item.item)) for item in items.itertuples()]
        texts = self.kept.each(
            "transcripts", read, N_AT_ONCE,
            lambda own: self.tasks.transcribe([each.pieces for each in own], [each.language for each in own]),
        )  # fmt: skip
        return dict(zip(items["item"], texts, strict=True))

    def lines(self, items: pd.DataFrame, voices: Sequence[Voice]) -> list[Line]:
        """Texts in the style of one prompt each."""
        return [
            Line(f"tts:{item.item}:{voice.speaker}", item.text, item.language, self.style(voice.prompt))
            for item, voice in zip(items.itertuples(), voices, strict=True)
        ]

    def speak(self, items: pd.DataFrame, voices: Sequence[Voice], n_candidates: int, seed: int) -> list[Said]:
        """Each text in the style and the voice of one prompt.

        Arguments:
            items: Texts.
            voices: One for each.
            n_candidates: Sampled.
            seed: Of the noise.
        """
        lines = self.lines(items, voices)
        found = self._drawn("tts", lines, n_candidates, seed, lambda own: self.tasks.speak(own, n_candidates, seed))
        keys, timbres = [line.key for line in lines], [Timbre(voice.prompt) for voice in voices]
        return [self._said(*given) for given in zip(keys, [seed] * len(keys), found, timbres, strict=True)]

    def translate(
        self, pairs: Sequence[Pair], n_candidates: int, seed: int, heard_as: dict[str, str] | None = None
    ) -> list[Said]:
        """Each recording in another language, in its own voice.

        Arguments:
            pairs: Sources and languages.
            n_candidates: Sampled.
            seed: Of the noise.
            heard_as: Transcripts of the sources that are known, by name; the others are read.
        """
        texts = {} if heard_as is None else heard_as
        keys = [f"s2st:{pair.source}:{pair.target_language}" for pair in pairs]
        heard = [
            Heard(
                key, self.pieces(p.source), p.source_language, p.target_language, self.style([p.source]),
                texts.get(p.source),
            )
            for key, p in zip(keys, pairs, strict=True)
        ]  # fmt: skip
        found = self._drawn(
            "s2st", heard, n_candidates, seed, lambda own: self.tasks.translate(own, n_candidates, seed)
        )
        timbres = [Timbre((pair.source,)) for pair in pairs]
        return [self._said(*given) for given in zip(keys, [seed] * len(keys), found, timbres, strict=True)]

    def carry_on(self, items: pd.DataFrame, n_prompt: int, seed: int) -> list[Take]:
        """Each recording from some frame on, as long as it is, in its own voice.

        Arguments:
            items: Recordings longer than the prompt.
            n_prompt: Frames that are given.
            seed: Of the noise.
        """
        keys = [f"continuation:{item}" for item in items["item"]]
        begun = [
            Begun(key, self.pieces(item.item, n_prompt), item.language)
            for key, item in zip(keys, items.itertuples(), strict=True)
        ]
        rest = [self.parts.store.n_frames(item) - n_prompt for item in items["item"]]
        jobs = [Rest(*given) for given in zip(begun, rest, strict=True)]
        found = self._drawn(
            "continuation", jobs, 1, seed,
            lambda own: self.tasks.carry_on([job.begun for job in own], [job.n_frames for job in own], 1, seed),
        )  # fmt: skip
        return [
            self.take(f"{key}:s{seed}:c0", candidates[0], Timbre((item,), n_prompt), self._start(item, n_prompt))
            for key, item, candidates in zip(keys, items["item"], found, strict=True)
        ]

    def _start(self, utterance: str, n_frames: int) -> Int[Tensor, " frames"]:
        return self.parts.tokens.tokens(utterance, 0, n_frames)

    def unigram_weights(self, language: str, most: int = 200) -> Float[np.ndarray, " vocab"]:
        """Frequencies of the pieces in training recordings of a language, of all where it has none.

        Arguments:
            language: Code.
            most: Recordings that are counted, at most.
        """
        index = self.parts.store.index
        train = index[index["split"] == "train"]
        own = train[train["language"] == language]
        names = (own if len(own) else train)["utterance"].head(most)
        counts = np.bincount([p for name in names for p in self.pieces(name)], minlength=self.tokenizer.n_vocab)
        return counts / counts.sum()

    def babble(
        self, key: str, weights: Float[np.ndarray, " vocab"], n_frames: int, timbre: Timbre, seed: int,
        context: Tensor | None = None,
    ) -> Take:  # fmt: skip
        """The unigram floor: pieces drawn by their frequencies until they last long enough.

        Arguments:
            key: Decides the draws.
            weights: Frequencies.
            n_frames: To fill.
            timbre: Whose voice it gets.
            seed: Of the draws.
            context: Tokens in front.
        """
        generator = np.random.default_rng([seed, zlib.crc32(key.encode())])
        drawn = generator.choice(len(weights), size=n_frames, p=weights)
        lengths = self.tokenizer.piece_lengths.numpy()[drawn].cumsum()
        pieces = tuple(drawn[: int(np.searchsorted(lengths, n_frames)) + 1].tolist())
        logprob = float(np.log(weights[list(pieces)]).mean())
        return self.take(f"unigram:{key}", Candidate(pieces, logprob, float("nan"), True, ""), timbre, context)
