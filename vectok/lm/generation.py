"""Batched generation of speech: text forced as it is said, or pieces alone, with noise that belongs to each candidate.

Source: Vec-Tok Speech samples 256 candidates and lets CLVP choose; sampling values of Tortoise's preset (PAPER: CLVP).
The grammar is enforced: only pieces are drawn, and when to go on in the text: to the word's next character (all symbols
together say how likely that is, for which one it is is known), behind the word (``<next>``), or to the ``<end>``.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vectok.lm import sampling
from vectok.lm.decoding import Row, decode
from vectok.lm.model import LanguageModel
from vectok.lm.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """How candidates are drawn.

    Arguments:
        temperature: Scores are divided by it; above zero.
        top_p: Probability that the drawn ids hold together; a tiny one makes it greedy.
        repetition_penalty: Of pieces that were drawn a short while ago; 1 for none.
        penalty_window: Pieces of the same word that are penalised, counted back from the last one (*Deviation*: the
            whole utterance elsewhere, in which every sound comes back).
        max_pieces_per_word: A word that runs on is cut there.
        max_pieces: An utterance without forced words that runs on is cut there.
        n_rows: Candidates in flight, at most; it changes the speed, not the result.
        seed: Of the noise.
    Raises:
        ValueError: A value outside its range.
    """

    temperature: float = 0.8
    top_p: float = 0.8
    repetition_penalty: float = 2.0
    penalty_window: int = 8
    max_pieces_per_word: int = 60
    max_pieces: int = 1000
    n_rows: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature <= 0 or not 0 < self.top_p <= 1 or self.repetition_penalty <= 0:
            raise ValueError(
                "expected temperature > 0, top_p in (0, 1] and repetition_penalty > 0, got "
                f"{self.temperature}, {self.top_p}, {self.repetition_penalty}"
            )
        if min(self.max_pieces_per_word, self.max_pieces, self.n_rows) < 1 or self.penalty_window < 0:
            raise ValueError(
                "expected one piece (of a word, in all) and one row at least and a window of zero or more, got "
                f"{self.max_pieces_per_word}, {self.max_pieces}, {self.n_rows}, {self.penalty_window}"
            )


class Request(NamedTuple):
    """What is to be said, ``n_candidates`` times.

    ``item`` is the key of the noise. ``prefix`` and ``queue`` are those of :func:`vectok.lm.sequences.tts_text`. An
    empty queue means pieces alone, up to ``<end>`` (plain TTS, S2ST, continuation), at most ``max_frames`` of them
    where it is given.
    """

    item: str
    prefix: Sequence[int]
    queue: Sequence[Sequence[int]] = ()
    n_candidates: int = 1
    max_frames: int | None = None


class Generated(NamedTuple):
    """One candidate.

    ``ids`` stand behind the prefix, forced ones among them; ``pieces_by_word`` are BPE pieces, in plain mode one word;
    ``logprob`` is the summed natural logarithm of the model's own probability of all that was drawn (temperature 1, no
    penalty, among what may be drawn); ``n_drawn`` is how many that were. ``stopped`` is False when a word or the
    utterance did not end by itself and was cut.
    """

    item: str
    candidate: int
    ids: list[int]
    pieces_by_word: list[list[int]]
    logprob: float
    n_drawn: int
    stopped: bool

    @property
    def pieces(self) -> list[int]:
        """Pieces of all words end to end."""
        return [piece for word in self.pieces_by_word for piece in word]


class _Candidate(Row):
    """A candidate in flight; the first id of the queue's first entry is what may be drawn instead of a piece."""

    def __init__(self, request: Request, candidate: int, vocabulary: Vocabulary, config: GenerationConfig) -> None:
        super().__init__(request.prefix)
        self.request, self.candidate = request, candidate
        self.max_pieces = config.max_pieces_per_word if request.queue else config.max_pieces
        self.forced: deque[int] = deque()
        self.queue = deque(request.queue or [[vocabulary.tag("end")]])
        self.ids: list[int] = []
        self.words: list[list[int]] = [[]]
        self.logprob, self.n_drawn, self.n_frames, self.stopped = 0.0, 0, 0, True

    def generated(self) -> Generated:
        """What it has become."""
        words = self.words if self.words[-1] or len(self.words) == 1 else self.words[:-1]
        return Generated(self.request.item, self.candidate, self.ids, words, self.logprob, self.n_drawn, self.stopped)


def generate(
    model: LanguageModel,
    requests: Sequence[Request],
    config: GenerationConfig,
    piece_frames: Int[Tensor, " vocab"] | None = None,
) -> list[Generated]:
    r"""Draws candidates: :math:`x_t \sim \mathrm{nucleus}_p(\mathrm{softmax}(z_t / \tau))`, penalised before.

    Each request's prefix is encoded once for all its candidates, and candidates of all requests fill the rows. The
    noise of a draw belongs to (seed, item, candidate, number of the draw), so that the order of requests, their company
    and ``n_rows`` do not matter. The limit: scores may differ in their last bits where matrix products of other sizes
    round in another way (:func:`vectok.lm.decoding.decode`: on this project's CPU builds they do not), and then a draw
    changes when its uniform number lies that near to a border between two ids, a chance of about one in a million.

    Arguments:
        model: In evaluation mode.
        requests: Of different items.
        config: Sampling and limits.
        piece_frames: Frames that each piece lasts (``PieceTokenizer.piece_lengths``), for requests with ``max_frames``.
    Returns: Candidates in the order of the requests, ``n_candidates`` of each.
    Raises:
        ValueError: Two requests of one item, a request without prefix or candidates, ``max_frames`` without
            ``piece_frames``.
    """
    _check(requests, piece_frames)
    frames = None if piece_frames is None else piece_frames.tolist()
    vocabulary = model.vocabulary
    rows = [_Candidate(each, n, vocabulary, config) for each in requests for n in range(each.n_candidates)]

    def advance(active: list[_Candidate], scores: Float[Tensor, "rows vocab"]) -> None:
        drawing = [place for place, row in enumerate(active) if not _force(row, vocabulary)]
        if drawing:
            drawn = [active[place] for place in drawing]
            _draw(drawn, scores[drawing].double().cpu().numpy(), vocabulary, config)
            for row in drawn:
                _enter(row, vocabulary, frames)

    # The longest texts first: none of them is left to run alone at the end. Rows that share a prefix stay together.
    decode(model, sorted(rows, key=_n_forced, reverse=True), advance, config.n_rows)
    return [row.generated() for row in rows]


def _n_forced(row: _Candidate) -> int:
    """Ids of the text that are still to be said."""
    return sum(map(len, row.queue))


def _check(requests: Sequence[Request], piece_frames: Int[Tensor, " vocab"] | None) -> None:
    items = [request.item for request in requests]
    if len(set(items)) != len(items):
        twice = sorted({item for item in items if items.count(item) > 1})
        raise ValueError(f"expected different items, got {', '.join(twice)} more than once: their noise is the item's")
    for request in requests:
        if request.n_candidates < 1:
            raise ValueError(f"{request.item}: expected one candidate at least, got {request.n_candidates}")
        if request.max_frames is not None and piece_frames is None:
            raise ValueError(f"{request.item} has max_frames: give piece_frames, the tokenizer's piece_lengths")


def _force(row: _Candidate, vocabulary: Vocabulary) -> bool:
    """Takes the next forced id, if there is one: of the text, or the rest of a word that runs on."""
    if not row.forced and len(row.words[-1]) >= row.max_pieces:
        row.stopped = False
        within_word = True
        while within_word:
            within_word = _is_symbol(row.queue[0][0], vocabulary)
            row.forced.extend(row.queue.popleft())
    if not row.forced:
        return False
    row.next_id = row.forced.popleft()
    _enter(row, vocabulary, None)
    return True


def _enter(row: _Candidate, vocabulary: Vocabulary, frames: Sequence[int] | None) -> None:
    """Writes ``next_id`` down and finds out what follows from it."""
    chosen = row.next_id
    row.ids.append(chosen)
    if chosen == vocabulary.tag("end"):
        row.done = True
    elif chosen == vocabulary.tag("next"):
        row.words.append([])
    elif chosen >= vocabulary.first_piece:
        piece = chosen - vocabulary.first_piece
        row.words[-1].append(piece)
        row.n_frames += 0 if frames is None else frames[piece]
        if row.request.max_frames is not None and row.n_frames >= row.request.max_frames:
            row.done, row.stopped = True, False


def _is_symbol(chosen: int, vocabulary: Vocabulary) -> bool:
    return vocabulary.first_symbol <= chosen < vocabulary.first_piece


def _recent(rows: Sequence[_Candidate], n_pieces: int, window: int) -> Bool[np.ndarray, "rows choices"]:
    """True for the last pieces of each row's word; the first column, which goes on in the text, is never penalised."""
    recent = np.zeros((len(rows), 1 + n_pieces), dtype=bool)
    for place, row in enumerate(rows):
        recent[place, [1 + piece for piece in row.words[-1][max(0, len(row.words[-1]) - window) :]]] = True
    return recent


def _draw(
    rows: Sequence[_Candidate],
    scores: Float[np.ndarray, "rows vocab"],
    vocabulary: Vocabulary,
    config: GenerationConfig,
) -> None:
    """Draws each row's next id among the pieces and what goes on in the text; a word has one piece at least."""
    ends = np.array([_going_on(row, own, vocabulary) for row, own in zip(rows, scores, strict=True)])
    allowed = np.concatenate([ends[:, None], scores[:, vocabulary.first_piece :]], axis=1)
    recent = _recent(rows, vocabulary.n_pieces, config.penalty_window)
    penalised = sampling.penalise(allowed, recent, config.repetition_penalty)
    kept = sampling.nucleus(sampling.softmax(penalised / config.temperature), config.top_p)
    uniforms = [sampling.noise(config.seed, row.request.item, row.candidate, row.n_drawn) for row in rows]
    choices = sampling.draw(kept, np.array(uniforms))
    likelihoods = sampling.softmax(allowed)[np.arange(len(rows)), choices]
    for row, choice, likelihood in zip(rows, choices.tolist(), likelihoods.tolist(), strict=True):
        if choice:
            row.next_id = vocabulary.first_piece + choice - 1
        else:
            row.next_id, *forced = row.queue.popleft()
            row.forced.extend(forced)
        row.logprob += float(np.log(likelihood))
        row.n_drawn += 1


def _going_on(row: _Candidate, scores: Float[np.ndarray, " vocab"], vocabulary: Vocabulary) -> float:
    """Score of going on in the text: of all symbols together, of ``<next>`` or of ``<end>``."""
    chosen = row.queue[0][0]
    if _is_symbol(chosen, vocabulary):
        return float(np.logaddexp.reduce(scores[vocabulary.first_symbol : vocabulary.first_piece]))
    return float(scores[chosen]) if row.words[-1] else -np.inf
