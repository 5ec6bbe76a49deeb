"""Makes what the language side's tables score: takes of every task over the test items, batched."""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vectok.evaluation.language_plan import Pair, Voice
from vectok.evaluation.language_takes import Take, Timbre, take_of
from vectok.evaluation.systems import Parts
from vectok.frames import frames_of_seconds
from vectok.language_items import Begun, Candidate, Heard, Line
from vectok.language_tasks import LanguageTasks


class Said(NamedTuple):
    """All candidates of one item, and the best of them by CLVP."""

    takes: list[Take]
    best: Take

    def first(self, n_candidates: int) -> "Said":
        """The same with the first few candidates only."""
        takes = self.takes[:n_candidates]
        return Said(takes, max(takes, key=lambda take: take.rank))


class Studio:
    """The recordings' tokens and the tasks over the language models.

    Arguments:
        parts: Of the codec's evaluation.
        tasks: Over the models.
    """

    def __init__(self, parts: Parts, tasks: LanguageTasks) -> None:
        self.parts, self.tokenizer, self.tasks = parts, tasks.tokenizer, tasks

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
        takes = [self.take(f"{key}:s{seed}:c{n}", one, timbre) for n, one in enumerate(candidates)]
        return Said(takes, max(takes, key=lambda take: take.rank))

    def speak(self, items: pd.DataFrame, voices: Sequence[Voice], n_candidates: int, seed: int) -> list[Said]:
        """Each text in the style and the voice of one prompt.

        Arguments:
            items: Texts.
            voices: One for each.
            n_candidates: Sampled.
            seed: Of the noise.
        """
        keys = [f"tts:{item}:{voice.speaker}" for item, voice in zip(items["item"], voices, strict=True)]
        lines = [
            Line(key, item.text, item.language, self.style(voice.prompt))
            for key, item, voice in zip(keys, items.itertuples(), voices, strict=True)
        ]
        found = self.tasks.speak(lines, n_candidates, seed)
        timbres = [Timbre(voice.prompt) for voice in voices]
        return [self._said(*given) for given in zip(keys, [seed] * len(keys), found, timbres, strict=True)]

    def translate(self, pairs: Sequence[Pair], n_candidates: int, seed: int) -> list[Said]:
        """Each recording in another language, in its own voice."""
        keys = [f"s2st:{pair.source}:{pair.target_language}" for pair in pairs]
        heard = [
            Heard(key, self.pieces(p.source), p.source_language, p.target_language, self.style([p.source]))
            for key, p in zip(keys, pairs, strict=True)
        ]
        found = self.tasks.translate(heard, n_candidates, seed)
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
        found = self.tasks.carry_on(begun, rest, 1, seed)
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
