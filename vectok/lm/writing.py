"""Batched greedy writing of text: transcripts of pieces as they stream in, and translations."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

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
    """

    threshold: float = 0.5
    max_symbols_per_piece: int = 24
    max_symbols: int = 400
    n_rows: int = 64


class Written(NamedTuple):
    """A text, and whether the model ended it by itself."""

    text: str
    stopped: bool


class _Text(Row):
    """A text in flight; ``given`` are the ids that are still to be read, ``n_run`` the symbols since the last one."""

    def __init__(self, prefix: Sequence[int], given: Sequence[int]) -> None:
        super().__init__(prefix)
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

    Source: Vec-Tok Speech names ASR without a recipe. *Deviation*: with streams, text is written while speech is read,
    as the interleaved sequences have it: a symbol where all symbols together are likelier than ``threshold``.

    Arguments:
        model: In evaluation mode.
        prefixes: Given at once; for translations those of :func:`vectok.lm.sequences.mt_prefix`.
        config: Threshold and limits.
        streams: Ids that are read one by one behind each prefix; :func:`transcribe` makes them.
    Returns: Texts in the order of the prefixes.
    """
    vocabulary = model.vocabulary
    every = torch.arange(vocabulary.n_ids, device=next(model.parameters()).device)
    is_symbol, is_end = vocabulary.is_symbol(every), every == vocabulary.tag("end")
    given = [()] * len(prefixes) if streams is None else streams
    rows = [_Text(prefix, stream) for prefix, stream in zip(prefixes, given, strict=True)]

    def advance(active: list[_Text], scores: Float[Tensor, "rows vocab"]) -> None:
        shares = scores.softmax(-1)[:, is_symbol].sum(-1).tolist()
        likeliest = _likeliest(scores, is_symbol)
        last = _likeliest(scores, is_symbol | is_end)
        for row, share, symbol, final in zip(active, shares, likeliest, last, strict=True):
            if row.given:
                writes = share > config.threshold and row.n_run < config.max_symbols_per_piece
                _take(row, symbol if writes else row.given.popleft(), writes)
            elif final == vocabulary.tag("end") or row.n_run >= config.max_symbols:
                row.done, row.stopped = True, final == vocabulary.tag("end")
            else:
                _take(row, final, True)

    decode(model, rows, advance, config.n_rows)
    return [Written(vocabulary.decode_text(row.symbols), row.stopped) for row in rows]


def _likeliest(scores: Float[Tensor, "rows vocab"], allowed: Bool[Tensor, " vocab"]) -> list[int]:
    return scores.masked_fill(~allowed, -torch.inf).argmax(-1).tolist()


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
