"""How well vectors and tokens tell sounds apart: PNMI over characters, ABX over words.

*Deviation*: the corpora have no phone alignments. Characters and words of the alignment stage stand in for phones. Its
models learnt from the pipeline's own tokens (layer 3, 300 clusters, mean removed), which favours these a little.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from vectok.alignment import AlignedWord
from vectok.evaluation.statistics import Interval

PAUSE = " "
SHORTEST_LETTERS = 3  # of a word of ABX
SHORTEST_FRAMES, LONGEST_FRAMES = 8, 50


class Place(NamedTuple):
    """A word in an utterance: where it stands."""

    utterance: str
    start: int
    end: int


class Triple(NamedTuple):
    """ABX: X says what A says, B says something else. ``language`` is that of all three."""

    language: str
    word: str
    a: Place
    b: Place
    x: Place


def frame_characters(words: Sequence[AlignedWord]) -> list[str]:
    """The character of each frame; the pause behind a word is :data:`PAUSE`.

    Example:
        >>> "".join(frame_characters([AlignedWord("ab", 0, 5, (2, 4)), AlignedWord("c", 5, 6, (6,))]))
        'aabb c'
    """
    found: list[str] = []
    for word in words:
        for character, end in zip(word.word, word.character_ends, strict=True):
            found += [character] * (end - len(found))
        found += [PAUSE] * (word.end - len(found))
    return found


def _information(joint: Float[np.ndarray, "labels clusters"]) -> tuple[float, float]:
    """Mutual information and entropy of the labels, in nats, of a table of counts."""
    shares = joint / joint.sum()
    labels, clusters = shares.sum(1), shares.sum(0)
    expected = labels[:, None] * clusters
    present = shares > 0
    mutual = float((shares[present] * np.log(shares[present] / expected[present])).sum())
    entropy = float(-(labels[labels > 0] * np.log(labels[labels > 0])).sum())
    return mutual, entropy


def pnmi(joints: Mapping[str, Float[np.ndarray, "labels clusters"]]) -> float:
    r"""Share of what the labels are that the tokens tell: :math:`\sum_l I_l / \sum_l H_l`, languages by their frames.

    Example:
        >>> round(pnmi({"en": np.array([[5.0, 0.0], [0.0, 5.0]])}), 6), pnmi({"en": np.ones((2, 2))})
        (1.0, 0.0)
    """
    parts = [(joint.sum(), *_information(joint)) for joint in joints.values()]
    mutual, entropy = (sum(size * part[place] for size, *part in parts) for place in (0, 1))
    return float(mutual / entropy) if entropy else 0.0


def pnmi_interval(counts: Mapping[tuple[str, str], Float[np.ndarray, "labels clusters"]]) -> Interval:
    r"""PNMI with a 95 % interval by the jackknife over prompt groups.

    .. math:: s^2 = \frac{n - 1}{n} \sum_g (\hat p_{-g} - \bar p)^2

    *Deviation*: no bootstrap, which draws groups twice and so makes tables look more informative than they are.

    Arguments:
        counts: Table of labels and tokens of each (language, group); one shape a language.
    """
    totals: dict[str, np.ndarray] = {}
    for (language, _), table in counts.items():
        totals[language] = totals.get(language, 0) + table
    value, groups = pnmi(totals), sorted({group for _, group in counts})
    left_out = []
    for group in groups:
        own = {language: counts[language, group] for language in totals if (language, group) in counts}
        rest = {language: total - own.get(language, 0) for language, total in totals.items()}
        left_out.append(pnmi({language: table for language, table in rest.items() if table.sum()}))
    n_groups = len(groups)
    if n_groups < 2:
        return Interval(value, np.nan, np.nan, n_groups)
    spread = np.sqrt((n_groups - 1) * np.var(left_out))
    return Interval(value, value - 1.96 * float(spread), value + 1.96 * float(spread), n_groups)


def table_of(labels: Sequence[int], tokens: Int[np.ndarray, " frames"], shape: tuple[int, int]) -> np.ndarray:
    """Counts of (label, token)."""
    return (
        np.bincount(np.asarray(labels) * shape[1] + tokens, minlength=shape[0] * shape[1]).reshape(shape).astype(float)
    )


def suitable_words(utterance: str, words: Sequence[AlignedWord]) -> list[tuple[str, Place]]:
    """Words of an utterance that ABX takes: three letters or more, 0.16 to 1 s without the pause behind."""
    return [
        (word.word, Place(utterance, word.start, word.character_ends[-1]))
        for word in words
        if len(word.word) >= SHORTEST_LETTERS
        and SHORTEST_FRAMES <= word.character_ends[-1] - word.start <= LONGEST_FRAMES
    ]


def draw_triples(
    own: Mapping[str, Sequence[tuple[str, Place]]],
    others: Mapping[str, Sequence[tuple[str, Place]]],
    n_each: int,
    seed: int,
) -> list[Triple]:
    """Triples of each language: A and B from ``own``, X from ``others``, B as many letters as A or one more or less.

    Arguments:
        own: Words and places by language.
        others: The same of other renditions, or ``own`` again.
        n_each: Triples of a language, at most.
        seed: Of the draws.
    """
    generator, triples = np.random.default_rng(seed), []
    for language in sorted(own):
        again = {word for word, _ in others.get(language, [])}
        candidates = [each for each in own[language] if each[0] in again]
        for place in generator.permutation(len(candidates))[:n_each]:
            word, a = candidates[place]
            same = [at for name, at in others[language] if name == word and at.utterance != a.utterance]
            other = [at for name, at in own[language] if name != word and abs(len(name) - len(word)) <= 1]
            if same and other:
                b, x = other[generator.integers(len(other))], same[generator.integers(len(same))]
                triples.append(Triple(language, word, a, b, x))
    return triples


def dtw(
    costs: Float[np.ndarray, "pairs rows columns"], lengths: Int[np.ndarray, "pairs 2"]
) -> Float[np.ndarray, " pairs"]:
    r"""Dynamic time warping of many pairs at once: the least sum of costs on a path, over both lengths together.

    .. math:: D_{ij} = c_{ij} + \min(D_{i-1,j}, D_{i,j-1}, D_{i-1,j-1})

    Arguments:
        costs: Of frames against frames, padded.
        lengths: Rows and columns that count.
    Example:
        >>> dtw(np.array([[[0.0, 1.0], [1.0, 0.0]]]), np.array([[2, 2]])).tolist()
        [0.0]
    """
    n_pairs, n_rows, n_columns = costs.shape
    total = np.full((n_pairs, n_rows + 1, n_columns + 1), np.inf)
    total[:, 0, 0] = 0.0
    for diagonal in range(2, n_rows + n_columns + 1):
        i = np.arange(max(1, diagonal - n_columns), min(n_rows, diagonal - 1) + 1)
        j = diagonal - i
        least = np.minimum(np.minimum(total[:, i - 1, j], total[:, i, j - 1]), total[:, i - 1, j - 1])
        total[:, i, j] = costs[:, i - 1, j - 1] + least
    return total[np.arange(n_pairs), lengths[:, 0], lengths[:, 1]] / lengths.sum(1)


def _costs(one: np.ndarray, other: np.ndarray) -> Float[np.ndarray, "rows columns"]:
    """1 - cosine between frames of vectors; 0 or 1 between tokens."""
    if one.ndim == 1:
        return (one[:, None] != other[None]).astype(float)
    one, other = (part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-9) for part in (one, other))
    return 1.0 - one @ other.T


def distances(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Float[np.ndarray, " pairs"]:
    """:func:`dtw` between sequences of vectors [frames, dim] or of tokens [frames]."""
    lengths = np.array([[len(one), len(other)] for one, other in pairs])
    costs = np.zeros((len(pairs), *lengths.max(0)))
    for table, (one, other) in zip(costs, pairs, strict=True):
        table[: len(one), : len(other)] = _costs(one, other)
    return dtw(costs, lengths)


def abx_errors(triples: Sequence[Triple], content: Mapping[str, np.ndarray]) -> Float[np.ndarray, " triples"]:
    """1 where X is nearer to B than to A, a half where as near.

    Arguments:
        triples: From :func:`draw_triples`.
        content: Vectors or tokens of each utterance.
    """

    def cut(place: Place) -> np.ndarray:
        return content[place.utterance][place.start : place.end]

    to_a, to_b = (distances([(cut(x), cut(side)) for x, side in pairs]) for pairs in _sides(triples))
    return (to_a > to_b) + 0.5 * (to_a == to_b)


def _sides(triples: Sequence[Triple]) -> list[list[tuple[Place, Place]]]:
    return [[(triple.x, triple.a) for triple in triples], [(triple.x, triple.b) for triple in triples]]
