"""Anonymised speech under attack: lists of trials, the clips of every setting, and equal error rates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vectok.codec import InverseKMeans
from vectok.evaluation import attackers
from vectok.evaluation.signal import f0_correlation
from vectok.evaluation.task_scores import Measured
from vectok.store import FeatureStore
from vectok.tasks.anonymise import AnonymisationConfig, draw, preserve
from vectok.tokens import TokenTable
from vectok.vocoder.base import Vocoder
from vectok.vocoder.pitch import track

ENROLMENT, TRIAL = "enrolment", "trial"
ORIGINAL, RESYNTHESIS = "original", "resynthesis"
ATTACKERS_SEED = 1  # added to the seed of the draws with which an attacker anonymises enrolments
KEPT_RENDERINGS = 12
LONGEST_RUN = 16
NARROW_BAND_HZ = 6_000


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """Sizes of the lists.

    Arguments:
        n_enrolments: Utterances that a speaker is known by.
        n_trials: Utterances that a speaker is tried with.
        shortest_seconds: Shortest utterance.
        longest_seconds: Longest.
        seed: Of the choice.
    """

    n_enrolments: int
    n_trials: int
    shortest_seconds: float
    longest_seconds: float
    seed: int


def choose_trials(index: pd.DataFrame, config: TrialConfig) -> pd.DataFrame:
    """Enrolments and trials of every speaker who has enough utterances outside training.

    Returns: Rows of the index with a column ``role``.
    Raises:
        ValueError: Fewer than two such speakers.
    """
    fitting = index["seconds"].between(config.shortest_seconds, config.longest_seconds) & (index["split"] != "train")
    rows = index[fitting].sample(frac=1, random_state=config.seed)
    n_each = config.n_enrolments + config.n_trials
    place = rows.groupby("speaker").cumcount()
    rows = rows.assign(role=np.where(place < config.n_enrolments, ENROLMENT, TRIAL))[place < n_each]
    rows = rows[rows.groupby("speaker")["utterance"].transform("size") == n_each]
    if rows["speaker"].nunique() < 2:
        raise ValueError(f"expected two speakers with {n_each} utterances or more, got fewer: lower n_trials")
    return rows.sort_values(["language", "speaker", "role", "utterance"]).reset_index(drop=True)


def pool_of(store: FeatureStore, n_voices: int, prompt_seconds: float, seed: int) -> dict[str, Tensor]:
    """Prompts of pseudo speakers with the whole band, chosen at random, and spread evenly over their real speakers.

    Arguments:
        store: Of augmented training utterances.
        n_voices: In the pool, at most.
        prompt_seconds: Of each prompt, at least where the voice has as much.
        seed: Of the choice.
    Returns: Vectors by voice.
    """
    rows = store.index[store.index["bandwidth_hz"] >= NARROW_BAND_HZ].sample(frac=1, random_state=seed)
    voices = rows.drop_duplicates("speaker")[["speaker"]].assign(real=lambda v: v["speaker"].str.split("~").str[0])
    order = voices.assign(place=voices.groupby("real").cumcount()).sort_values(["place", "real"], kind="stable")
    pool = {}
    for voice in order["speaker"].head(n_voices):
        parts, seconds = [], 0.0
        for row in rows[rows["speaker"] == voice].itertuples():
            if seconds < prompt_seconds:
                parts, seconds = [*parts, store.vectors(row.utterance)], seconds + row.seconds
        pool[voice] = torch.cat(parts)
    return pool


def settings_of(preservations: Sequence[float], extrapolation: float, seed: int) -> dict[str, AnonymisationConfig]:
    """Every setting that is attacked, by name.

    Arguments:
        preservations: Of the mixtures, per utterance.
        extrapolation: Of one more mixture.
        seed: Of the draws.
    """
    found = {
        "fixed": AnonymisationConfig(method="fixed", seed=seed),
        "random, per speaker": AnonymisationConfig(method="random", level="speaker", seed=seed),
        "random": AnonymisationConfig(method="random", seed=seed),
        "mix 0, per speaker": AnonymisationConfig(level="speaker", seed=seed),
        "mix 0, extrapolated": AnonymisationConfig(extrapolation=extrapolation, seed=seed),
    }
    return found | {f"mix {p:g}": AnonymisationConfig(preservation=p, seed=seed) for p in preservations}


class AnonymisedClips:
    """Makes clips by name, ``utterance|role|setting``; renderings of an utterance in a voice are made once.

    Arguments:
        codec: Tokens and a prompt to vectors.
        vocoder: Vectors to audio.
        store: Recordings and vectors.
        tokens: Tokens.
        pool: Prompts of the voices by name.
        settings: What :func:`settings_of` gives.
        speakers: Speaker of each utterance.
    """

    def __init__(
        self,
        codec: InverseKMeans,
        vocoder: Vocoder,
        store: FeatureStore,
        tokens: TokenTable,
        pool: dict[str, Tensor],
        settings: dict[str, AnonymisationConfig],
        speakers: dict[str, str],
    ) -> None:
        self.codec, self.vocoder, self.store, self.tokens = codec, vocoder, store, tokens
        self.pool, self.settings, self.speakers = pool, settings, speakers
        self.measured: Measured = {}
        self._rendered = lru_cache(KEPT_RENDERINGS)(self._render)

    def make(self, name: str) -> Float[Tensor, " samples"]:
        """Audio of a clip, as long as its recording; trials are measured beside it."""
        utterance, role, setting = name.split("|")
        recording = self.store.audio(utterance)
        if setting == ORIGINAL:
            return recording
        audio = self.vocoder.synthesize(self.vectors(utterance, role, setting)).clamp(-1, 1)[: len(recording)]
        if role == TRIAL:
            self.measured[name] = {"f0_correlation": (f0_correlation(audio, recording), 1.0)}
        return audio

    @torch.inference_mode()
    def vectors(self, utterance: str, role: str, setting: str) -> Float[Tensor, "frames dim"]:
        """Vectors of a clip; an attacker's enrolments are drawn with a seed of the attacker's own."""
        source = self.store.vectors(utterance)
        if setting == RESYNTHESIS:
            return source
        config = self.settings[setting]
        if role == ENROLMENT:
            config = replace(config, seed=config.seed + ATTACKERS_SEED)
        voices, weights = draw(list(self.pool), utterance, self.speakers[utterance], config)
        mixed = sum(weight * self._rendered(utterance, voice) for voice, weight in zip(voices, weights, strict=True))
        return preserve(mixed, source, config.preservation)

    def _render(self, utterance: str, voice: str) -> Float[Tensor, "frames dim"]:
        return self.codec.reconstruct(self.tokens.tokens(utterance), self.pool[voice])


class Side(NamedTuple):
    """Embeddings of some utterances, with their speakers and the group that they are compared within."""

    embeddings: Float[np.ndarray, "batch dim"]
    speakers: np.ndarray
    groups: np.ndarray

    def where(self, chosen: np.ndarray) -> "Side":
        """Some of the rows."""
        return Side(*(part[chosen] for part in self))


def attack(attacker: str, trials: Side, enrolments: Side) -> attackers.Trials:
    """All comparisons of an attacker, speakers of one group with each other only.

    A semi-informed attacker re-centres on the enrolments of the other groups, where there are any, whose speakers are
    others.

    Arguments:
        attacker: One of :data:`vectok.evaluation.attackers.ATTACKERS`; "ignorant" takes original enrolments.
        trials: Anonymised.
        enrolments: Original or anonymised by the attacker.
    """
    found = []
    for group in np.unique(trials.groups):
        tried, known = trials.where(trials.groups == group), enrolments.where(enrolments.groups == group)
        if len(np.unique(known.speakers)) < 2:
            continue  # one voice alone cannot be mistaken
        sides = [tried.embeddings, known.embeddings]
        if attacker == "semi_informed":
            others = enrolments.where(enrolments.groups != group)
            seen = others if len(others.speakers) else known
            learnt = attackers.Recentring.fit(seen.embeddings, seen.speakers.tolist())
            sides = [learnt.apply(side) for side in sides]
        found.append(attackers.compare(sides[0], tried.speakers.tolist(), sides[1], known.speakers.tolist()))
    if not found:
        raise ValueError("expected a group with two speakers or more, got none: compare across languages")
    return attackers.joined(found)


def token_profile(tokens: Int[Tensor, " frames"], n_clusters: int) -> Float[np.ndarray, " clusters"]:
    """Square roots of the shares of each token: what is said, and what of the voice the tokens kept."""
    return (torch.bincount(tokens, minlength=n_clusters).double() / len(tokens)).sqrt().numpy()


def duration_profile(tokens: Int[Tensor, " frames"]) -> Float[np.ndarray, " runs"]:
    """Shares of runs by length, 1 to 16 frames or more: the timing that anonymisation keeps."""
    runs = torch.unique_consecutive(tokens, return_counts=True)[1].clamp(max=LONGEST_RUN)
    return (torch.bincount(runs, minlength=LONGEST_RUN + 1)[1:].double() / len(runs)).sqrt().numpy()


def prosody_profile(audio: Float[Tensor, " samples"]) -> Float[np.ndarray, " features"]:
    """How the pitch moves, without its height: voiced share, spread, quantiles around the median, mean step."""
    pitch = track(audio[: len(audio) - len(audio) % 320][None])
    voiced = pitch.voiced[0]
    if int(voiced.sum()) < 10:
        return np.zeros(7)
    log_f0 = pitch.f0_hz[0][voiced].double().log().numpy()
    centred = log_f0 - np.median(log_f0)
    quantiles = np.quantile(centred, [0.05, 0.25, 0.75, 0.95])
    steps = np.abs(np.diff(log_f0)).clip(max=0.2).mean()
    return np.array([float(voiced.double().mean()), centred.std(), *quantiles, steps])
