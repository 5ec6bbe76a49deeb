"""How well CLVP finds, on held-out utterances: the right speech among others, and among spoilt copies of itself."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vectok.clvp.batches import pieces_of, words_of
from vectok.clvp.corruption import corrupt
from vectok.clvp.model import Clvp
from vectok.clvp.ranking import latents
from vectok.lm.data import Utterance


class HeldOut(NamedTuple):
    """Groups of utterances of one language and of different texts; ``spoilt[i]`` are copies of ``utterances[i]``.

    ``translations`` are groups of pairs that say the same in two languages.
    """

    groups: list[list[Utterance]]
    utterances: list[Utterance]
    spoilt: list[list[list[int]]]
    translations: list[list[tuple[Utterance, Utterance]]]


def _grouped(found: list, n: int) -> list[list]:
    """Whole groups of n; the few that are left over make none, unless there is no other."""
    return [found[first : first + n] for first in range(0, len(found) - n + 1, n)] or [found]


def held_out(dev: Sequence[Utterance], n_among: int, n_spoilt: int, seed: int) -> HeldOut:
    """Tests of retrieval within ``n_among`` utterances, the same ones for the same seed.

    Arguments:
        dev: Recordings of the split dev.
        n_among: Size of a group.
        n_spoilt: Spoilt copies of each utterance.
        seed: Of groups and copies.
    """
    random = np.random.default_rng(seed)
    groups, translations, languages = [], [], sorted({utterance.language for utterance in dev})
    for language in languages:
        texts = {utterance.text: utterance for utterance in dev if utterance.language == language}
        groups += _grouped([list(texts.values())[place] for place in random.permutation(len(texts))], n_among)
    for source in languages:
        for target in languages:
            said = {utterance.concept: utterance for utterance in dev if utterance.language == source}
            pairs = [(said[u.concept], u) for u in dev if u.language == target and u.concept in said]
            if source != target and len(pairs) > 1:
                translations += _grouped([pairs[place] for place in random.permutation(len(pairs))], n_among)
    spoilt = [[_spoil(utterance, dev, random) for _ in range(n_spoilt)] for utterance in dev]
    return HeldOut(groups, list(dev), spoilt, translations)


def _spoil(utterance: Utterance, dev: Sequence[Utterance], random: np.random.Generator) -> list[int]:
    """A copy that differs from the utterance."""
    own = {word.word for word in utterance.words}
    said = [
        other for other in dev if other.speaker == utterance.speaker and own.isdisjoint(w.word for w in other.words)
    ]
    said = said or [utterance]
    others = [word for other in random.choice(np.array(said, dtype=object), 4) for word in words_of(other)]
    return pieces_of(corrupt(words_of(utterance), others, random), utterance, False)


def cosines(model: Clvp, texts: Sequence[str], spoken: Sequence[Sequence[int]]) -> Float[Tensor, "texts utterances"]:
    """Cosine of every text with every utterance's pieces."""
    return latents(model, [model.symbols(text) for text in texts], "text") @ latents(model, spoken, "speech").T


def _found(matrix: Float[Tensor, "left right"]) -> Float[Tensor, " left"]:
    """1 where the diagonal is the row's greatest, 0 elsewhere."""
    own = torch.arange(len(matrix), device=matrix.device)
    return (matrix.argmax(1) == own).float()


class Retrieval(NamedTuple):
    """Share of texts that find their speech, of speech that finds its text, and what chance would find."""

    speech: float
    text: float
    chance: float


def _retrieval(matrices: Sequence[Float[Tensor, "left right"]]) -> Retrieval:
    n_items = sum(len(matrix) for matrix in matrices)
    speech, text = (float(torch.cat([_found(m) for m in part]).mean()) for part in (matrices, [m.T for m in matrices]))
    return Retrieval(speech, text, len(matrices) / n_items)


def retrieval(model: Clvp, found: HeldOut) -> Retrieval:
    """Within groups of one language: does each text find its speech, and each utterance its text?"""
    return _retrieval([cosines(model, [u.text for u in g], [u.speech.pieces for u in g]) for g in found.groups])


def translation_retrieval(model: Clvp, found: HeldOut) -> Retrieval:
    """Within groups of one pair of languages: does each utterance find its translation, and the other way about?"""
    matrices = []
    for group in found.translations:
        source, target = (latents(model, [pair[side].speech.pieces for pair in group], role)
                          for side, role in enumerate(("source", "target")))  # fmt: skip
        matrices.append(source @ target.T)
    return _retrieval(matrices)


def true_over_spoilt(model: Clvp, found: HeldOut) -> float:
    """Share of the spoilt copies that are farther from the text than the utterance itself; chance finds a half."""
    counts = torch.tensor([len(own) for own in found.spoilt])
    texts = latents(model, [model.symbols(utterance.text) for utterance in found.utterances], "text")
    true = latents(model, [utterance.speech.pieces for utterance in found.utterances], "speech")
    cosines = (texts * true).sum(-1).repeat_interleave(counts)
    rows = latents(model, [row for own in found.spoilt for row in own], "speech")
    return float(((texts.repeat_interleave(counts, 0) * rows).sum(-1) < cosines).float().mean())


def measure(model: Clvp, found: HeldOut, pairs: Sequence[str]) -> dict[str, float]:
    """The numbers of the learning curve, in percent: ``speech_found``, ``text_found``, ``true_over_spoilt``.

    With pairs of speech also ``target_found`` and ``source_found``.
    """
    numbers: dict[str, float] = {}
    if "text" in pairs:
        own = retrieval(model, found)
        numbers = {
            "speech_found": own.speech,
            "text_found": own.text,
            "true_over_spoilt": true_over_spoilt(model, found),
        }
    if "speech" in pairs and found.translations:
        across = translation_retrieval(model, found)
        numbers |= {"target_found": across.speech, "source_found": across.text}
    return {name: 100 * value for name, value in numbers.items()}
