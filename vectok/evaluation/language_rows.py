"""Rows of the language side's tables: which clip stands where, what it should say, and what it is compared with."""

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from vectok.evaluation.language_plan import Pair, Voice
from vectok.evaluation.language_takes import Take
from vectok.evaluation.scoring import NARROW, Request
from vectok.evaluation.systems import Clip

TTS, S2ST, CONTINUATION, SEEDS = "table3_tts", "table4_s2st", "continuation", "tts_seeds"
RATED = ("ground_truth", "tokens", "tts", "tts_first", "style_transfer", "s2st", "continuation", "unigram")

SHORTEST_EMBEDDED_SECONDS = 0.5  # a speaker encoder has nothing to say of less


class LanguageRow(NamedTuple):
    """One clip in one row of one table, as :class:`vectok.evaluation.plan.Row`, and whether all its words are known.

    ``take`` names the take that the clip is made of, if it is one; ``seconds`` is how long the recording of the same
    words lasts.
    """

    table: str
    system: str
    item: str
    language: str
    is_seen: bool
    speaker: str
    group: str
    clip: str
    content: str
    content_language: str
    text: str
    references: tuple[str, ...]
    prompts: tuple[str, ...]
    sources: tuple[str, ...]
    narrow: bool
    known: bool
    take: str
    seconds: float


def recordings(utterances: Iterable[str]) -> tuple[str, ...]:
    """Names of the recordings' clips."""
    return tuple(Clip("recording", utterance).name for utterance in utterances)


def tts_row(item: object, system: str, clip: str, voice: Voice, is_seen: bool, take: str = "") -> LanguageRow:
    """A row of table 3.

    Arguments:
        item: A row of :func:`vectok.evaluation.language_plan.texts_to_test`: what should be said.
        system: Of the table.
        clip: What is scored.
        voice: That it is said in.
        is_seen: Whether the voice was in training.
        take: Name of the take, if it is one.
    """
    own = [name for name in voice.references if name != item.item]
    return LanguageRow(
        table=TTS, system=system, item=f"{item.item}>{voice.speaker}", language=item.language, is_seen=is_seen,
        speaker=voice.speaker, group=item.group, clip=clip, content=Clip("recording", item.item).name,
        content_language=item.language, text=item.text, references=recordings(own), prompts=recordings(voice.prompt),
        sources=(), narrow=voice.is_narrow, known=bool(item.known), take=take, seconds=item.seconds,
    )  # fmt: skip


def own_voice(item: object) -> Voice:
    """The voice that recorded a test text."""
    return Voice(item.speaker, item.prompt, item.references, False)


def ceiling_rows(items: pd.DataFrame) -> list[LanguageRow]:
    """The recordings, and the codec's resynthesis of their true tokens in the same voice."""
    rows = []
    for item in items.itertuples():
        clips = {"ground_truth": Clip("recording", item.item), "tokens": Clip("vectok", item.item, item.prompt)}
        rows += [tts_row(item, system, clip.name, own_voice(item), True) for system, clip in clips.items()]
    return rows


def shuffled_rows(rows: list[LanguageRow], stand_ins: dict[str, str]) -> list[LanguageRow]:
    """The floor of table 3: what was said for another text of the language, scored against this one.

    Arguments:
        rows: Of the system that is shuffled.
        stand_ins: For each item the item whose clip takes its place.
    """
    by_item = {row.item: row for row in rows}
    return [
        row._replace(system="shuffled_text", clip=by_item[stand_ins[row.item]].clip, take="")
        for row in rows
        if row.item in stand_ins and stand_ins[row.item] in by_item
    ]


def pair_item(pair: Pair) -> str:
    """Name of a translation: its source and the language that it is in."""
    return f"{pair.source}>{pair.target_language}"


def pair_rows(pair: Pair, source: object, target: object, take: Take | None) -> list[LanguageRow]:
    """Rows of table 4 for one pair: the translation, and the recording of the target (the ceiling).

    Arguments:
        pair: Its recordings.
        source: Row of the test items.
        target: The same.
        take: The translation; None leaves its row out.
    """
    common = dict(
        table=S2ST, item=pair_item(pair), language=pair.direction, is_seen=True,
        group=source.name, content=Clip("recording", pair.target).name, content_language=pair.target_language,
        text=target.text, narrow=False, known=bool(target.known), seconds=target.seconds,
    )  # fmt: skip
    ceiling = LanguageRow(
        system="ground_truth", clip=Clip("recording", pair.target).name, speaker=target.speaker,
        references=recordings(n for n in target.references if n != pair.target), prompts=recordings(target.prompt),
        sources=(), take="", **common,
    )  # fmt: skip
    if take is None:
        return [ceiling]
    said = LanguageRow(
        system="s2st", clip=take.clip, speaker=source.speaker,
        references=recordings(n for n in source.references if n != pair.source), prompts=recordings([pair.source]),
        sources=(), take=take.name, **common,
    )  # fmt: skip
    return [ceiling, said]


def continuation_rows(item: object, n_prompt: int, takes: dict[str, Take]) -> list[LanguageRow]:
    """Rows of one continued recording: its true rest, the codec's resynthesis of it, and what was generated.

    Arguments:
        item: Row of the test items.
        n_prompt: Frames that were given.
        takes: By system.
    """
    clips = {
        "ground_truth": Clip("rest", item.item, (str(n_prompt),)).name,
        "tokens": Clip("retake", item.item, (str(n_prompt),)).name,
        **{system: take.clip for system, take in takes.items()},
    }
    voice = own_voice(item)
    rows = []
    for system, clip in clips.items():
        row = tts_row(item, system, clip, voice, True, takes[system].name if system in takes else "")
        rest = item.seconds - n_prompt / 50
        own = {"content": clips["ground_truth"], "text": "", "prompts": recordings([item.item]), "seconds": rest}
        rows.append(row._replace(table=CONTINUATION, **own))
    return rows


def _embedding(row: object) -> str:
    return NARROW if row.narrow else "embedding"


def requests_of(rows: pd.DataFrame, seconds: dict[str, float]) -> list[Request]:
    """What every clip is scored for, each clip once.

    Arguments:
        rows: As :class:`LanguageRow`.
        seconds: About how long each take is, and each recording.
    """
    wants: dict[str, set[str]] = {}
    languages: dict[str, str] = {}
    for row in rows.itertuples():
        is_rated = row.system in RATED
        found = wants.setdefault(row.clip, set())
        found |= {"transcript"} | ({"distillmos"} if is_rated else set())
        if is_rated and seconds.get(row.clip, 3.0) >= SHORTEST_EMBEDDED_SECONDS:
            found.add(_embedding(row))
        wants.setdefault(row.content, set()).add("transcript")
        for name in (row.clip, row.content):
            languages.setdefault(name, row.content_language)
    # Voices to compare with may speak another language than the row; most are read nowhere.
    for row in rows[rows["system"].isin(RATED)].itertuples():
        for name in (*row.references, *row.prompts):
            wants.setdefault(name, set()).add(_embedding(row))
            languages.setdefault(name, row.content_language)
    return [
        Request(clip=name, language=languages[name], seconds=seconds.get(name, 3.0), wants=frozenset(wanted))
        for name, wanted in wants.items()
    ]
