"""Batched writing of text: transcripts of pieces as they stream in, and translations, from several drafts."""

import math
from collections import Counter, deque
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
        threshold: While speech is read, a symbol is written where the probability of all symbols together exceeds it;
            in drafts that are drawn, reading on counts :math:`\\theta / (1 - \\theta)` times. Above one half, since a
            character that is written twice costs more than one that is left out: chosen on dev (reports/LOG.md).
        max_symbols_per_piece: Symbols between two pieces, at most.
        max_symbols: Symbols behind the last piece, or of a translation, at most.
        n_rows: Texts in flight, at most.
        n_drafts: Drafts of a text. The first is greedy, the others are drawn. Those of a transcript :func:`vote`, of
            those of a translation :func:`consensus` chooses.
        temperature: Scores of drawn drafts are divided by it; above zero.
        seed: Of the noise.
    Raises:
        ValueError: A threshold outside of (0, 1).
    """

    threshold: float = 0.7
    max_symbols_per_piece: int = 24
    max_symbols: int = 400
    n_rows: int = 64
    n_drafts: int = 1
    temperature: float = 0.7
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ValueError(f"expected a threshold between 0 and 1, got {self.threshold}: it is a probability")


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


def write(model: LanguageModel, prefixes: Sequence[Sequence[int]], config: WritingConfig) -> list[Written]:
    """Texts behind the prefixes, in their order: of several drafts, the one that differs least from all of them.

    Arguments:
        model: In evaluation mode.
        prefixes: For translations those of :func:`vectok.lm.sequences.mt_prefix`.
        config: Limits and drafts.
    """
    drafts = write_drafts(model, prefixes, config, [()] * len(prefixes))
    return [own[consensus([draft.text for draft in own])] for own in drafts]


def write_drafts(
    model: LanguageModel,
    prefixes: Sequence[Sequence[int]],
    config: WritingConfig,
    streams: Sequence[Sequence[int]],
) -> list[list[Written]]:
    r"""Writes the likeliest symbol at each place, :math:`\arg\max_i p(x_i \mid x_{<i})`, up to ``<end>``.

    Drafts beyond the first are drawn by the same probabilities.

    Source: Vec-Tok Speech names ASR without a recipe. *Deviation*: with streams, text is written while speech is read,
    as the interleaved sequences have it: a symbol where all symbols together are likelier than ``threshold``.

    Arguments:
        model: In evaluation mode.
        prefixes: Given at once.
        config: Threshold, limits and drafts.
        streams: Ids that are read one by one behind each prefix; :func:`transcribe` makes them.
    Returns: ``config.n_drafts`` of each prefix, in their order.
    """
    vocabulary = model.vocabulary
    every = torch.arange(vocabulary.n_ids, device=next(model.parameters()).device)
    is_symbol, is_end = vocabulary.is_symbol(every), every == vocabulary.tag("end")
    rows = [_Text(*each, draft) for each in zip(prefixes, streams, strict=True) for draft in range(config.n_drafts)]

    def advance(active: list[_Text], scores: Float[Tensor, "rows vocab"]) -> None:
        for row, chosen in zip(active, _choose(active, scores.log_softmax(-1), is_symbol, is_end, config), strict=True):
            row.n_drawn += 1
            writes = chosen is not None and chosen != vocabulary.tag("end")
            if row.given:
                writes = writes and row.n_run < config.max_symbols_per_piece
                _take(row, chosen if writes else row.given.popleft(), writes)
            elif not writes or row.n_run >= config.max_symbols:
                row.done, row.stopped = True, not writes
            else:
                _take(row, chosen, True)

    decode(model, rows, advance, config.n_rows)
    drafts = [Written(vocabulary.decode_text(row.symbols), row.stopped) for row in rows]
    return [drafts[first : first + config.n_drafts] for first in range(0, len(drafts), config.n_drafts)]


def consensus(texts: Sequence[str]) -> int:
    r"""Which text differs least from all: :math:`\arg\min_i \sum_j d(t_i, t_j)`, d the edit distance.

    The first of equals. Source: minimum Bayes risk decoding (Goel and Byrne, Computer Speech and Language, 2000), with
    the drafts for the model's distribution.
    Example:
        >>> consensus(["press won", "press one", "dress one"])
        1
    """
    return int(np.argmin([sum(Levenshtein.distance(text, other) for other in texts) for text in texts]))


def vote(texts: Sequence[str]) -> str:
    """Letter by letter what most texts have, in line with the one that differs least from all.

    Letters that stand between its own enter where more than half of the texts have something there.

    Source: ROVER (Fiscus, ASRU 1997), over letters instead of words and over drafts instead of systems.
    Example:
        >>> vote(["prss one now", "press on now", "press one no"])
        'press one now'
    """
    base = texts[consensus(texts)]
    kept, between = [Counter() for _ in base], [Counter() for _ in range(len(base) + 1)]
    for text in texts:
        for step in Levenshtein.opcodes(base, text):
            said = text[step.dest_start : step.dest_end]
            if step.tag == "insert":
                between[step.src_start][said] += 1
            for place in range(step.src_start, step.src_end):
                kept[place]["" if step.tag == "delete" else said[place - step.src_start]] += 1
    entered = [own.most_common(1)[0][0] if 2 * own.total() > len(texts) else "" for own in between]
    letters = [own.most_common(1)[0][0] for own in kept]
    return "".join(one + other for one, other in zip(entered, [*letters, ""], strict=True))


def _choose(
    active: Sequence[_Text],
    logs: Float[Tensor, "rows vocab"],
    is_symbol: Bool[Tensor, " vocab"],
    is_end: Bool[Tensor, " vocab"],
    config: WritingConfig,
) -> list[int | None]:
    """What each row writes, or None to read on: likeliest in its first draft, drawn in the others.

    While there is something to read, all that is no symbol is one choice, reading on; behind it, ``<end>`` is.
    """
    reading = torch.tensor([bool(row.given) for row in active], device=logs.device)[:, None]
    written = logs.masked_fill(~(is_symbol | (is_end & ~reading)), -torch.inf)
    reads = logs.masked_fill(is_symbol, -torch.inf).logsumexp(-1, keepdim=True).masked_fill(~reading, -torch.inf)
    n_ids, likeliest, on = logs.shape[1], written.argmax(-1).tolist(), reads[:, 0].exp().tolist()
    caution = math.log(config.threshold / (1 - config.threshold))
    chosen = [one if share < 1 - config.threshold else n_ids for one, share in zip(likeliest, on, strict=True)]
    if drawn := [place for place, row in enumerate(active) if row.draft]:
        noises = [sampling.noise(config.seed, active[at].key, active[at].draft, active[at].n_drawn) for at in drawn]
        choices = torch.cat([written, reads + caution], -1)[drawn].double().cpu().numpy()
        shares = sampling.softmax(choices / config.temperature)
        for place, one in zip(drawn, sampling.draw(shares, np.array(noises)).tolist(), strict=True):
            chosen[place] = one
    return [one if one < n_ids else None for one in chosen]


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
        config: Threshold, limits and drafts, which vote.
        interleaved: Writes while it reads, or reads everything first (plain).
    Raises:
        ValueError: No pieces, a piece or a language that the model does not know.
    """
    if empty := [place for place, each in enumerate(heard) if not len(each.pieces)]:
        raise ValueError(f"expected pieces, got none for utterances {empty}: give speech of 0.1 s or more")
    vocabulary = model.vocabulary
    starts = [[vocabulary.tag("asr"), vocabulary.language(each.language)] for each in heard]
    read = [[*vocabulary.encode_pieces(each.pieces), vocabulary.tag("text")] for each in heard]
    if not interleaved:
        starts, read = [start + given for start, given in zip(starts, read, strict=True)], [()] * len(read)
    drafts = write_drafts(model, starts, config, read)
    return [Written(vote([draft.text for draft in own]), own[0].stopped) for own in drafts]
