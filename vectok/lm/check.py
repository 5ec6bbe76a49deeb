"""How well the model predicts held-out utterances: bits per second of speech and bits per character.

The number to watch is the gain of the right text over another utterance's: it says whether speech follows text.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from vectok.frames import FRAME_RATE_HZ, seconds_of_frames
from vectok.lm.batches import SequenceMaker, collate, draw_prompt
from vectok.lm.data import Utterance, remember, translations
from vectok.lm.memory import TranslationMemory
from vectok.lm.model import LanguageModel
from vectok.lm.objective import predicted
from vectok.lm.sequences import SpokenWord, TaskSequence
from vectok.lm.vocabulary import Vocabulary

SCORED_IDS = 4096  # of one forward pass, padding included


class HeldOut(NamedTuple):
    """Sequences whose loss is on their targets alone: speech with its own text, with another's, asr, translations.

    A task that the model does not learn has no sequences.
    """

    right: list[TaskSequence]
    shuffled: list[TaskSequence]
    asr: list[TaskSequence]
    mt: list[TaskSequence]
    s2st: list[TaskSequence]


class Scored(NamedTuple):
    """One sequence: the summed loss of its targets, their number, and how often the likeliest id of a kind was right.

    ``n_right`` counts targets that lead among text symbols and ``<end>``: it means something for texts alone.
    """

    nats: float
    n_targets: int
    n_right: int


def reworded(utterance: Utterance, other: Utterance) -> Utterance:
    """The speech of one utterance with the words of another, repeated or cut to as many, characters spread evenly."""
    false = utterance.cut(0, len(utterance.words))
    words = [other.words[place % len(other.words)].word for place in range(len(utterance.words))]
    false.words = tuple(aligned._replace(word=word) for aligned, word in zip(utterance.words, words, strict=True))
    false.spoken = tuple(_respelt(word, each) for word, each in zip(words, utterance.spoken, strict=True))
    return false


def _respelt(word: str, spoken: SpokenWord) -> SpokenWord:
    ends = [round((place + 1) * spoken.piece_ends[-1] / len(word)) for place in range(len(word))]
    return spoken._replace(word=word, character_ends=ends)


def held_out(
    dev: Sequence[Utterance], train: Sequence[Utterance], maker: SequenceMaker, prompt_seconds: float
) -> HeldOut:
    """Sequences of dev for the tasks that the model learns, prompted by training speech of the same speaker.

    Arguments:
        dev: Recordings of the split dev.
        train: Of the split train, for prompts and for matches of translations.
        maker: Makes sequences; its weight of contexts is taken as 0.
        prompt_seconds: Length of the prompts.
    """
    tasks, random = maker.config.task_shares, np.random.default_rng(maker.config.seed)
    strict = SequenceMaker(maker.vocabulary, replace(maker.config, context_weight=0.0))
    right, shuffled = [], []
    for utterance in dev:
        own = [other for other in train if other.speaker == utterance.speaker]
        prompt = draw_prompt(utterance, own, round(prompt_seconds * FRAME_RATE_HZ), random) if own else []
        others = [u for u in dev if u.language == utterance.language and u.text != utterance.text] or [utterance]
        false = reworded(utterance, others[random.integers(len(others))])
        right.append(_speech_alone(strict.tts(utterance, prompt), maker.vocabulary))
        shuffled.append(_speech_alone(strict.tts(false, prompt), maker.vocabulary))
    heard = [strict.asr(utterance) for utterance in dev] if tasks.get("asr") else []
    pairs = [(a, b) for group in translations(dev) for a in group for b in group if a is not b]
    read = _translated(pairs, remember(train if maker.config.match_share else []), strict) if tasks.get("mt") else []
    translated = [strict.s2st(*pair) for pair in pairs] if tasks.get("s2st") else []
    spoken = (right, shuffled) if tasks.get("tts") else ([], [])
    return HeldOut(*spoken, heard, read, translated)


def _translated(
    pairs: Sequence[tuple[Utterance, Utterance]], memory: TranslationMemory, maker: SequenceMaker
) -> list[TaskSequence]:
    matches = [memory.nearest(source.language, source.text, target.language) for source, target in pairs]
    return [maker.mt(*pair, match) for pair, match in zip(pairs, matches, strict=True)]


def _speech_alone(found: TaskSequence, vocabulary: Vocabulary) -> TaskSequence:
    """What is said counts, not when the text goes on within a word: two texts differ in length."""
    kept = [not vocabulary.first_symbol <= i < vocabulary.first_piece for i in found.ids]
    return found._replace(weights=[weight * keep for weight, keep in zip(found.weights, kept, strict=True)])


def _groups(found: Sequence[TaskSequence]) -> list[list[int]]:
    """Places of sequences of like lengths, :data:`SCORED_IDS` padded ids together."""
    order = sorted(range(len(found)), key=lambda place: -len(found[place].ids))
    groups, first = [], 0
    while first < len(order):
        n_rows = max(1, SCORED_IDS // len(found[order[first]].ids))
        groups.append(order[first : first + n_rows])
        first += n_rows
    return groups


@torch.no_grad()
def score(model: LanguageModel, found: Sequence[TaskSequence]) -> list[Scored]:
    """Loss of every sequence, in the order given.

    Arguments:
        model: In evaluation mode.
        found: Sequences; every id whose weight is not 0 counts, and counts once.
    """
    scored: list[Scored] = [Scored(0.0, 0, 0)] * len(found)
    written = _written(model)
    for group in _groups(found):
        batch = collate([found[place] for place in group], model.vocabulary.tag("pad"))
        ids, weights, _ = (part.to(written.device) for part in batch)
        places = predicted(weights)
        logits = model.logits(model.hidden(ids)[:, :-1][places]).float()
        targets = ids[:, 1:][places]
        nats = cross_entropy(logits, targets, reduction="none")
        right = logits.masked_fill(~written, -math.inf).argmax(-1) == targets
        rows = places.nonzero()[:, 0]
        for row, place in enumerate(group):
            here = rows == row
            scored[place] = Scored(float(nats[here].sum()), int(here.sum()), int(right[here].sum()))
    return scored


def _written(model: LanguageModel) -> Bool[Tensor, " vocab"]:
    """Text symbols and ``<end>``."""
    every = torch.arange(model.vocabulary.n_ids, device=next(model.parameters()).device)
    return model.vocabulary.is_symbol(every) | (every == model.vocabulary.tag("end"))


def bits_per_second(scored: Sequence[Scored], found: Sequence[TaskSequence]) -> float:
    r"""Bits per second of speech: :math:`\sum \mathrm{nats} / (\ln 2 \sum \mathrm{seconds})`."""
    return sum(each.nats for each in scored) / math.log(2) / seconds_of_frames(sum(each.n_frames for each in found))


def bits_per_target(scored: Sequence[Scored]) -> float:
    r"""Bits per target: :math:`\sum \mathrm{nats} / (\ln 2 \sum n)`."""
    return sum(each.nats for each in scored) / math.log(2) / sum(each.n_targets for each in scored)


def target_counts(found: Sequence[TaskSequence], n_ids: int) -> Int[np.ndarray, " vocab"]:
    """How often each id is a target of full weight."""
    ids = [i for each in found for i, weight in zip(each.ids, each.weights, strict=True) if weight == 1.0]
    return np.bincount(ids, minlength=n_ids)


def unigram_bits_per_second(
    counts: Int[np.ndarray, " vocab"], found: Sequence[TaskSequence], smoothing: float = 0.5
) -> float:
    """What the targets would cost if each were drawn by its frequency in training: the floor of every model.

    Arguments:
        counts: Of training targets (:func:`target_counts`).
        found: Held-out sequences.
        smoothing: Pseudo-count of every id that is a target anywhere.
    """
    held = target_counts(found, len(counts))
    possible = (counts > 0) | (held > 0)
    shares: Float[np.ndarray, " vocab"] = np.where(possible, counts + smoothing, 1.0)
    bits = -np.log2(shares / shares[possible].sum())
    return float((held * bits).sum() / seconds_of_frames(sum(each.n_frames for each in found)))


def measure(model: LanguageModel, found: HeldOut) -> dict[str, float]:
    """The numbers of the learning curve.

    Returns: ``right_bits_per_second``, ``shuffled_bits_per_second``, ``gain_bits_per_second``; ``asr_bits_per_symbol``
        and ``asr_cer_percent`` (teacher-forced: the likeliest symbol at the true place, given the true ones before);
        ``mt_bits_per_symbol``; ``s2st_bits_per_second``. Only the tasks that have sequences.
    """
    numbers: dict[str, float] = {}
    if found.right:
        right, shuffled = (bits_per_second(score(model, part), part) for part in (found.right, found.shuffled))
        numbers |= {"right_bits_per_second": right, "shuffled_bits_per_second": shuffled}
        numbers["gain_bits_per_second"] = shuffled - right
    if found.asr:
        scored = score(model, found.asr)
        numbers["asr_bits_per_symbol"] = bits_per_target(scored)
        share = sum(each.n_right for each in scored) / sum(each.n_targets for each in scored)
        numbers["asr_cer_percent"] = 100 * (1 - share)
    if found.mt:
        numbers["mt_bits_per_symbol"] = bits_per_target(score(model, found.mt))
    if found.s2st:
        numbers["s2st_bits_per_second"] = bits_per_second(score(model, found.s2st), found.s2st)
    return numbers


def by_utterance(model: LanguageModel, found: HeldOut, dev: Sequence[Utterance]) -> pd.DataFrame:
    """Bits per second of every held-out utterance, with its own text and with another's.

    Arguments:
        model: In evaluation mode.
        found: What :func:`held_out` made of ``dev``.
        dev: In the same order.
    Returns: ``utterance``, ``language``, ``seconds``, ``right`` and ``shuffled`` (bits in all).
    """
    right, shuffled = (
        [each.nats / math.log(2) for each in score(model, part)] for part in (found.right, found.shuffled)
    )
    return pd.DataFrame(
        {
            "utterance": [utterance.name for utterance in dev],
            "language": [utterance.language for utterance in dev],
            "seconds": [seconds_of_frames(utterance.n_frames) for utterance in dev],
            "right": right,
            "shuffled": shuffled,
        }
    )


def by_language(scores: pd.DataFrame) -> pd.DataFrame:
    """Bits per second with the right and the shuffled text, the gain, and the share of utterances that gain."""
    totals = scores.groupby("language")[["right", "shuffled", "seconds"]].sum()
    rates = totals[["right", "shuffled"]].div(totals["seconds"], axis=0)
    wins = scores.assign(wins=scores["right"] < scores["shuffled"]).groupby("language")["wins"].mean()
    return rates.assign(gain=rates["shuffled"] - rates["right"], share_gaining=wins)


def per_language(utterances: Sequence[Utterance], n_most: int) -> list[Utterance]:
    """The first ``n_most`` utterances of every language, in the order given."""
    taken: Counter[str] = Counter()
    kept = []
    for utterance in utterances:
        taken[utterance.language] += 1
        if taken[utterance.language] <= n_most:
            kept.append(utterance)
    return kept


def summary(utterances: Sequence[Utterance]) -> pd.DataFrame:
    """Utterances, minutes, words, different words and voices of each language, recordings and pseudo voices apart."""
    rows = [
        (u.language, u.pseudo, seconds_of_frames(u.n_frames) / 60, [word.word for word in u.words], u.speaker)
        for u in utterances
    ]
    table = pd.DataFrame(rows, columns=["language", "pseudo", "minutes", "words", "speaker"])
    return table.groupby(["language", "pseudo"]).agg(
        utterances=("minutes", "size"),
        minutes=("minutes", "sum"),
        words=("words", lambda lists: sum(map(len, lists))),
        different_words=("words", lambda lists: len(set().union(*lists))),
        voices=("speaker", "nunique"),
    )


def curve(history: pd.DataFrame, final: dict[str, float]) -> pd.DataFrame:
    """What was measured during a training and after it: ``step``, ``measure``, ``value``.

    Arguments:
        history: Of :func:`vectok.training.fit` with an :class:`~vectok.lm.objective.LMObjective`.
        final: Of :func:`measure`, after the last step.
    """
    measured = history[["step", *final]].dropna()
    last = pd.DataFrame([{"step": len(history), **final}])
    return pd.concat([measured, last]).melt("step", var_name="measure", value_name="value")
