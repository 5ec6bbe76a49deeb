"""The plan of an evaluation: every row of every table, clip by clip, and what each clip is scored for."""

import random
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from vectok.corpus.lists import Lists
from vectok.evaluation.scores import RATERS
from vectok.evaluation.scoring import NARROW, Request
from vectok.evaluation.systems import Clip, guided_name

TABLES = {"codec": "codec", "vc_intra": "table1_vc_intra", "vc_cross": "table2_vc_cross"}
NARROW_BAND_HZ = 6_000.0  # a recording with less is narrow-band


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """Which rows stand in the tables.

    Arguments:
        neighbours: k of each kNN-VC row.
        rated_neighbours: k of the kNN-VC row whose naturalness is predicted too.
        dnsmos_every: DNSMOS, which takes longest, rates every such item of a table, language and kind of voice.
        guidances: Weight of guidance of each row of our own beside the model's; their naturalness is not predicted.
        seed: Of the random targets.
    """

    neighbours: tuple[int, ...] = (1, 4, 8, 16)
    rated_neighbours: int = 4
    dnsmos_every: int = 1
    guidances: tuple[float, ...] = ()
    seed: int = 0


class Row(NamedTuple):
    """One clip in one row of one table.

    ``content`` is the utterance whose words the clip should carry, with its ``text`` and ``content_language``; the clip
    is compared with the recordings ``references`` (the target voice), ``prompts`` and ``sources``, and rated by the
    models ``raters``.
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
    raters: tuple[str, ...]


def _recordings(utterances: list[str]) -> tuple[str, ...]:
    """Names of the recordings' clips."""
    return tuple(Clip("recording", utterance).name for utterance in utterances)


def _random_targets(items: pd.DataFrame, seed: int) -> list[list[str]]:
    """For each item the references of another target speaker of its table, of the same kind (seen or not) if any is."""
    generator, found = random.Random(seed), []
    references = items.drop_duplicates("target_speaker").set_index("target_speaker")
    for item in items.itertuples():
        others = references.drop(index=item.target_speaker)
        alike = others[others["seen"] == item.seen]
        names = sorted((alike if len(alike) else others).index)
        found.append(references.at[generator.choice(names), "reference"].split() if names else [])
    return found


def _codec_clips(item: object) -> dict[str, tuple[Clip, list[str], str]]:
    """Codec rows: system -> (clip, references, content). Similarity is to the original recording."""
    prompt = tuple(item.prompt.split())
    return {
        "ground_truth": (Clip("recording", item.source), [item.source], item.source),
        "vocoder": (Clip("vocoder", item.source), [item.source], item.source),
        "tokens": (Clip("vectok", item.source, prompt), [item.source], item.source),
    }


def _conversion_clips(
    item: object, others: list[str], own_prompts: dict[str, tuple[str, ...]], config: PlanConfig
) -> dict[str, tuple[Clip, list[str], str]]:
    """Conversion rows: a recording of the target, then what is done to the source.

    ``vocoder`` and ``tokens`` leave the source's voice alone: they are the codec table's clips, where that has them.
    """
    prompt, references = tuple(item.prompt.split()), item.reference.split()
    own = references[item.Index % min(2, len(references))]
    converted = Clip("vectok", item.source, prompt)
    clips = {"vectok": converted, "no_conversion": Clip("recording", item.source)}
    for method in (*map(guided_name, config.guidances), *(f"knn_vc_k{k}" for k in config.neighbours)):
        clips[method] = Clip(method, item.source, prompt)
    if item.source in own_prompts:
        clips |= {
            "vocoder": Clip("vocoder", item.source),
            "tokens": Clip("vectok", item.source, own_prompts[item.source]),
        }
    rows = {system: (clip, references, item.source) for system, clip in clips.items()}
    rows["ground_truth"] = (Clip("recording", own), [name for name in references if name != own], own)
    return rows | ({"random_target": (converted, others, item.source)} if others else {})


def _table_rows(
    table: str, items: pd.DataFrame, index: pd.DataFrame, own_prompts: dict[str, tuple[str, ...]], config: PlanConfig
) -> list[Row]:
    """Rows of one table, system by system within an item.

    The naturalness of one kNN-VC row and of the model's own guidance is predicted, for the time it takes.
    """
    rows, others = [], _random_targets(items, config.seed)
    places = items.groupby([items["source"].map(index["language"]), "seen"]).cumcount()
    unrated = {f"knn_vc_k{k}" for k in config.neighbours if k != config.rated_neighbours}
    unrated |= set(map(guided_name, config.guidances))
    for number, item in enumerate(items.itertuples()):
        is_codec = table == TABLES["codec"]
        clips = _codec_clips(item) if is_codec else _conversion_clips(item, others[number], own_prompts, config)
        involved = [item.source, *item.prompt.split(), *item.reference.split(), *others[number]]
        is_narrow = bool((index.loc[involved, "bandwidth_hz"] < NARROW_BAND_HZ).any())
        raters = tuple(r for r in RATERS if r != "dnsmos" or places[number] % config.dnsmos_every == 0)
        for system, (clip, references, content) in clips.items():
            said, is_ground_truth = index.loc[content], system == "ground_truth"
            rows.append(Row(
                table=table, system=system, item=f"{item.source}>{item.target_speaker}",
                language=index.at[item.source, "language"], is_seen=item.seen,
                speaker=item.target_speaker, group=str(said["group"]) or content,
                clip=clip.name, content=Clip("recording", content).name, content_language=said["language"],
                text=said["text"], references=_recordings(references), prompts=_recordings(item.prompt.split()),
                sources=() if is_codec or is_ground_truth else _recordings([item.source]), narrow=is_narrow,
                raters=() if system in unrated else raters,
            ))  # fmt: skip
    return rows


def rows_of(lists: Lists, index: pd.DataFrame, config: PlanConfig) -> pd.DataFrame:
    """Every row of the three tables.

    Arguments:
        lists: The test lists of a profile.
        index: The feature store's.
        config: Rows to make.
    Returns: One row a clip and system, columns as :class:`Row`.
    Raises:
        ValueError: A list names an utterance that the store does not have.
    """
    index, rows = index.set_index("utterance"), []
    items = pd.concat([lists.codec, lists.vc])
    named = set(" ".join([*items["source"], *items["prompt"], *items["reference"]]).split())
    if missing := sorted(named - set(index.index)):
        raise ValueError(
            f"the test lists name {missing[0]} and {len(missing) - 1} others that the features lack: run make repro"
        )
    own_prompts = {item.source: tuple(item.prompt.split()) for item in lists.codec.itertuples()}
    for task, table in TABLES.items():
        chosen = items[items["task"] == task].reset_index(drop=True)
        rows += _table_rows(table, chosen, index, own_prompts, config) if len(chosen) else []
    return pd.DataFrame(rows, columns=list(Row._fields))


def requests_of(rows: pd.DataFrame, index: pd.DataFrame) -> list[Request]:
    """What every clip of the plan is scored for, each clip once.

    The recordings that the rows are compared with get what the comparison needs.

    Arguments:
        rows: What :func:`rows_of` gives.
        index: The feature store's.
    """
    index, wants = index.set_index("utterance"), {}
    for row in rows.itertuples():
        embedding = NARROW if row.narrow else "embedding"
        wants.setdefault(row.clip, set()).update({"transcript", embedding, *row.raters})
        wants.setdefault(row.content, set()).add("transcript")
        for name in (*row.references, *row.prompts, *row.sources):
            wants.setdefault(name, set()).add(embedding)
    recordings = {name: index.loc[Clip.of_name(name).source] for name in wants}
    return [
        Request(
            clip=name,
            language=recordings[name]["language"],
            seconds=float(recordings[name]["seconds"]),
            wants=frozenset(wanted),
        )
        for name, wanted in wants.items()
    ]
