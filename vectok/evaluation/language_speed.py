"""Times the language models: candidates of one prompt, side by side with transformers, and best of N for one text."""

import time

import pandas as pd
import torch

from vectok.evaluation.language_curve import powers_of_two
from vectok.evaluation.language_generation import Studio
from vectok.evaluation.language_rows import own_voice
from vectok.evaluation.speed import device_name
from vectok.frames import frames_of_seconds, seconds_of_frames
from vectok.language_items import Begun
from vectok.lm.generation import Request
from vectok.lm.speed import compare_speed

TIMED_PIECES = 60  # ids of each timed candidate, at most
PROMPT_SECONDS = 3.0


def measure(studio: Studio, items: pd.DataFrame, n_candidates: int, n_most: int, seed: int) -> dict[str, object]:
    """Ids a second of many candidates of one continuation here and by transformers, and seconds of TTS against N.

    The longest recording is continued, so that much is left to be said; TTS says the first text.

    Arguments:
        studio: Models and recordings.
        items: Texts, their recordings and prompts.
        n_candidates: Of the comparison.
        n_most: Greatest N.
        seed: Of the noise.
    Returns: ``device``, ``n_parameters``, ``ids_per_second`` and ``n_ids`` (vectok, transformers), ``seconds_by_n`` and
        ``rtf_by_n`` (generation and ranking of N candidates over the seconds of the chosen one).
    """
    tasks, item = studio.tasks, items.loc[items["seconds"].idxmax()]
    start = studio.pieces(item["item"], frames_of_seconds(PROMPT_SECONDS))
    prefix = tasks.continuation_prefix(Begun("speed", start, item["language"]))
    settings = tasks.timed_generation(seed, TIMED_PIECES, n_candidates)
    torch.manual_seed(seed)
    speed = compare_speed(tasks.lm, Request("speed", prefix, (), n_candidates), settings)
    frame, seconds, factors = items.head(1), {}, {}
    lines = studio.lines(frame, [own_voice(one) for one in frame.itertuples()])
    for n in powers_of_two(n_most):
        started = time.perf_counter()
        best = max(tasks.speak(lines, n, seed)[0], key=lambda candidate: candidate.rank)
        seconds[n] = round(time.perf_counter() - started, 3)
        n_frames = int(studio.tokenizer.piece_lengths[list(best.pieces)].sum())
        factors[n] = round(seconds[n] / max(0.02, seconds_of_frames(n_frames)), 4)
    return {
        "device": device_name(),
        "n_parameters": {"lm": tasks.lm.n_parameters, "clvp": tasks.clvp.n_parameters},
        "ids_per_second": {"vectok": speed.ids_per_second, "transformers": speed.plain_ids_per_second},
        "n_ids": {"vectok": speed.n_ids, "transformers": speed.n_plain_ids},
        "seconds_by_n": seconds,
        "rtf_by_n": factors,
    }
