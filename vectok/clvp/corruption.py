"""Spoilt copies of an utterance, as a language model spoils them: words swapped, dropped, cut short, repeated.

Other words come from the same voice, so that nothing but the words gives a copy away.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int

Tokens = Int[np.ndarray, " _frames"]
SHORTEST_PART = 2  # frames that are left of a word that is cut


def swap(words: Sequence[Tokens], others: Sequence[Tokens], random: np.random.Generator) -> list[Tokens]:
    """Puts other words in the place of one word or more, at most half of them."""
    spoilt = list(words)
    n_swapped = int(random.integers(1, len(words) // 2 + 2)) if len(words) > 1 else 1
    for place in random.choice(len(words), n_swapped, replace=False).tolist():
        spoilt[place] = others[random.integers(len(others))]
    return spoilt


def drop(words: Sequence[Tokens], others: Sequence[Tokens], random: np.random.Generator) -> list[Tokens]:
    """Leaves out a stretch of words, at most half of them; of a single word, its beginning or end."""
    if len(words) == 1:
        return cut(words, others, random)
    n_dropped = int(random.integers(1, len(words) // 2 + 1))
    first = int(random.integers(len(words) - n_dropped + 1))
    return [*words[:first], *words[first + n_dropped :]]


def cut(words: Sequence[Tokens], others: Sequence[Tokens], random: np.random.Generator) -> list[Tokens]:
    """Leaves a third to two thirds of one word, its beginning or its end; where all are too short, swaps one."""
    long_enough = [place for place, word in enumerate(words) if len(word) > SHORTEST_PART]
    if not long_enough:
        return swap(words, others, random)
    place = long_enough[random.integers(len(long_enough))]
    word = words[place]
    n_kept = max(SHORTEST_PART, round(len(word) * random.uniform(1 / 3, 2 / 3)))
    part = word[:n_kept] if random.random() < 0.5 else word[-n_kept:]
    return [*words[:place], part, *words[place + 1 :]]


def repeat(words: Sequence[Tokens], others: Sequence[Tokens], random: np.random.Generator) -> list[Tokens]:
    """Says a stretch of one to three words twice."""
    n_repeated = int(random.integers(1, min(3, len(words)) + 1))
    first = int(random.integers(len(words) - n_repeated + 1))
    return [*words[: first + n_repeated], *words[first:]]


def insert(words: Sequence[Tokens], others: Sequence[Tokens], random: np.random.Generator) -> list[Tokens]:
    """Says another word somewhere in between."""
    place = int(random.integers(len(words) + 1))
    return [*words[:place], others[random.integers(len(others))], *words[place:]]


Spoil = Callable[[Sequence[Tokens], Sequence[Tokens], np.random.Generator], list[Tokens]]
SPOILS: tuple[tuple[Spoil, float], ...] = ((swap, 0.5), (drop, 0.15), (cut, 0.15), (repeat, 0.1), (insert, 0.1))


def corrupt(words: Sequence[Tokens], others: Sequence[Tokens], random: np.random.Generator) -> list[Tokens]:
    """Spoils an utterance in one way, drawn by the weights of :data:`SPOILS`.

    Arguments:
        words: Tokens of each word.
        others: Tokens of words that do not stand in the text, in the same voice.
        random: Source of the draws.
    """
    ways, weights = zip(*SPOILS, strict=True)
    return ways[random.choice(len(ways), p=weights)](words, others, random)
