"""Scores candidates: how near their pieces are to a text, or to the speech that they should translate."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from vectok.clvp.model import Clvp, Padded, pad

N_ROWS = 64
NO_SPEECH = -1.0  # score of a candidate without pieces: the lowest cosine


@torch.no_grad()
def latents(model: Clvp, rows: Sequence[Sequence[int]], role: str) -> Float[Tensor, "rows dim"]:
    """Latents of many rows, those of like lengths together; a row's latents do not depend on the others.

    Arguments:
        model: In evaluation mode.
        rows: Symbols (:meth:`Clvp.symbols`) for the role "text", pieces for the others; none of them empty.
        role: One of :data:`vectok.clvp.model.ROLES`.
    """
    device = model.log_scale.device
    found = torch.zeros(len(rows), model.config.dim, device=device)
    order = sorted(range(len(rows)), key=lambda place: -len(rows[place]))
    for first in range(0, len(order), N_ROWS):
        places = order[first : first + N_ROWS]
        ids, mask = pad([rows[place] for place in places])
        found[places] = model(Padded(ids.to(device), mask.to(device)), role)
    return found


def _scores(
    given: Float[Tensor, "items dim"],
    model: Clvp,
    candidates: Sequence[Sequence[Sequence[int]]],
    role: str,
) -> list[list[float]]:
    spoken = [(item, pieces) for item, own in enumerate(candidates) for pieces in own if len(pieces)]
    found = latents(model, [pieces for _, pieces in spoken], role)
    cosines = iter((given[[item for item, _ in spoken]] * found).sum(-1).tolist())
    return [[next(cosines) if len(pieces) else NO_SPEECH for pieces in own] for own in candidates]


def text_scores(model: Clvp, texts: Sequence[str], candidates: Sequence[Sequence[Sequence[int]]]) -> list[list[float]]:
    r"""Cosines :math:`a^\top b_j` of each text and the pieces of its candidates; higher is better.

    Arguments:
        model: In evaluation mode.
        texts: Normalised, none of them empty; a text whose candidates have no pieces may be.
        candidates: BPE pieces of each text's candidates; a candidate without pieces scores -1.
    Raises:
        ValueError: Unknown symbols, an empty text.
    """
    symbols = [model.symbols(text) if any(map(len, own)) else [0] for text, own in zip(texts, candidates, strict=True)]
    return _scores(latents(model, symbols, "text"), model, candidates, "speech")


def speech_scores(
    model: Clvp, sources: Sequence[Sequence[int]], candidates: Sequence[Sequence[Sequence[int]]]
) -> list[list[float]]:
    """Cosines of each source's pieces and the pieces of its translations; higher is better.

    Arguments:
        model: In evaluation mode, trained on pairs of speech.
        sources: BPE pieces, none of them empty.
        candidates: BPE pieces of each source's candidates; a candidate without pieces scores -1.
    Raises:
        ValueError: An empty source.
    """
    return _scores(latents(model, sources, "source"), model, candidates, "target")
