"""Pairs of phrases that translate each other, found in texts that say the same.

Sentences are few, some hundred in each pair of languages, and a model that reads characters sees each word of them in
one or two places. Words are aligned by IBM's model 1 in both directions, and phrases taken where both agree (Och and
Ney, "A systematic comparison of various statistical alignment models", 2003; NLTK does both). *Deviation*: the paper
has translated speech enough to do without.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

from tqdm import tqdm

from vectok.lm.vocabulary import SEPARATOR

N_ITERATIONS = 5  # of the expectation maximisation


class Text(NamedTuple):
    """What a language has for it."""

    language: str
    text: str


class PhrasePair(NamedTuple):
    """A phrase, its translation, and how often the texts have both."""

    source: Text
    target: Text
    count: int


def _links(sources: Sequence[list[str]], targets: Sequence[list[str]]) -> list[set[tuple[int, int]]]:
    """Places of words that belong together in each pair of sentences: (source, target)."""
    from nltk.translate import AlignedSent, IBMModel1

    sentences = [AlignedSent(*pair) for pair in zip(sources, targets, strict=True)]
    IBMModel1(sentences, N_ITERATIONS)
    return [{(one, other) for one, other in each.alignment if other is not None} for each in sentences]


def _phrases(sources: Sequence[str], targets: Sequence[str], max_words: int) -> Counter[tuple[str, str]]:
    """Phrases of some words at most on either side, with their numbers."""
    from nltk.translate.phrase_based import phrase_extraction

    words = [[text.split(SEPARATOR) for text in texts] for texts in (sources, targets)]
    there, back = _links(*words), _links(*reversed(words))
    found: Counter[tuple[str, str]] = Counter()
    for source, target, links, reverse in zip(sources, targets, there, back, strict=True):
        agreed = sorted(links & {(one, other) for other, one in reverse})
        pairs = {(phrase[2], phrase[3]) for phrase in phrase_extraction(source, target, agreed, max_words)}
        found.update(pair for pair in pairs if pair[1].count(SEPARATOR) < max_words)
    return found


@lru_cache(maxsize=1)
def phrase_pairs(groups: tuple[tuple[Text, ...], ...], max_words: int, least_count: int = 2) -> tuple[PhrasePair, ...]:
    """Phrases that translate each other, in both directions of every pair of languages; kept for the next who asks.

    Arguments:
        groups: Texts that say the same, one a language at most.
        max_words: Of a phrase, on either side.
        least_count: Rarer pairs are mostly wrong, and left out.
    Returns: In the order of languages, then the commonest first; equal ones by their letters.
    """
    sides: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for group in groups:
        for one, other in combinations(sorted(group), 2):
            if one.text and other.text and one.language != other.language:
                sides.setdefault((one.language, other.language), []).append((one.text, other.text))
    found: list[PhrasePair] = []
    for languages, texts in tqdm(sorted(sides.items()), desc="phrases", mininterval=10):
        counted = _phrases(*zip(*texts, strict=True), max_words)
        for pair, count in sorted(counted.items(), key=lambda each: (-each[1], each[0])):
            if count >= least_count:
                one, other = (Text(*each) for each in zip(languages, pair, strict=True))
                found += [PhrasePair(one, other, count), PhrasePair(other, one, count)]
    return tuple(found)
