"""Which takes stand in which rows: the tables of the language side, filled from a :class:`Studio`."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from vectok.evaluation import language_rows as rows_of
from vectok.evaluation.language_curve import CURVE_COLUMNS, Judged, curve_scores, to_read, tried_of
from vectok.evaluation.language_generation import Said, Studio
from vectok.evaluation.language_plan import LanguagePlanConfig, Pair, Voice, first, spread
from vectok.evaluation.language_rows import SEEDS, LanguageRow
from vectok.evaluation.language_takes import Take, Timbre
from vectok.evaluation.scoring import Request
from vectok.frames import frames_of_seconds
from vectok.language_tasks import LanguageTasks


class Played(NamedTuple):
    """Rows and the takes that they need, by name."""

    rows: list[LanguageRow]
    takes: dict[str, Take]


def joined(parts: Sequence[Played]) -> Played:
    """Several as one."""
    takes = {name: take for part in parts for name, take in part.takes.items()}
    return Played([row for part in parts for row in part.rows], takes)


def _named(takes: Sequence[Take]) -> dict[str, Take]:
    return {take.name: take for take in takes}


def _chosen(said: Said) -> dict[str, Take]:
    """The best candidate, the best by CLVP alone, and the first one, by system."""
    return {"tts": said.best, "tts_clvp": said.best_by_clvp, "tts_first": said.takes[0]}


def _tts_rows(items: pd.DataFrame, said: Sequence[Said], voices: Sequence[Voice], is_seen: bool) -> Played:
    """TTS, chosen and not."""
    rows, takes = [], []
    for item, own, voice in zip(items.itertuples(), said, voices, strict=True):
        for system, take in _chosen(own).items():
            rows.append(rows_of.tts_row(item, system, take.clip, voice, is_seen, take.name))
            takes.append(take)
    return Played(rows, _named(takes))


def seen_rows(items: pd.DataFrame, said: Sequence[Said]) -> Played:
    """TTS in voices of training, chosen and not, and the floor of shuffled texts."""
    rows, takes = _tts_rows(items, said, [rows_of.own_voice(item) for item in items.itertuples()], True)
    chosen, stand_ins = [row for row in rows if row.system == "tts"], {}
    for row in chosen:
        others = [other for other in chosen if other.language == row.language and other.text != row.text]
        if others:
            place = [other.item for other in chosen if other.language == row.language].index(row.item)
            stand_ins[row.item] = others[place % len(others)].item
    return Played(rows + rows_of.shuffled_rows(chosen, stand_ins), takes)


def unseen_rows(studio: Studio, items: pd.DataFrame, voices: Sequence[Voice], n_candidates: int, seed: int) -> Played:
    """TTS in voices never seen, chosen and not."""
    return _tts_rows(items, studio.speak(items, voices, n_candidates, seed), voices, False)


def transfer_rows(items: pd.DataFrame, voices: Sequence[Voice], said: dict[str, Said]) -> Played:
    """Style transfer: what was said in the style of a voice of training, with the timbre of one never seen.

    Arguments:
        items: Texts.
        voices: Timbre of each.
        said: By item, in voices of training.
    """
    rows, takes = [], []
    for item, voice in zip(items.itertuples(), voices, strict=True):
        best = said[item.item].best
        takes.append(best._replace(name=f"style:{best.name}:{voice.speaker}", timbre=Timbre(voice.prompt)))
        rows.append(rows_of.tts_row(item, "style_transfer", takes[-1].clip, voice, False, takes[-1].name))
    return Played(rows, _named(takes))


def unigram_rows(studio: Studio, items: pd.DataFrame, seed: int) -> Played:
    """The floor of pieces drawn by their frequencies, as long as the recordings."""
    rows, takes = [], []
    for language, own in items.groupby("language"):
        weights = studio.unigram_weights(language)
        for item in own.itertuples():
            n_frames = studio.parts.store.n_frames(item.item)
            takes.append(studio.babble(f"tts:{item.item}", weights, n_frames, Timbre(item.prompt), seed))
            rows.append(rows_of.tts_row(item, "unigram", takes[-1].clip, rows_of.own_voice(item), True, takes[-1].name))
    return Played(rows, _named(takes))


def seed_rows(items: pd.DataFrame, by_seed: dict[int, Sequence[Said]]) -> Played:
    """The same texts with several seeds.

    Arguments:
        items: Texts.
        by_seed: What was said, by the number of the seed (0 first).
    """
    rows, takes = [], []
    for number, said in by_seed.items():
        for item, own in zip(items.itertuples(), said, strict=True):
            row = rows_of.tts_row(item, f"seed_{number}", own.best.clip, rows_of.own_voice(item), True, own.best.name)
            rows.append(row._replace(table=SEEDS))
            takes.append(own.best)
    return Played(rows, _named(takes))


def translation_rows(
    studio: Studio, items: pd.DataFrame, pairs: Sequence[Pair], n_candidates: int, seed: int,
    heard_as: dict[str, str] | None = None,
) -> Played:  # fmt: skip
    """Table 4; nothing when the LM does not translate. The rest as :meth:`Studio.translate`."""
    if not studio.tasks.can("translate"):
        return Played([], {})
    by_name, rows = {item.item: item for item in items.itertuples()}, []
    said = studio.translate(pairs, n_candidates, seed, heard_as)
    for pair, own in zip(pairs, said, strict=True):
        rows += rows_of.pair_rows(pair, by_name[pair.source], by_name[pair.target], own.best)
    return Played(rows, _named([own.best for own in said]))


def own_translations(tasks: LanguageTasks, pairs: Sequence[Pair], heard: dict[str, str]) -> dict[str, str]:
    """What the LM writes itself for each item of table 4, greedily; nothing when it does not translate texts.

    Arguments:
        tasks: Over the models.
        pairs: Of the table.
        heard: The LM's transcript of each recording.
    """
    if not pairs or not tasks.can("mt"):
        return {}
    columns = zip(*((heard[p.source], p.source_language, p.target_language) for p in pairs), strict=True)
    texts = tasks.write_translations(*columns, n_drafts=1)
    return {rows_of.pair_item(pair): text for pair, text in zip(pairs, texts, strict=True)}


def continued(items: pd.DataFrame, config: LanguagePlanConfig) -> pd.DataFrame:
    """Recordings that are long enough to be continued."""
    return first(items[items["seconds"] >= config.shortest_continued_seconds], config.n_continuations)


def continuation_rows(studio: Studio, items: pd.DataFrame, prompt_seconds: float, seed: int) -> Played:
    """Continuations, their ceilings and the unigram floor; nothing when the LM does not continue.

    Arguments:
        studio: Makes takes.
        items: What :func:`continued` gives.
        prompt_seconds: That are given.
        seed: Of the noise.
    """
    if not studio.tasks.can("continuation"):
        return Played([], {})
    n_prompt, rows, takes = frames_of_seconds(prompt_seconds), [], []
    weights = {language: studio.unigram_weights(language) for language in items["language"].unique()}
    made = studio.carry_on(items, n_prompt, seed) if len(items) else []
    for item, take in zip(items.itertuples(), made, strict=True):
        n_frames = studio.parts.store.n_frames(item.item) - n_prompt
        floor = studio.babble(
            f"continuation:{item.item}", weights[item.language], n_frames, take.timbre, seed,
            studio.parts.tokens.tokens(item.item, 0, n_prompt),
        )  # fmt: skip
        takes += [take, floor]
        rows += rows_of.continuation_rows(item, n_prompt, {"continuation": take, "unigram": floor})
    return Played(rows, _named(takes))


class Choice(NamedTuple):
    """One text of the CLVP curve: its row, all its candidates, what is said of each, and which the ASR reads."""

    row: LanguageRow
    takes: list[Take]
    judged: Judged
    read: list[int]


def choices(
    studio: Studio, items: pd.DataFrame, said: dict[str, Said], config: LanguagePlanConfig, n_most: int, n_read: int,
    seed: int,
) -> list[Choice]:  # fmt: skip
    """Texts of the CLVP curve with their candidates.

    Arguments:
        studio: Makes takes.
        items: Texts; the first of all languages by turns are taken.
        said: By item, with ``n_read`` candidates or more: the texts beyond ``n_curve_texts`` make do with them.
        config: How many texts.
        n_most: Candidates of the texts of the curve.
        n_read: Candidates of each text that are all read.
        seed: That ``said`` was made with.
    """
    chosen = spread(items, config.n_choice_texts)
    most = chosen.head(config.n_curve_texts)
    voices = [rows_of.own_voice(item) for item in most.itertuples()]
    more = dict(zip(most["item"], studio.speak(most, voices, n_most, seed), strict=True))
    found = []
    for item in chosen.itertuples():
        takes = (more.get(item.item) or said[item.item]).takes
        values = (np.array([getattr(take, name) for take in takes]) for name in ("rank", "score", "logprob"))
        row = rows_of.tts_row(item, "choice", takes[0].clip, rows_of.own_voice(item), True)
        found.append(Choice(row, takes, judged := Judged(*values), to_read(judged, n_read)))
    return found


def requests_of(choices: Sequence[Choice], rows: pd.DataFrame, seconds: dict[str, float]) -> list[Request]:
    """The candidates that the ASR reads for the curve alone, beyond the clips of the tables' rows."""
    known = set(rows["clip"])
    clips = {choice.takes[n].clip: choice.row.content_language for choice in choices for n in choice.read}
    return [
        Request(clip=clip, language=language, seconds=seconds[clip], wants=frozenset({"transcript"}))
        for clip, language in clips.items()
        if clip not in known
    ]


def curve_of(choices: Sequence[Choice], read: pd.Series, n_read: int) -> pd.DataFrame:
    """Scores of the CLVP curve; empty when no ASR is there.

    Arguments:
        choices: The texts.
        read: Transcript of each clip.
        n_read: Candidates of each text that were all read.
    """
    texts = [{n: read[choice.takes[n].clip] for n in choice.read} for choice in choices]
    if not all(isinstance(text, str) for own in texts for text in own.values()):
        return pd.DataFrame(columns=list(CURVE_COLUMNS))
    tried = [tried_of(choice.row, choice.judged, own) for choice, own in zip(choices, texts, strict=True)]
    return curve_scores(tried, n_read)
