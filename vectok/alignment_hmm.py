"""A left-to-right hidden Markov model of characters over semantic tokens: which frames does each character last?

One state a character, silence before, between and after the words that may be left out; a state lasts one frame at
least. Each character has a distribution over the codebook, trained by Viterbi re-estimation from a flat start.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

SILENCE = 0  # its symbol; the characters of an alphabet count from 1
MOST_CELLS = 4_000_000  # frames x utterances x states that one batch of the Viterbi keeps
IMPOSSIBLE = np.float32(-1e9)


class Reading(NamedTuple):
    """What the model reads of one utterance: the symbols of its :func:`states`, and its tokens."""

    states: Int[np.ndarray, " states"]
    tokens: Int[np.ndarray, " frames"]


class Hmm(NamedTuple):
    r"""Log-probabilities of one language.

    ``emissions[c, k]`` is :math:`\log p(k | c)`, ``stay[c]`` that of one more frame in a state of symbol c, ``pause``
    that silence follows a word inside an utterance.
    """

    emissions: Float[np.ndarray, "symbols clusters"]
    stay: Float[np.ndarray, " symbols"]
    pause: float


class Paths(NamedTuple):
    """State of every frame of each utterance, and the log-likelihood of each path."""

    states: list[Int[np.ndarray, " _frames"]]
    log_likelihoods: Float[np.ndarray, " utterances"]


def states(words: Sequence[Sequence[int]]) -> Int[np.ndarray, " states"]:
    """Symbols of the states of an utterance: silence, a word, silence, a word, ..., silence.

    Example:
        >>> states([[1, 2], [3]]).tolist()
        [0, 1, 2, 0, 3, 0]
    """
    return np.array([SILENCE, *(symbol for word in words for symbol in (*word, SILENCE))], dtype=np.int64)


def _padded(readings: Sequence[Reading]) -> tuple[np.ndarray, np.ndarray]:
    """States and tokens of a batch, padded on the right with -1 and 0."""
    symbols = np.full((len(readings), max(len(r.states) for r in readings)), -1)
    tokens = np.zeros((len(readings), max(len(r.tokens) for r in readings)), dtype=np.int64)
    for row, reading in enumerate(readings):
        symbols[row, : len(reading.states)] = reading.states
        tokens[row, : len(reading.tokens)] = reading.tokens
    return symbols, tokens


class _Moves(NamedTuple):
    """Log-probabilities of arriving in each state from itself, from the one before, and past a silence."""

    stay: Float[np.ndarray, "batch states"]
    step: Float[np.ndarray, "batch states"]
    skip: Float[np.ndarray, "batch states"]


def _moves(symbols: Int[np.ndarray, "batch states"], model: Hmm) -> _Moves:
    leave = np.log1p(-np.exp(model.stay))[symbols]
    silent, shape = symbols == SILENCE, symbols.shape
    step, skip = np.full(shape, IMPOSSIBLE, np.float32), np.full(shape, IMPOSSIBLE, np.float32)
    inside = silent.copy()
    inside[:, 0] = False
    step[:, 1:] = leave[:, :-1] + np.where(inside[:, 1:], model.pause, 0.0)
    skip[:, 2:] = np.where(silent[:, 1:-1], leave[:, :-2] + np.log1p(-np.exp(model.pause)), IMPOSSIBLE)
    return _Moves(model.stay[symbols].astype(np.float32), step, skip)


def _forward(readings: Sequence[Reading], model: Hmm) -> tuple[np.ndarray, np.ndarray]:
    """Best predecessors (0 itself, 1 the one before, 2 past a silence) of every frame, and every row's last scores."""
    symbols, tokens = _padded(readings)
    moves, lengths = _moves(symbols, model), np.array([len(reading.tokens) for reading in readings])
    padding, places = symbols < 0, symbols.clip(0) * model.emissions.shape[1]
    log_emissions = np.ascontiguousarray(model.emissions).ravel()
    scores, step, skip = (np.full(symbols.shape, IMPOSSIBLE, np.float32) for _ in range(3))
    scores[:, :2] = log_emissions[places[:, :2] + tokens[:, :1]]
    last = scores.copy()
    came = np.zeros((tokens.shape[1], *symbols.shape), dtype=np.uint8)
    for t in range(1, tokens.shape[1]):
        np.add(scores[:, :-1], moves.step[:, 1:], out=step[:, 1:])
        np.add(scores[:, :-2], moves.skip[:, 2:], out=skip[:, 2:])
        scores += moves.stay
        np.greater(step, scores, out=came[t].view(bool))
        np.maximum(scores, step, out=scores)
        came[t][skip > scores] = 2
        np.maximum(scores, skip, out=scores)
        scores += log_emissions.take(places + tokens[:, t, None])
        scores[padding] = IMPOSSIBLE
        last[lengths > t] = scores[lengths > t]
    return came, last


def viterbi(readings: Sequence[Reading], model: Hmm) -> Paths:
    r"""Best path of each utterance.

    .. math:: \arg\max_{q} \sum_t \log p(k_t | q_t) + \log p(q_t | q_{t-1})

    over paths that begin in the first silence or the first character and end in the last character or silence.

    Arguments:
        readings: Utterances of like length; none has fewer frames than characters.
        model: Of their language.
    Raises:
        ValueError: An utterance has no path, as it has more characters than frames.
    """
    came, last = _forward(readings, model)
    paths, scores = [], []
    for row, reading in enumerate(readings):
        ends = last[row, len(reading.states) - 2 : len(reading.states)]
        state, score = len(reading.states) - 2 + int(ends.argmax()), float(ends.max())
        if score < IMPOSSIBLE / 2:
            raise ValueError(
                f"expected a frame or more a character, got {len(reading.tokens)} frames for "
                f"{int((reading.states != SILENCE).sum())} characters: leave this utterance out"
            )
        path = np.empty(len(reading.tokens), dtype=np.int64)
        for t in range(len(path) - 1, -1, -1):
            path[t] = state
            state -= int(came[t, row, state])
        paths.append(path)
        scores.append(score)
    return Paths(paths, np.array(scores))


def batches(readings: Sequence[Reading]) -> Iterator[list[int]]:
    """Places of utterances, those of like length together, as many as the memory of a batch holds."""
    order = sorted(range(len(readings)), key=lambda i: (len(readings[i].tokens), len(readings[i].states)))
    part: list[int] = []
    for place in order:
        widest = max(len(readings[i].states) for i in (*part, place))
        if part and (len(part) + 1) * widest * len(readings[place].tokens) > MOST_CELLS:
            yield part
            part = []
        part.append(place)
    if part:
        yield part


def align(readings: Sequence[Reading], model: Hmm) -> Paths:
    """:func:`viterbi` of any utterances, in their order."""
    paths: list[np.ndarray] = [np.empty(0, dtype=np.int64)] * len(readings)
    scores = np.zeros(len(readings))
    for places in batches(readings):
        found = viterbi([readings[i] for i in places], model)
        scores[places] = found.log_likelihoods
        for place, path in zip(places, found.states, strict=True):
            paths[place] = path
    return Paths(paths, scores)


def flat_path(reading: Reading, quiet: Bool[np.ndarray, " frames"]) -> Int[np.ndarray, " frames"]:
    """Where training starts: quiet frames in silence, the others shared equally by the characters."""
    places = np.flatnonzero(reading.states != SILENCE)
    n_loud = max(1, int((~quiet).sum()))
    share = np.minimum(np.cumsum(~quiet) - 1, n_loud - 1).clip(0) * len(places) // n_loud
    return np.where(quiet, 0, places[share])


def estimate(
    readings: Sequence[Reading],
    paths: Sequence[Int[np.ndarray, " _frames"]],
    n_symbols: int,
    n_clusters: int,
    smoothing: float,
) -> Hmm:
    r"""Counts along paths, with Laplace's smoothing.

    .. math:: p(k | c) = \frac{n_{ck} + \alpha}{n_c + \alpha K}, \qquad p(\text{stay} | c) = 1 - \frac{v_c}{n_c}

    with :math:`n_{ck}` frames of token k in symbol c, :math:`v_c` visits of c.

    Arguments:
        readings: Utterances.
        paths: State of every frame of each.
        n_symbols: Characters and silence.
        n_clusters: Size K of the codebook.
        smoothing: The pseudo-count alpha of every token.
    """
    counts, visits = np.zeros((n_symbols, n_clusters)), np.zeros(n_symbols)
    n_gaps, n_pauses = 0, 0
    for reading, path in zip(readings, paths, strict=True):
        np.add.at(counts, (reading.states[path], reading.tokens), 1)
        visited = np.unique(path)
        np.add.at(visits, reading.states[visited], 1)
        gaps = np.flatnonzero(reading.states == SILENCE)[1:-1]
        n_gaps, n_pauses = n_gaps + len(gaps), n_pauses + int(np.isin(gaps, visited).sum())
    totals = counts.sum(1)
    emissions = np.log((counts + smoothing) / (totals + smoothing * n_clusters)[:, None])
    stay = np.log(1 - (visits + 1) / (totals + visits + 2))
    return Hmm(emissions.astype(np.float32), stay.astype(np.float32), float(np.log((n_pauses + 1) / (n_gaps + 2))))
