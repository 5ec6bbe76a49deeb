"""Scores candidates: how near their pieces are to a text, or to the speech that they should translate."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from vectok.clvp.model import Clvp, Padded, pad

NO_SPEECH = -1.0  # score of a candidate without pieces: the lowest cosine
WINDOW_WORDS = 2  # consecutive words that are compared with what says them: chosen on dev (reports/LOG.md)


@torch.no_grad()
def latents(model: Clvp, rows: Sequence[Sequence[int]], role: str) -> Float[Tensor, "rows dim"]:
    """Latents of many rows, outside of training.

    Arguments:
        model: In evaluation mode.
        rows: Symbols (:meth:`Clvp.symbols`) for the role "text", pieces for the others; none of them empty.
        role: One of :data:`vectok.clvp.model.ROLES`.
    """
    device = model.log_scale.device
    if not rows:
        return torch.zeros(0, model.config.dim, device=device)
    ids, mask = pad(rows)
    return model(Padded(ids.to(device), mask.to(device)), role)


def text_scores(
    model: Clvp, texts: Sequence[Sequence[str]], candidates: Sequence[Sequence[Sequence[Sequence[int]]]]
) -> list[list[float]]:
    r"""Mean cosine :math:`a^\top b` of each two consecutive words and the pieces that say them; higher is better.

    *Deviation*: the paper compares whole utterances. A slip in one of ten words hardly moves their mean, while two
    words are what the training begins with.

    Arguments:
        model: In evaluation mode.
        texts: Words of each text, or the whole text as one where nobody knows which pieces say which word.
        candidates: BPE pieces of each word of each text's candidates; words without pieces score -1.
    Raises:
        ValueError: Unknown symbols, an empty word that pieces say.
    """
    asked: list[str] = []
    said: list[list[int]] = []
    counts: list[int] = []
    for words, own in zip(texts, candidates, strict=True):
        n_joined = min(WINDOW_WORDS, len(words))
        for spoken in own:
            starts = range(len(words) - n_joined + 1) if any(map(len, spoken)) else ()
            asked += [" ".join(words[start : start + n_joined]) for start in starts]
            said += [[piece for word in spoken[start : start + n_joined] for piece in word] for start in starts]
            counts.append(len(starts))
    places = {text: place for place, text in enumerate(dict.fromkeys(asked))}
    texts_found = latents(model, [model.symbols(text) for text in places], "text")[[places[text] for text in asked]]
    cosines = torch.full((len(said),), NO_SPEECH, device=texts_found.device)
    heard = [place for place, pieces in enumerate(said) if pieces]
    cosines[heard] = (texts_found[heard] * latents(model, [said[place] for place in heard], "speech")).sum(-1)
    means = iter([float(part.mean()) if len(part) else NO_SPEECH for part in cosines.split(counts)])
    return [[next(means) for _ in own] for own in candidates]


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
    given = latents(model, sources, "source")
    spoken = [(item, pieces) for item, own in enumerate(candidates) for pieces in own if len(pieces)]
    found = latents(model, [pieces for _, pieces in spoken], "target")
    cosines = iter((given[[item for item, _ in spoken]] * found).sum(-1).tolist())
    return [[next(cosines) if len(pieces) else NO_SPEECH for pieces in own] for own in candidates]
