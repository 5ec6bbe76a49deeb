"""Speech that the language model draws for texts of the corpus: what CLVP learns to tell from the recordings.

Candidates differ by slips of the tongue, not by their texts. A discriminator between a language model's samples and the
data is what its samples are best weighed by (residual energy-based models, arXiv 2004.11714), so here the samples are
spoilt copies, beside those of :mod:`vectok.clvp.corruption`. *Deviation*: Tortoise's CLVP, and so the paper's as far as
is known, sees recordings alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vectok.frames import frames_of_seconds
from vectok.language_items import TaskConfig
from vectok.lm.batches import draw_prompt
from vectok.lm.data import Utterance
from vectok.lm.generation import Request, generate
from vectok.lm.model import LanguageModel
from vectok.lm.sequences import plain_tts_prefix, tts_text

Copies = Mapping[str, Sequence[Sequence[int]]]


@dataclass(frozen=True, kw_only=True)
class DrawnConfig:
    """How much is drawn.

    Arguments:
        n_drawn: Recordings whose text the language model says again, the languages by turns; 0 for none.
        n_copies: How often.
        max_seconds: Longer recordings are left out.
        seed: Of the choice, the prompts and the noise.
    """

    n_drawn: int
    n_copies: int
    max_seconds: float
    seed: int


def choose(utterances: Sequence[Utterance], config: DrawnConfig) -> list[Utterance]:
    """Recordings, the languages by turns, each language in a seeded order; never renditions in pseudo voices."""
    most, by_language = frames_of_seconds(config.max_seconds), {}
    for each in utterances:
        if not each.pseudo and each.n_frames <= most:
            by_language.setdefault(each.language, []).append(each)
    random, ranked = np.random.default_rng(config.seed), []
    for language in sorted(by_language):
        own = by_language[language]
        ranked += [(rank, language, own[place]) for rank, place in enumerate(random.permutation(len(own)))]
    return [each for _, _, each in sorted(ranked, key=lambda row: row[:2])][: config.n_drawn]


def drawn_copies(
    lm: LanguageModel, utterances: Sequence[Utterance], others: Sequence[Utterance], config: DrawnConfig
) -> dict[str, list[list[int]]]:
    """Pieces that the model draws for the texts of some utterances, as the tasks would: each word for itself.

    Arguments:
        lm: In evaluation mode, trained for tts.
        utterances: To choose from.
        others: Of train: prompts come from those of the same speaker.
        config: Sizes and seed.
    Returns: Copies by the name of the utterance; a copy without pieces is left out.
    """
    random, sampling = np.random.default_rng([config.seed, 1]), TaskConfig()
    n_prompt, requests = frames_of_seconds(sampling.style_seconds), []
    for each in choose(utterances, config) if "tts" in lm.config.tasks else []:
        own = [other for other in others if other.speaker == each.speaker and other.name != each.name]
        prompt = draw_prompt(each, own, n_prompt, random) if own else []
        given = (lm.vocabulary, each.language, prompt, [word.word for word in each.words])
        forced = tts_text(*given) if lm.config.interleaved else (plain_tts_prefix(*given), ())
        requests.append(Request(f"clvp:{each.name}", *forced, config.n_copies))
    found: dict[str, list[list[int]]] = {}
    settings = sampling.generation(config.seed, lm.config.interleaved)
    for one in generate(lm, requests, settings) if requests else []:
        if one.pieces:
            found.setdefault(one.item.removeprefix("clvp:"), []).append(one.pieces)
    return found
