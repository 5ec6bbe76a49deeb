"""Who speaks, read off utterance means, residuals and tokens: named by a linear classifier, verified by cosine."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from vectok.evaluation.attackers import compare, eer_interval
from vectok.evaluation.statistics import Interval

HELD_OUT_EVERY = 3  # every third utterance of a speaker


class Found(NamedTuple):
    """Whether each held-out utterance's speaker was named right, and the equal error rate of verification."""

    right: Bool[np.ndarray, " trials"]
    eer: Interval


def held_out(speakers: Sequence[str]) -> Bool[np.ndarray, " utterances"]:
    """Every third utterance of each speaker.

    Example:
        >>> held_out(["a", "a", "b", "a"]).tolist()
        [False, False, False, True]
    """
    return np.array([speakers[: place + 1].count(name) % HELD_OUT_EVERY == 0 for place, name in enumerate(speakers)])


def summary(vectors: Float[np.ndarray, "frames dim"], residual: bool) -> Float[np.ndarray, " dim"]:
    """What is judged of an utterance: its mean, or each channel's deviation around it."""
    return vectors.std(0) if residual else vectors.mean(0)


def histogram(tokens: Int[np.ndarray, " frames"], n_clusters: int) -> Float[np.ndarray, " clusters"]:
    """Square roots of the shares of the tokens."""
    return np.sqrt(np.bincount(tokens, minlength=n_clusters) / len(tokens))


def judge(features: Float[np.ndarray, "utterances dim"], speakers: Sequence[str], n_draws: int, seed: int) -> Found:
    """Names and verifies the speakers of held-out utterances by one vector an utterance.

    Verification compares, by cosine and with the mean of all known utterances taken away, each held-out utterance with
    the mean of every speaker's known ones.

    Arguments:
        features: One row an utterance.
        speakers: Theirs.
        n_draws: Bootstrap draws of the EER's interval.
        seed: Of the draws.
    """
    held, names = held_out(list(speakers)), np.array(speakers)
    known, tried = features[~held], features[held]
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(known, names[~held])
    right = model.predict(tried) == names[held]
    centre = known.mean(0)
    trials = compare(tried - centre, names[held].tolist(), known - centre, names[~held].tolist())
    return Found(right, eer_interval(trials, n_draws, seed))
