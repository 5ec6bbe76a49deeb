r"""What one sequence of each task looks like: pure functions from text and pieces to ids and loss weights.

Interleaved (embedded profile; *Deviation*: two hours of speech are too few for a plain decoder to find by itself which
text goes with which speech, so each word's text stands right before its speech, and each of its characters once more
where it is said)::

    tts:          <tts> <lang> prompt <text> w1 <say> S1 <next> " " w2 <say> S2 <next> ... " " wn <say> Sn <next> <end>
    asr:          <asr> <lang> pieces, each character behind the first piece that ends `delay` frames after it
                  <text> remaining characters <end>
    mt:           <mt> <lang> source text <text> <lang> target text <end>
                  <mt> <lang> a like text in the target language <lang> source text <text> <lang> target text <end>
    continuation: <continue> <lang> pieces <end>

where Si are the pieces of word i alone and its characters, each right before the first piece in which the character
before it begins: when a character is said, its successor is known. A separator " " goes with the character behind it.
Plain (paper profile)::

    tts:          <tts> <lang> prompt <text> w1 " " w2 ... wn <say> pieces <end>
    asr:          <asr> <lang> pieces <text> characters <end>
    s2st:         <s2st> <lang> source pieces <lang> target pieces <end>
"""

from collections.abc import Sequence
from typing import NamedTuple

from vectok.alignment import AlignedWord
from vectok.lm.vocabulary import SEPARATOR, Vocabulary

AHEAD = 1  # characters of a word that are known beyond the one that is being said


class TaskSequence(NamedTuple):
    """One sequence: ``weights[i]`` is the weight of the loss of predicting ``ids[i]`` from what stands before it.

    ``n_frames`` is the speech that the weighted pieces of the target last, at 50 frames a second; 0 for text. ``read``
    is what the model reads in place of ``ids``, where it is not to see them as they are.
    """

    ids: list[int]
    weights: list[float]
    n_frames: int
    read: list[int] | None = None


class SpokenWord(NamedTuple):
    """A word's characters, the BPE pieces of its frames alone, and the frame of the word that each of both ends at."""

    word: str
    character_ends: Sequence[int]
    pieces: Sequence[int]
    piece_ends: Sequence[int]


class Speech(NamedTuple):
    """Pieces of a stretch of speech, and the frame that each ends at, counted from the stretch's beginning."""

    pieces: Sequence[int]
    ends: Sequence[int]


class ForcedText(NamedTuple):
    """What TTS is given: the prefix, and what comes between pieces, by turns.

    The first id of an entry of the queue stands where the model goes on in the text: a character of the word, or the
    ``<next>`` behind its last piece. The other ids of the entry are forced behind it; the last entry is
    ``<next> <end>``.
    """

    prefix: list[int]
    queue: list[list[int]]


def _start(vocabulary: Vocabulary, task: str, language: str) -> list[int]:
    return [vocabulary.tag(task), vocabulary.language(language)]


def tts_text(vocabulary: Vocabulary, language: str, prompt: Sequence[int], words: Sequence[str]) -> ForcedText:
    """Prefix and queue of interleaved TTS: what training sequences are made of, and what generation forces.

    Arguments:
        vocabulary: Numbers the ids.
        language: Code.
        prompt: Pieces in whose style the words are to be said; may be empty.
        words: One at least, of symbols of the vocabulary.
    Raises:
        ValueError: No word, an unknown symbol, language or piece.
    """
    if not words:
        raise ValueError("expected one word at least, got none: give a text that holds letters")
    say, following = vocabulary.tag("say"), vocabulary.tag("next")
    ids = [*_start(vocabulary, "tts", language), *vocabulary.encode_pieces(prompt), vocabulary.tag("text")]
    queue: list[list[int]] = []
    for place, word in enumerate(words):
        symbols = vocabulary.encode_text(word)
        forced = [*(vocabulary.encode_text(SEPARATOR) if place else []), *symbols, say, *symbols[: 1 + AHEAD]]
        if place:
            queue.append([following, *forced])
        else:
            ids += forced
        queue += [[symbol] for symbol in symbols[1 + AHEAD :]]
    return ForcedText(ids, [*queue, [following, vocabulary.tag("end")]])


def said_before(word: SpokenWord) -> list[int]:
    """For each character beyond the first two of a word: how many of its pieces stand before the character.

    Character j stands before the first piece that ends after character j - 1 begins.
    """
    starts = [0, *word.character_ends[:-1]]
    return [sum(end <= start for end in word.piece_ends) for start in starts[1 : len(starts) - AHEAD]]


def tts(
    vocabulary: Vocabulary,
    language: str,
    prompt: Sequence[int],
    words: Sequence[SpokenWord],
    n_frames: int,
    prompt_weight: float,
) -> TaskSequence:
    """Interleaved TTS: the loss is on the words' pieces and on going on in the text.

    That on the prompt has ``prompt_weight``. Words, ``<say>`` and ``<end>`` are forced when speech is generated, so
    they carry no loss.
    """
    ids, queue = tts_text(vocabulary, language, prompt, [word.word for word in words])
    weights = [0.0, 0.0] + [prompt_weight] * len(prompt)
    weights += [0.0] * (len(ids) - len(weights))
    entries = iter(queue)
    for word in words:
        pieces = vocabulary.encode_pieces(word.pieces)
        begun = 0
        for place in [*said_before(word), len(pieces)]:
            entry = next(entries)
            ids += [*pieces[begun:place], *entry]
            weights += [1.0] * (place - begun + 1) + [0.0] * (len(entry) - 1)
            begun = place
    return TaskSequence(ids, weights, n_frames)


def plain_tts_prefix(vocabulary: Vocabulary, language: str, prompt: Sequence[int], words: Sequence[str]) -> list[int]:
    """All that plain TTS is given: it says the pieces behind it and then ``<end>``.

    Raises:
        ValueError: No word, an unknown symbol, language or piece.
    """
    if not words:
        raise ValueError("expected one word at least, got none: give a text that holds letters")
    prefix = _start(vocabulary, "tts", language) + vocabulary.encode_pieces(prompt)
    return [*prefix, vocabulary.tag("text"), *vocabulary.encode_text(SEPARATOR.join(words)), vocabulary.tag("say")]


def plain_tts(
    vocabulary: Vocabulary,
    language: str,
    prompt: Sequence[int],
    words: Sequence[str],
    speech: Speech,
    prompt_weight: float,
) -> TaskSequence:
    """Plain TTS (Eq. 10): the loss is on the pieces and ``<end>``, and with ``prompt_weight`` on the prompt."""
    prefix = plain_tts_prefix(vocabulary, language, prompt, words)
    spoken = [*vocabulary.encode_pieces(speech.pieces), vocabulary.tag("end")]
    weights = [0.0, 0.0] + [prompt_weight] * len(prompt)
    weights += [0.0] * (len(prefix) - len(weights)) + [1.0] * len(spoken)
    return TaskSequence(prefix + spoken, weights, _n_frames(speech))


def _n_frames(speech: Speech) -> int:
    return int(speech.ends[-1]) if len(speech.ends) else 0


def timed_characters(words: Sequence[AlignedWord], start: int) -> list[tuple[str, int]]:
    """Characters of aligned words with the frame that each ends at, counted from ``start``.

    A separator ends where the character behind it does.
    """
    timed: list[tuple[str, int]] = []
    for word in words:
        ends = [end - start for end in word.character_ends]
        if timed:
            timed.append((SEPARATOR, ends[0]))
        timed += zip(word.word, ends, strict=True)
    return timed


def asr(
    vocabulary: Vocabulary,
    language: str,
    speech: Speech,
    words: Sequence[AlignedWord],
    delay: int | None,
    piece_weight: float,
) -> TaskSequence:
    """ASR: each character behind the first piece that ends ``delay`` frames or more after the character's own end.

    Arguments:
        vocabulary: Numbers the ids.
        language: Code.
        speech: Pieces of the stretch that the words tile; it begins at the first word's start.
        words: Aligned words.
        delay: Frames of speech that are heard behind a character before it is written; None writes all at the end
            (plain).
        piece_weight: Weight of the loss of the pieces; that of characters and ``<end>`` is 1.
    """
    waiting = timed_characters(words, words[0].start)
    ids, weights = _start(vocabulary, "asr", language), [0.0, 0.0]
    due = 0
    for piece, end in zip(vocabulary.encode_pieces(speech.pieces), speech.ends, strict=True):
        ids.append(piece)
        weights.append(piece_weight)
        first = due
        while delay is not None and due < len(waiting) and waiting[due][1] + delay <= end:
            due += 1
        ids += vocabulary.encode_text("".join(character for character, _ in waiting[first:due]))
        weights += [1.0] * (due - first)
    rest = vocabulary.encode_text("".join(character for character, _ in waiting[due:]))
    ids += [vocabulary.tag("text"), *rest, vocabulary.tag("end")]
    return TaskSequence(ids, [*weights, 0.0, *[1.0] * (len(rest) + 1)], _n_frames(speech))


def mt_prefix(vocabulary: Vocabulary, source: str, source_text: str, target: str, match: str = "") -> list[int]:
    """All that translation of text is given: the target text and ``<end>`` stand behind it.

    Arguments:
        vocabulary: Numbers the ids.
        source: Language of ``source_text``.
        source_text: Normalised.
        target: Language to be written.
        match: A text of the target language that may resemble the translation (:mod:`vectok.lm.memory`), or none.
    """
    example = [vocabulary.language(target), *vocabulary.encode_text(match)] if match else []
    read = [vocabulary.language(source), *vocabulary.encode_text(source_text)]
    return [vocabulary.tag("mt"), *example, *read, vocabulary.tag("text"), vocabulary.language(target)]


def mt(
    vocabulary: Vocabulary, source: str, source_text: str, target: str, target_text: str, source_weight: float,
    match: str = "",
) -> TaskSequence:  # fmt: skip
    """Translation of text: the loss is on the target text and ``<end>``, and with ``source_weight`` on the source."""
    prefix = mt_prefix(vocabulary, source, source_text, target, match)
    written = [*vocabulary.encode_text(target_text), vocabulary.tag("end")]
    context = [source_weight] * len(source_text) + [0.0, 0.0]
    weights = [0.0] * (len(prefix) - len(context)) + context + [1.0] * len(written)
    return TaskSequence(prefix + written, weights, 0)


def s2st_prefix(vocabulary: Vocabulary, source: str, pieces: Sequence[int], target: str) -> list[int]:
    """All that plain speech translation is given: the target's pieces and ``<end>`` stand behind it."""
    return [*_start(vocabulary, "s2st", source), *vocabulary.encode_pieces(pieces), vocabulary.language(target)]


def s2st(
    vocabulary: Vocabulary, source: str, pieces: Sequence[int], target: str, speech: Speech, source_weight: float
) -> TaskSequence:
    """Plain speech-to-speech translation (Eq. 11): source pieces, then target pieces and ``<end>``."""
    prefix = s2st_prefix(vocabulary, source, pieces, target)
    spoken = [*vocabulary.encode_pieces(speech.pieces), vocabulary.tag("end")]
    weights = [0.0, 0.0] + [source_weight] * len(pieces) + [0.0] + [1.0] * len(spoken)
    return TaskSequence(prefix + spoken, weights, _n_frames(speech))


def continuation(vocabulary: Vocabulary, language: str, speech: Speech) -> TaskSequence:
    """Speech alone: the loss is on all pieces and ``<end>``."""
    spoken = [*vocabulary.encode_pieces(speech.pieces), vocabulary.tag("end")]
    ids = _start(vocabulary, "continue", language) + spoken
    return TaskSequence(ids, [0.0, 0.0] + [1.0] * len(spoken), _n_frames(speech))
