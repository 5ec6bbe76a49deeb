"""Batches of CLVP: pairs of one language and their spoilt copies, pure functions of (seed, step)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vectok.clvp.corruption import corrupt
from vectok.clvp.model import Padded, pad
from vectok.frames import frames_of_seconds
from vectok.lm.data import Utterance, encode_speech
from vectok.lm.vocabulary import Vocabulary

PAIRS = ("text", "speech")  # what stands against the speech: its text, or the same in another language
_BUCKETS = 4
_N_OTHERS = 24  # words of the same voice that spoilt copies take from


@dataclass(frozen=True, kw_only=True)
class ClvpDataConfig:
    """How pairs are drawn.

    Arguments:
        pairs: Of :data:`PAIRS`.
        batch_size: Pairs of a batch, all of one language (of one pair of languages) and of different texts; fewer when
            there are not so many.
        n_spoilt: Spoilt copies of each utterance.
        speech_share: Share of the batches with speech and its translation, where both kinds are drawn.
        augmented_share: Share of the utterances in pseudo voices.
        cut_share: Share of the texts that are cut to a few consecutive words.
        n_curriculum_steps: Until then every text is cut to ``curriculum_words`` consecutive words or fewer, and all
            batches are of texts: a word is found sooner than a sentence, and costs less (*Deviation*).
        curriculum_words: Words of such a cut, at most.
        max_seconds: Longer utterances are cut to words that last so long, as far as one word does not.
        by_word_share: Share of the utterances whose words are joined from pieces of their own, as the LM says them.
        seed: Of everything that is drawn.
    Raises:
        ValueError: An unknown kind of pairs, or none.
    """

    pairs: tuple[str, ...]
    batch_size: int
    n_spoilt: int
    speech_share: float
    augmented_share: float
    cut_share: float
    n_curriculum_steps: int
    curriculum_words: int
    max_seconds: float
    by_word_share: float
    seed: int

    def __post_init__(self) -> None:
        if not self.pairs or set(self.pairs) - set(PAIRS):
            raise ValueError(f"expected pairs out of {', '.join(PAIRS)}, got {', '.join(self.pairs) or 'none'}")


class ClvpBatch(NamedTuple):
    """``right`` holds the utterances of ``left`` in the same order, then a spoilt copy of each, then another one.

    ``of_text`` tells whether ``left`` is text (symbols) or speech in another language (pieces).
    """

    left: Padded
    right: Padded
    of_text: bool


class ClvpBatches:
    """The batch of each step: call it with the step's number.

    Arguments:
        utterances: Aligned utterances of train, real and pseudo voices.
        vocabulary: Numbers the symbols.
        config: How pairs are drawn.
    Raises:
        ValueError: No language has two different texts; no two languages share what they say.
    """

    def __init__(self, utterances: Sequence[Utterance], vocabulary: Vocabulary, config: ClvpDataConfig) -> None:
        self.vocabulary, self.config = vocabulary, config
        self._by_speaker: dict[str, list[Utterance]] = {}
        self._texts: dict[str, dict[str, list[Utterance]]] = {}
        for utterance in utterances:
            self._by_speaker.setdefault(utterance.speaker, []).append(utterance)
            self._texts.setdefault(utterance.language, {}).setdefault(utterance.text, []).append(utterance)
        self.languages = sorted(code for code, texts in self._texts.items() if len(texts) > 1)
        self._concepts = _concepts(utterances)
        if "text" in config.pairs and not self.languages:
            raise ValueError("expected a language with two texts at least, got none: train on more speech")
        if "speech" in config.pairs and not self._concepts:
            raise ValueError("expected two things said in two languages, got none: take pairs: [text]")

    def __call__(self, step: int) -> ClvpBatch:
        """The same batch for the same step, always."""
        random = np.random.default_rng([self.config.seed, step])
        early, of_text = step < self.config.n_curriculum_steps, self.config.pairs[0] == "text"
        if len(self.config.pairs) > 1:
            of_text = early or bool(random.random() >= self.config.speech_share)
        return self._of_texts(random, early) if of_text else self._of_speech(random)

    def _of_texts(self, random: np.random.Generator, early: bool) -> ClvpBatch:
        texts = self._texts[self.languages[random.integers(len(self.languages))]]
        names = random.permutation(len(texts))[: _BUCKETS * self.config.batch_size]
        groups = list(texts.values())
        drawn = [self._shortened(self._rendition(groups[name], random), random, early) for name in names.tolist()]
        drawn = self._alike(list({utterance.text: utterance for utterance in drawn}.values()), random)
        symbols = [
            [number - self.vocabulary.first_symbol for number in self.vocabulary.encode_text(utterance.text)]
            for utterance in drawn
        ]
        by_word = [random.random() < self.config.by_word_share for _ in drawn]
        right = [pieces_of(words_of(each), each, words) for each, words in zip(drawn, by_word, strict=True)]
        for _ in range(self.config.n_spoilt):
            for each, words in zip(drawn, by_word, strict=True):
                spoilt = corrupt(words_of(each), self._others(each, random), random)
                right.append(pieces_of(spoilt, each, words))
        return ClvpBatch(pad(symbols), pad(right), True)

    def _of_speech(self, random: np.random.Generator) -> ClvpBatch:
        pairs = sorted(self._concepts)
        source, target = pairs[random.integers(len(pairs))]
        groups = self._concepts[source, target]
        names = random.permutation(len(groups))[: _BUCKETS * self.config.batch_size].tolist()
        drawn = [(self._rendition(groups[name][0], random), self._rendition(groups[name][1], random)) for name in names]
        # Neither side may say the same twice: there would be two right answers.
        drawn = list({two[0].text: two for two in {pair[1].text: pair for pair in drawn}.values()}.values())
        targets = self._alike([pair[1] for pair in drawn], random)
        sources = {id(pair[1]): pair[0] for pair in drawn}
        most = frames_of_seconds(self.config.max_seconds)
        left, right = (
            [each.excerpt(0, most) for each in side] for side in ([sources[id(e)] for e in targets], targets)
        )
        return ClvpBatch(pad(left), pad(right), False)

    def _rendition(self, group: Sequence[Utterance], random: np.random.Generator) -> Utterance:
        """A real or a pseudo voice, as far as the text has both."""
        pseudo = bool(random.random() < self.config.augmented_share)
        wanted = [each for each in group if each.pseudo == pseudo] or group
        return wanted[random.integers(len(wanted))]

    def _shortened(self, utterance: Utterance, random: np.random.Generator, early: bool) -> Utterance:
        """Now and then a few of its words, early on always; of a long one as many as ``max_seconds`` hold."""
        n_words, most = len(utterance.words), frames_of_seconds(self.config.max_seconds)
        first, n_kept = 0, n_words
        if n_words > 1 and (early or random.random() < self.config.cut_share):
            most_words = min(n_words - 1, self.config.curriculum_words) if early else n_words - 1
            n_kept = int(random.integers(1, most_words + 1))
            first = int(random.integers(n_words - n_kept + 1))
        elif utterance.n_frames > most:
            first = int(random.integers(n_words))
        kept = utterance.words[first : first + n_kept]
        n_kept = max(1, sum(word.end - kept[0].start <= most for word in kept))
        return utterance if n_kept == n_words else utterance.cut(first, n_kept)

    def _alike(self, drawn: list[Utterance], random: np.random.Generator) -> list[Utterance]:
        """A batch's worth of utterances of like lengths: harder to tell apart, and less padding."""
        drawn = sorted(drawn, key=lambda each: each.n_frames)
        first = int(random.integers(max(1, len(drawn) - self.config.batch_size + 1)))
        return drawn[first : first + self.config.batch_size]

    def _others(self, utterance: Utterance, random: np.random.Generator) -> list[np.ndarray]:
        """Words of the same voice that the utterance does not have; its own backwards when the voice has no others."""
        own, said = {word.word for word in utterance.words}, self._by_speaker[utterance.speaker]
        found = []
        for place in random.integers(len(said), size=_N_OTHERS).tolist():
            other = said[place]
            word = other.words[random.integers(len(other.words))]
            if word.word not in own:
                found.append(other.tokens[word.start - other.words[0].start : word.end - other.words[0].start])
        return found or [tokens[::-1].copy() for tokens in words_of(utterance)]


def words_of(utterance: Utterance) -> list[np.ndarray]:
    """Tokens of each word."""
    first = utterance.words[0].start
    return [utterance.tokens[word.start - first : word.end - first] for word in utterance.words]


def pieces_of(words: Sequence[np.ndarray], utterance: Utterance, by_word: bool) -> list[int]:
    """Pieces of words, each for itself or across their borders, by the utterance's BPE model."""
    parts = words if by_word else [np.concatenate(list(words))]
    return [piece for part in parts for piece in encode_speech(utterance.tokenizer, part).pieces]


def _concepts(utterances: Sequence[Utterance]) -> dict[tuple[str, str], list[tuple[list[Utterance], list[Utterance]]]]:
    """For each ordered pair of languages, what both say, two things at least."""
    said: dict[str, dict[str, list[Utterance]]] = {}
    for utterance in utterances:
        said.setdefault(utterance.concept, {}).setdefault(utterance.language, []).append(utterance)
    found: dict[tuple[str, str], list[tuple[list[Utterance], list[Utterance]]]] = {}
    for by_language in said.values():
        for source in sorted(by_language):
            for target in sorted(by_language):
                if source != target:
                    found.setdefault((source, target), []).append((by_language[source], by_language[target]))
    return {pair: groups for pair, groups in found.items() if len(groups) > 1}
