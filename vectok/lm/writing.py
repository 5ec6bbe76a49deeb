"""Batched writing of text: transcripts of pieces as they stream in, and translations; the best of several drafts."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from vectok.lm import sampling
from vectok.lm.decoding import Row, decode
from vectok.lm.model import LanguageModel


@dataclass(frozen=True, kw_only=True)
class WritingConfig:
    """How text is written.

    Arguments:
        threshold: While speech is read, a symbol is written where the probability of all symbols together exceeds it.
        max_symbols_per_piece: Symbols between two pieces, at most.
        max_symbols: Symbols behind the last piece, or of a translation, at most.
        n_rows: Texts in flight, at most.
        n_drafts: Drafts of a text. The first is greedy, the others are drawn; :func:`consensus` chooses.
        temperature: Scores of drawn drafts are divided by it; above zero.
        seed: Of the noise.
    """

    threshold: float = 0.5
    max_symbols_per_piece: int = 24
    max_symbols: int = 400
    n_rows: int = 64
    n_drafts: int = 1
    temperature: float = 0.7
    seed: int = 0


class Written(NamedTuple):
    """A text, and whether the model ended it by itself."""

    text: str
    stopped: bool


class _Text(Row):
    """A draft in flight; ``given`` are the ids that are still to be read, ``n_run`` the symbols since the last one.

    The key of its noise is all that it is given, so that a text is the same in any company.
    """

    def __init__(self, prefix: Sequence[int], given: Sequence[int], draft: int) -> None:
        super().__init__(prefix)
        self.key, self.draft, self.n_drawn = " ".join(map(str, [*prefix, *given])), draft, 0
        self.given = deque(given)
        self.symbols: list[int] = []
        self.n_run, self.stopped = 0, True


def write(
    model: LanguageModel,
    prefixes: Sequence[Sequence[int]],
    config: WritingConfig,
    streams: Sequence[Sequence[int]] | None = None,
) -> list[Written]:
    r"""Writes the likeliest symbol at each place, :math:`\arg\max_i p(x_i \mid x_{<i})`, up to ``<end>``.

    Of several drafts, the others drawn by the same probabilities, the one that differs least from all of them.

    Source: Vec-Tok Speech names ASR without a recipe. *Deviation*: with streams, text is written while speech is read,
    as the interleaved sequences have it: a symbol where all symbols together are likelier than ``threshold``.

    Arguments:
        model: In evaluation mode.
        prefixes: Given at once; for translations those of :func:`vectok.lm.sequences.mt_prefix`.
        config: Threshold, limits and drafts.
        streams: Ids that are read one by one behind each prefix; :func:`transcribe` makes them.
    Returns: Texts in the order of the prefixes.
    """
    vocabulary = model.vocabulary
    every = torch.arange(vocabulary.n_ids, device=next(model.parameters()).device)
    is_symbol, is_end = vocabulary.is_symbol(every), every == vocabulary.tag("end")
    given = [()] * len(prefixes) if streams is None else streams
    rows = [_Text(*each, draft) for each in zip(prefixes, given, strict=True) for draft in range(config.n_drafts)]

    def advance(active: list[_Text], scores: Float[Tensor, "rows vocab"]) -> None:
        reading = _read_or_write(active, scores.log_softmax(-1), is_symbol, config)
        last = _choose(active, scores.masked_fill(~(is_symbol | is_end), -torch.inf), config)
        for row, symbol, final in zip(active, reading, last, strict=True):
            row.n_drawn += 1
            if row.given:
                writes = symbol is not None and row.n_run < config.max_symbols_per_piece
                _take(row, symbol if writes else row.given.popleft(), writes)
            elif final == vocabulary.tag("end") or row.n_run >= config.max_symbols:
                row.done, row.stopped = True, final == vocabulary.tag("end")
            else:
                _take(row, final, True)

    decode(model, rows, advance, config.n_rows)
    drafts = [Written(vocabulary.decode_text(row.symbols), row.stopped) for row in rows]
    shared = [drafts[first : first + config.n_drafts] for first in range(0, len(drafts), config.n_drafts)]
    return [own[consensus([draft.text for draft in own])] for own in shared]


def consensus(texts: Sequence[str]) -> int:
    r"""Which text differs least from all: :math:`\arg\min_i \sum_j d(t_i, t_j)`, d the edit distance.

    The first of equals. Source: minimum Bayes risk decoding (Goel and Byrne, Computer Speech and Language, 2000), with
    the drafts for the model's distribution.
    Example:
        >>> consensus(["press won", "press one", "dress one"])
        1
    """
    return int(np.argmin([sum(Levenshtein.distance(text, other) for other in texts) for text in texts]))


def _choose(active: Sequence[_Text], scores: Float[Tensor, "rows choices"], config: WritingConfig) -> list[int]:
    """The likeliest id of each row; of drafts beyond the first one that is drawn."""
    chosen = scores.argmax(-1).tolist()
    if drawn := [place for place, row in enumerate(active) if row.draft]:
        noises = [sampling.noise(config.seed, active[at].key, active[at].draft, active[at].n_drawn) for at in drawn]
        shares = sampling.softmax(scores[drawn].double().cpu().numpy() / config.temperature)
        for place, one in zip(drawn, sampling.draw(shares, np.array(noises)).tolist(), strict=True):
            chosen[place] = one
    return chosen


def _read_or_write(
    active: Sequence[_Text], logs: Float[Tensor, "rows vocab"], is_symbol: Bool[Tensor, " vocab"], config: WritingConfig
) -> list[int | None]:
    """The symbol that each row writes before it reads on, or None: all that is no symbol counts as one choice."""
    symbols = logs.masked_fill(~is_symbol, -torch.inf)
    reads = logs.masked_fill(is_symbol, -torch.inf).logsumexp(-1, keepdim=True)
    n_ids, shares = logs.shape[1], symbols.exp().sum(-1).tolist()
    chosen, likeliest = _choose(active, torch.cat([symbols, reads], -1), config), symbols.argmax(-1).tolist()
    greedy = [best if share > config.threshold else None for best, share in zip(likeliest, shares, strict=True)]
    drawn = [one if one < n_ids else None for one in chosen]
    return [other if row.draft else own for row, own, other in zip(active, greedy, drawn, strict=True)]


def _take(row: _Text, chosen: int, written: bool) -> None:
    row.next_id = chosen
    row.n_run = row.n_run + 1 if written else 0
    if written:
        row.symbols.append(chosen)


class Heard(NamedTuple):
    """Speech to be transcribed: its language and the BPE pieces of the whole utterance."""

    language: str
    pieces: Sequence[int]


def transcribe(model: LanguageModel, heard: Sequence[Heard], config: WritingConfig, interleaved: bool) -> list[Written]:
    """Transcripts of utterances, as the sequences of :func:`vectok.lm.sequences.asr` have them.

    Arguments:
        model: In evaluation mode.
        heard: Languages and pieces.
        config: Threshold and limits.
        interleaved: Writes while it reads, or reads everything first (plain).
    Raises:
        ValueError: No pieces, a piece or a language that the model does not know.
    """
    if empty := [place for place, each in enumerate(heard) if not len(each.pieces)]:
        raise ValueError(f"expected pieces, got none for utterances {empty}: give speech of 0.1 s or more")
    vocabulary = model.vocabulary
    starts = [[vocabulary.tag("asr"), vocabulary.language(each.language)] for each in heard]
    read = [[*vocabulary.encode_pieces(each.pieces), vocabulary.tag("text")] for each in heard]
    if interleaved:
        return write(model, starts, config, read)
    return write(model, [start + given for start, given in zip(starts, read, strict=True)], config)
