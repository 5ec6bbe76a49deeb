r"""Attackers on anonymised speech: how often they still know who spoke, as an equal error rate with its interval.

===============  =====================================================================================================
ignorant         compares anonymised trials with original enrolments
lazy_informed    anonymises the enrolments too, with draws of their own
semi_informed    the same, and re-centres: takes the mean of other speakers' anonymised speech away and whitens what
                 varies within one speaker
===============  =====================================================================================================

An equal error rate of 50 % is perfect privacy. Source: the VoicePrivacy challenges' attackers. *Deviation*: their
semi-informed attacker trains a speaker network on anonymised speech; here the network stays Resemblyzer's, and its
embeddings are adapted.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from vectok.evaluation.statistics import N_DRAWS, Interval

ATTACKERS = ("ignorant", "lazy_informed", "semi_informed")
SHRINKAGE = 0.5  # of the covariance within speakers towards a multiple of the identity
CHUNK_DRAWS = 500


class Trials(NamedTuple):
    """Scores of every comparison: which speaker is tried, against which enrolment, and which trial it is of that."""

    scores: Float[np.ndarray, " pairs"]
    trial_speakers: np.ndarray
    enrolled: np.ndarray
    trial_numbers: np.ndarray

    @property
    def is_target(self) -> Bool[np.ndarray, " pairs"]:
        """Whether trial and enrolment are of one speaker."""
        return self.trial_speakers == self.enrolled


def equal_error_rate(scores: Float[np.ndarray, " pairs"], is_target: Bool[np.ndarray, " pairs"]) -> float:
    """Where as many impostors are let in as targets are turned away, linear between the two nearest thresholds.

    Raises:
        ValueError: No target or no impostor.
    Example:
        >>> equal_error_rate(np.array([0.9, 0.8, 0.7, 0.4, 0.6, 0.5, 0.3, 0.2]), np.arange(8) < 4)
        0.25
    """
    if not is_target.any() or is_target.all():
        raise ValueError(f"expected targets and impostors, got {int(is_target.sum())} targets of {len(scores)} pairs")
    return float(_weighted_rates(scores, is_target, np.ones((1, len(scores))))[0])


def _weighted_rates(
    scores: Float[np.ndarray, " pairs"],
    is_target: Bool[np.ndarray, " pairs"],
    weights: Float[np.ndarray, "draws pairs"],
) -> Float[np.ndarray, " draws"]:
    """Equal error rate of each draw, whose weights say how often each pair stands in it; NaN without either kind."""
    order = np.argsort(scores, kind="stable")
    is_end = np.append(np.diff(scores[order]) > 0, True)  # equal scores fall together
    rates = []
    for kind in (is_target[order], ~is_target[order]):
        below = np.cumsum(weights[:, order] * kind, axis=1)[:, is_end]
        with np.errstate(invalid="ignore"):
            rates.append(np.hstack([np.zeros((len(weights), 1)), below / below[:, -1:]]))
    misses, alarms = rates[0], 1 - rates[1]
    place = np.argmax(misses >= alarms, axis=1)[:, None]
    before = np.maximum(place - 1, 0)
    gaps = [np.take_along_axis(alarms - misses, at, 1) for at in (before, place)]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(gaps[0] > gaps[1], gaps[0] / (gaps[0] - gaps[1]), 0.0)
    ends = [np.take_along_axis(misses, at, 1) for at in (before, place)]
    return (ends[0] + share * (ends[1] - ends[0]))[:, 0]


def eer_interval(trials: Trials, n_draws: int = N_DRAWS, seed: int = 0) -> Interval:
    """Equal error rate with its 95 % interval: speakers are drawn, and inside each its trials.

    A pair's weight in a draw is how often its trial was drawn times how often the enrolled speaker was; a speaker who
    was drawn twice is one person twice.

    Arguments:
        trials: All comparisons.
        n_draws: Bootstrap draws.
        seed: Of the draws.
    """
    generator, found = np.random.default_rng(seed), []
    speakers, enrolled = np.unique(trials.enrolled, return_inverse=True)
    keys = [f"{s}\t{n}" for s, n in zip(trials.trial_speakers, trials.trial_numbers, strict=True)]
    cells, of_pair = np.unique(keys, return_inverse=True)
    owner = np.searchsorted(speakers, [cell.split("\t")[0] for cell in cells])
    for start in range(0, n_draws, CHUNK_DRAWS):
        size = min(CHUNK_DRAWS, n_draws - start)
        drawn = generator.multinomial(len(speakers), np.full(len(speakers), 1 / len(speakers)), size).astype(np.float64)
        counts = _counts_within(drawn, owner, len(speakers), generator)
        weights = counts[:, of_pair] * drawn[:, enrolled]
        same = trials.is_target
        weights[:, same] = counts[:, of_pair[same]]  # a person is compared with himself, however often drawn
        found.append(_weighted_rates(trials.scores, same, weights))
    rates = np.concatenate(found)
    limits = np.nanpercentile(rates, [2.5, 97.5]).tolist()
    return Interval(equal_error_rate(trials.scores, trials.is_target), *limits, len(cells))


def _counts_within(
    drawn: Float[np.ndarray, "draws speakers"], owner: np.ndarray, n_speakers: int, generator: np.random.Generator
) -> Float[np.ndarray, "draws cells"]:
    """How often each trial was drawn: as many times its speaker's number of trials as the speaker was drawn."""
    counts = np.zeros((len(drawn), len(owner)))
    for speaker in range(n_speakers):
        own = np.flatnonzero(owner == speaker)
        if len(own):
            n = (drawn[:, speaker] * len(own)).astype(np.int64)
            counts[:, own] = generator.multinomial(n, np.full(len(own), 1 / len(own)))
    return counts


def unit(embeddings: Float[np.ndarray, "batch dim"]) -> Float[np.ndarray, "batch dim"]:
    """Rows of length one."""
    return embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)


class Recentring(NamedTuple):
    r"""What an informed attacker learns from anonymised speech of other people: :math:`e \mapsto (e - \mu) L`.

    L whitens the covariance within speakers, shrunk towards a multiple of the identity.
    """

    mean: Float[np.ndarray, " dim"]
    whitening: Float[np.ndarray, "dim dim"]

    @classmethod
    def fit(cls, embeddings: Float[np.ndarray, "batch dim"], speakers: Sequence[str]) -> "Recentring":
        """Learns mean and whitening.

        Arguments:
            embeddings: Of anonymised utterances.
            speakers: Who spoke them, originally.
        Raises:
            ValueError: No utterance.
        """
        if not len(embeddings):
            raise ValueError("expected anonymised speech of other speakers to re-centre on, got none")
        names = np.array(speakers)
        means = np.stack([embeddings[names == name].mean(0) for name in names])
        within = (embeddings - means).T @ (embeddings - means) / len(embeddings)
        size = max(float(np.trace(within)) / len(within), 1e-9)
        shrunk = (1 - SHRINKAGE) * within + SHRINKAGE * size * np.eye(len(within))
        return cls(embeddings.mean(0), np.linalg.cholesky(np.linalg.inv(shrunk)))

    def apply(self, embeddings: Float[np.ndarray, "batch dim"]) -> Float[np.ndarray, "batch dim"]:
        """Embeddings as the attacker compares them."""
        return unit((embeddings - self.mean) @ self.whitening)


def compare(
    trials: Float[np.ndarray, "trials dim"],
    trial_speakers: Sequence[str],
    enrolments: Float[np.ndarray, "enrolments dim"],
    enrolment_speakers: Sequence[str],
) -> Trials:
    """Cosines of every trial with every speaker's mean enrolment."""
    names, owners = np.unique(enrolment_speakers), np.array(enrolment_speakers)
    means = unit(np.stack([unit(enrolments[owners == name]).mean(0) for name in names]))
    tried = np.array(trial_speakers)
    numbers = np.array([int((tried[:place] == tried[place]).sum()) for place in range(len(tried))])
    shape = (len(tried), len(names))
    spread = [np.broadcast_to(part, shape).ravel() for part in (tried[:, None], names[None], numbers[:, None])]
    return Trials((unit(trials) @ means.T).ravel(), *spread)


def joined(parts: Sequence[Trials]) -> Trials:
    """Comparisons of several groups of speakers, none between the groups."""
    return Trials(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
