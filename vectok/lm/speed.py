"""How fast candidates are drawn, side by side with transformers' own ``generate``, candidate by candidate."""

import time
from typing import NamedTuple

import torch

from vectok.lm.generation import GenerationConfig, Request, generate
from vectok.lm.model import LanguageModel


class Speed(NamedTuple):
    """Ids drawn in a second, and how many were drawn, by :func:`generate` and by transformers' ``generate``."""

    ids_per_second: float
    n_ids: int
    plain_ids_per_second: float
    n_plain_ids: int

    @property
    def ratio(self) -> float:
        """How many times as fast."""
        return self.ids_per_second / self.plain_ids_per_second


@torch.no_grad()
def _plain(model: LanguageModel, request: Request, config: GenerationConfig) -> int:
    """All candidates one after the other; the number of ids."""
    ids = torch.tensor([list(request.prefix)], device=next(model.parameters()).device)
    n_ids = 0
    for _ in range(request.n_candidates):
        sequence = model.llama.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=config.temperature,
            top_p=config.top_p,
            top_k=0,
            repetition_penalty=config.repetition_penalty,
            max_new_tokens=config.max_pieces,
        )
        n_ids += sequence.shape[1] - ids.shape[1]
    return n_ids


def compare_speed(model: LanguageModel, request: Request, config: GenerationConfig) -> Speed:
    """Draws the candidates of one request in both ways and times them; each way runs one candidate before, unmeasured.

    Both read the same prefix with the same sampling values up to ``<end>`` or ``max_pieces`` ids.

    Arguments:
        model: In evaluation mode.
        request: Without a queue, since transformers forces no words: a continuation or a plain text to be said.
        config: Sampling; all candidates are in flight at once.
    Raises:
        ValueError: The request has a queue.
    """
    if request.queue:
        raise ValueError("expected a request without a queue: transformers' generate forces no words")
    alone = request._replace(n_candidates=1, max_frames=None)
    generate(model, [alone], config)
    _plain(model, alone, config)
    started = time.perf_counter()
    n_ids = sum(each.n_drawn for each in generate(model, [request._replace(max_frames=None)], config))
    between = time.perf_counter()
    n_plain = _plain(model, request, config)
    ended = time.perf_counter()
    return Speed(n_ids / (between - started), n_ids, n_plain / (ended - between), n_plain)
