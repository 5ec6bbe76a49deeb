"""Batches of the language model: a fixed number of ids each, little padding, pure functions of (seed, step)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vectok.frames import FRAME_RATE_HZ
from vectok.lm import sequences
from vectok.lm.data import Utterance, remember, translations
from vectok.lm.memory import TranslationMemory
from vectok.lm.phrases import PhrasePair, Text, phrase_pairs
from vectok.lm.sequences import TaskSequence
from vectok.lm.vocabulary import Vocabulary

TASKS = ("tts", "asr", "mt", "s2st", "continuation")
LENGTH_STEP = 16  # rows are padded to its multiples: few shapes, whose kernels are built and kept
POOL_BATCHES = 16  # sequences for so many batches are drawn at once, so that each batch holds rows of one length


@dataclass(frozen=True, kw_only=True)
class LMDataConfig:
    """How training sequences are drawn.

    Arguments:
        batch_ids: Ids of a batch, padding included; a longer sequence is a batch of its own.
        task_shares: Share of the sequences of each task, of :data:`TASKS`.
        interleaved: Text and speech word by word (*Deviation*), or text first and then speech.
        augmented_share: Share of the tts, asr and continuation sequences in pseudo voices.
        prompt_share: Share of the tts sequences with a prompt.
        min_prompt_seconds: Shortest prompt that is drawn.
        max_prompt_seconds: Longest prompt.
        asr_delay: Frames of speech behind a character before it is written.
        context_weight: Weight of the loss of what is given in use: prompts, pieces of asr, sources of translations.
        n_curriculum_steps: Until then half of the tts and asr sequences are cut to a few consecutive words.
        max_cut_words: Words of a cut, at most.
        misspelt_share: Of the characters that asr and mt sequences read, replaced by others of the same sequence. What
            counts stays right (*Deviation*: in use the model reads what it wrote, mistakes included).
        phrase_share: Of the mt sequences, phrases instead of texts (:mod:`vectok.lm.phrases`).
        max_phrase_words: Of a phrase, on either side.
        match_share: Of the mt sequences of whole texts, with a match in front (:mod:`vectok.lm.memory`).
        misheard_share: Of the pieces that asr sequences read, replaced by others of the same sequence (*Deviation*: so
            that the model cannot know an utterance by some of its pieces, and write it from memory).
        seed: Of everything that is drawn.
    """

    batch_ids: int
    task_shares: Mapping[str, float]
    interleaved: bool
    augmented_share: float
    prompt_share: float
    min_prompt_seconds: float
    max_prompt_seconds: float
    asr_delay: int
    context_weight: float
    n_curriculum_steps: int
    max_cut_words: int
    seed: int
    misspelt_share: float = 0.0
    misheard_share: float = 0.0
    phrase_share: float = 0.0
    max_phrase_words: int = 3
    match_share: float = 0.0


class LMBatch(NamedTuple):
    """Right-padded sequences; ``weights[:, i]`` is the weight of predicting ``ids[:, i]``, 0 in padding.

    ``read`` is what the model reads: ``ids``, some of them misread.
    """

    ids: Int[Tensor, "batch ids"]
    weights: Float[Tensor, "batch ids"]
    read: Int[Tensor, "batch ids"]


def _padded(sequence: TaskSequence) -> int:
    """Ids of a sequence once it is padded."""
    return -(-len(sequence.ids) // LENGTH_STEP) * LENGTH_STEP


def collate(drawn: Sequence[TaskSequence], pad: int) -> LMBatch:
    """Pads sequences on the right, to a multiple of :data:`LENGTH_STEP`."""
    longest = max(map(_padded, drawn))
    ids = torch.full((len(drawn), longest), pad, dtype=torch.int64)
    weights, read = torch.zeros(len(drawn), longest), ids.clone()
    for row, each in enumerate(drawn):
        ids[row, : len(each.ids)] = torch.tensor(each.ids)
        weights[row, : len(each.ids)] = torch.tensor(each.weights)
        read[row, : len(each.ids)] = torch.tensor(each.ids if each.read is None else each.read)
    return LMBatch(ids, weights, read)


def misread(
    found: TaskSequence, places: Bool[Tensor, " ids"], share: float, random: np.random.Generator
) -> TaskSequence:
    """The same sequence, of whose ids at ``places`` a share is read as others of them; its targets stay right."""
    candidates, ids = places.nonzero()[:, 0].numpy(), np.array(found.ids)
    read = np.array(found.ids if found.read is None else found.read)
    hit = candidates[random.random(len(candidates)) < share]
    if len(hit):
        read[hit] = ids[random.choice(candidates, len(hit))]
    return found._replace(read=read.tolist())


def fill(drawn: Sequence[TaskSequence], batch_ids: int) -> list[list[TaskSequence]]:
    """Sequences of like lengths together, as many a batch as fit into ``batch_ids`` padded ids.

    The shortest sequences may not fill a batch: they are left out where they fill less than half of it, unless there is
    no other.
    """
    ordered = sorted(drawn, key=lambda each: -len(each.ids))
    filled, first = [], 0
    while first < len(ordered):
        rows = max(1, batch_ids // _padded(ordered[first]))
        filled.append(ordered[first : first + rows])
        first += rows
    rest = sum(map(_padded, filled[-1]))
    return filled[:-1] if 2 * rest < batch_ids and len(filled) > 1 else filled


class SequenceMaker:
    """Makes the sequence of a task from utterances, in the interleaved or in the plain form.

    Arguments:
        vocabulary: Numbers the ids.
        config: Form, delay and weights.
    """

    def __init__(self, vocabulary: Vocabulary, config: LMDataConfig) -> None:
        self.vocabulary, self.config = vocabulary, config

    def tts(self, target: Utterance, prompt: Sequence[int]) -> TaskSequence:
        """Words and their speech, in the style of a prompt."""
        arguments, weight = (self.vocabulary, target.language, prompt), self.config.context_weight
        if self.config.interleaved:
            return sequences.tts(*arguments, target.spoken, target.n_frames, weight)
        return sequences.plain_tts(*arguments, [word.word for word in target.words], target.speech, weight)

    def asr(self, heard: Utterance) -> TaskSequence:
        """Speech and its characters."""
        delay = self.config.asr_delay if self.config.interleaved else None
        weight = self.config.context_weight
        return sequences.asr(self.vocabulary, heard.language, heard.speech, heard.words, delay, weight)

    def mt(self, source: Utterance | Text, target: Utterance | Text, match: str = "") -> TaskSequence:
        """A text and its translation, behind the translation of a like text."""
        return sequences.mt(
            self.vocabulary, source.language, source.text, target.language, target.text, self.config.context_weight,
            match,
        )  # fmt: skip

    def s2st(self, source: Utterance, target: Utterance) -> TaskSequence:
        """Speech and the speech of its translation."""
        return sequences.s2st(
            self.vocabulary, source.language, source.speech.pieces, target.language, target.speech,
            self.config.context_weight,
        )  # fmt: skip

    def continuation(self, spoken: Utterance) -> TaskSequence:
        """Speech alone."""
        return sequences.continuation(self.vocabulary, spoken.language, spoken.speech)


class LMBatches:
    """The batch of each step: call it with the step's number.

    Arguments:
        utterances: Of the split train alone.
        vocabulary: Numbers the ids.
        config: How sequences are drawn.
    Raises:
        ValueError: An unknown task, or translations are asked for and no two utterances correspond.
    """

    def __init__(self, utterances: Sequence[Utterance], vocabulary: Vocabulary, config: LMDataConfig) -> None:
        self.utterances, self.vocabulary, self.config = utterances, vocabulary, config
        self.maker, self.pairs = SequenceMaker(vocabulary, config), translations(utterances)
        self._kinds = [[u for u in utterances if u.pseudo == pseudo] for pseudo in (False, True)]
        self._voices: dict[str, list[Utterance]] = {}
        for utterance in utterances:
            self._voices.setdefault(utterance.speaker, []).append(utterance)
        self._check()
        wants_matches = config.task_shares.get("mt") and config.match_share
        self.memory = remember(utterances) if wants_matches else TranslationMemory()
        self.phrases = self._find_phrases() if config.task_shares.get("mt") and config.phrase_share else ()
        counts = np.array([pair.count for pair in self.phrases], dtype=np.float64)
        self._phrase_shares = counts / counts.sum() if len(counts) else counts
        self._pool = lru_cache(maxsize=1)(self._draw_pool)

    def _check(self) -> None:
        shares = self.config.task_shares
        if unknown := sorted(set(shares) - set(TASKS)):
            raise ValueError(f"unknown tasks {', '.join(unknown)}: task_shares may name {', '.join(TASKS)}")
        if (shares.get("mt", 0) or shares.get("s2st", 0)) and not self.pairs:
            raise ValueError("expected utterances of one name in two languages for mt or s2st, got none: drop the task")

    def _find_phrases(self) -> tuple[PhrasePair, ...]:
        groups = tuple(tuple(Text(each.language, each.text) for each in group) for group in self.pairs)
        return phrase_pairs(groups, self.config.max_phrase_words)

    def __call__(self, step: int) -> LMBatch:
        """The same batch for the same step, always."""
        drawn = self._pool(step // POOL_BATCHES)[step % POOL_BATCHES]
        return collate(drawn, self.vocabulary.tag("pad"))

    def _draw_pool(self, number: int) -> list[list[TaskSequence]]:
        """Sequences for POOL_BATCHES batches, each of like lengths, in random order."""
        random = np.random.default_rng([self.config.seed, number])
        short = number * POOL_BATCHES < self.config.n_curriculum_steps
        drawn, n_ids = [], 0
        while n_ids < (POOL_BATCHES + 1) * self.config.batch_ids:
            drawn.append(self.draw(random, short))
            n_ids += len(drawn[-1].ids)
        filled = fill(drawn, self.config.batch_ids)
        return [filled[place] for place in random.permutation(len(filled))]

    def draw(self, random: np.random.Generator, short: bool) -> TaskSequence:
        """One sequence of a random task.

        Arguments:
            random: Source of all choices.
            short: Whether half of the tts and asr sequences are cut to a few words.
        """
        shares = self.config.task_shares
        task = str(random.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values())))
        if task == "mt" and self.phrases and random.random() < self.config.phrase_share:
            pair = self.phrases[random.choice(len(self.phrases), p=self._phrase_shares)]
            return self._misspelt(self.maker.mt(pair.source, pair.target), random)
        if task in ("mt", "s2st"):
            group = self.pairs[random.integers(len(self.pairs))]
            source, target = (group[place] for place in random.choice(len(group), 2, replace=False))
            if task == "mt":
                match = self._match(source, target, random)
                return self._misspelt(self.maker.mt(source, target, match), random, len(match))
            return self.maker.s2st(source, target)
        pseudo = bool(random.random() < self.config.augmented_share) and bool(self._kinds[True])
        kind = self._kinds[pseudo]
        utterance = kind[random.integers(len(kind))]
        if task == "continuation":
            return self.maker.continuation(utterance)
        spoken = self._cut(utterance, random) if short and random.random() < 0.5 else utterance
        if task == "asr":
            return self._misheard(self._misspelt(self.maker.asr(spoken), random), random)
        return self.maker.tts(spoken, self._prompt(utterance, random))

    def _match(self, source: Utterance, target: Utterance, random: np.random.Generator) -> str:
        """Translation of the nearest other text, or none."""
        if not self.config.match_share or random.random() >= self.config.match_share:
            return ""
        return self.memory.nearest(source.language, source.text, target.language, leave_out=True)

    def _misspelt(self, found: TaskSequence, random: np.random.Generator, n_right: int = 0) -> TaskSequence:
        """Reads some of the symbols wrongly, but for the first ``n_right``, which nobody wrote by ear."""
        places = self.vocabulary.is_symbol(torch.tensor(found.ids))
        return misread(found, places & (places.cumsum(0) > n_right), self.config.misspelt_share, random)

    def _misheard(self, found: TaskSequence, random: np.random.Generator) -> TaskSequence:
        pieces = torch.tensor(found.ids) >= self.vocabulary.first_piece
        return misread(found, pieces, self.config.misheard_share, random)

    def _cut(self, utterance: Utterance, random: np.random.Generator) -> Utterance:
        """One to a few consecutive words."""
        n_words = min(len(utterance.words), int(random.integers(1, self.config.max_cut_words + 1)))
        return utterance.cut(int(random.integers(len(utterance.words) - n_words + 1)), n_words)

    def _prompt(self, target: Utterance, random: np.random.Generator) -> list[int]:
        """Pieces of another utterance of the voice, or none."""
        others = self._voices[target.speaker]
        if random.random() >= self.config.prompt_share or len(others) < 2:
            return []
        bounds = np.array([self.config.min_prompt_seconds, self.config.max_prompt_seconds]) * FRAME_RATE_HZ
        n_frames = int(random.integers(int(bounds[0]), int(bounds[1]) + 1))
        return draw_prompt(target, others, n_frames, random)


def draw_prompt(
    target: Utterance, others: Sequence[Utterance], n_frames: int, random: np.random.Generator
) -> list[int]:
    """Pieces of other utterances than ``target``, joined until they fill ``n_frames`` or three were drawn.

    Half the corpus is shorter than 1.5 s, so that a prompt of three seconds takes several recordings.
    """
    pieces: list[int] = []
    for _ in range(3):
        other = others[random.integers(len(others))]
        free = n_frames - int(sum(other.tokenizer.piece_lengths[pieces])) if pieces else n_frames
        if other.concept != target.concept and free > 0:
            pieces += other.excerpt(int(random.integers(1 + len(other.speech.pieces) // 2)), free)
    return pieces
