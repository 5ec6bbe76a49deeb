"""Test lists: which utterance is resynthesised or converted, with which prompt, and judged against which references.

The lists are chosen by seed and committed in data/lists/<profile>/; the corpus stage makes them anew and refuses to go
on where they differ. A list has the columns :data:`COLUMNS`; ``prompt`` and ``reference`` are utterances joined by
spaces. No reference of a speaker is a prompt of that speaker anywhere, and neither is ever the source.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from vectok.corpus.manifest import PLAIN

COLUMNS = ("task", "condition", "source", "target_speaker", "prompt", "reference", "seen")
TASKS = ("codec", "vc_intra", "vc_cross")
FILES = ("codec", "vc")
LONGEST_PROMPT_PART_SECONDS = 6.0


@dataclass(frozen=True, kw_only=True)
class ListConfig:
    """Sizes of the lists.

    Arguments:
        n_codec_unseen: Codec sources of speakers never seen.
        n_intra: Conversions within one language, for each language and each of seen and unseen targets.
        n_cross: Conversions across languages, for each of seen and unseen targets.
        prompt_seconds: Speech that a prompt has at least.
        n_references: Utterances that an output is compared with, at most; at least three.
        shortest_source_seconds: Shortest source.
        longest_source_seconds: Longest source of a conversion.
        shortest_reference_seconds: Shortest reference.
        seed: Of every choice.
    """

    n_codec_unseen: int
    n_intra: int
    n_cross: int
    prompt_seconds: float
    n_references: int
    shortest_source_seconds: float
    longest_source_seconds: float
    shortest_reference_seconds: float
    seed: int


class Lists(NamedTuple):
    """The two lists of a profile."""

    codec: pd.DataFrame
    vc: pd.DataFrame


class Voice(NamedTuple):
    """A speaker as a target: utterances for prompts and for references, which share none."""

    language: str
    is_seen: bool
    prompts: list[str]
    references: list[str]


def voices_of(rows: pd.DataFrame, config: ListConfig) -> dict[str, Voice]:
    """Speakers that have enough speech to be targets.

    Of a speaker in training, prompts are train utterances and references dev and test ones; of any other speaker,
    references are set aside first and prompts come from the rest.
    """
    voices, in_training = {}, set(rows.loc[rows["split"] == "train", "speaker"])
    for speaker, own in rows.groupby("speaker"):
        own = own[own["seconds"] >= config.shortest_reference_seconds]
        is_seen = speaker in in_training
        names = _shuffled(own["utterance"], config.seed, str(speaker))
        splits = dict(zip(own["utterance"], own["split"], strict=True))
        if is_seen:
            references = [name for name in names if splits[name] in {"dev", "test"}]
        else:
            references = names[: config.n_references + 1]  # one more, as one of them may be the source
        set_aside = set(references)
        short = set(own.loc[own["seconds"] <= LONGEST_PROMPT_PART_SECONDS, "utterance"])
        prompts = [name for name in names if name in short and name not in set_aside]
        prompts = [name for name in prompts if splits[name] == "train"] if is_seen else prompts
        seconds = own.set_index("utterance")["seconds"]
        if len(references) >= 4 and seconds[prompts].sum() >= 2 * config.prompt_seconds + LONGEST_PROMPT_PART_SECONDS:
            language = str(own["language"].iloc[0])
            voices[str(speaker)] = Voice(language, is_seen, prompts, references)
    return voices


def make_lists(rows: pd.DataFrame, config: ListConfig) -> Lists:
    """Chooses both lists from the rows of a manifest (with the column ``plain``).

    Raises:
        ValueError: No test utterance can be resynthesised.
    """
    rows = rows[rows["split"] != "voices"]
    voices = voices_of(rows, config)
    seconds = rows.set_index("utterance")["seconds"].to_dict()
    sources = rows[rows["seconds"] >= config.shortest_source_seconds]
    codec = _codec(sources, voices, seconds, config)
    if not codec:
        raise ValueError("the codec test list is empty: raise n_test, or add speakers with several recordings each")
    sources = sources[sources["seconds"] <= config.longest_source_seconds]
    conversions = []
    for is_seen in (True, False):
        targets = {name: voice for name, voice in voices.items() if voice.is_seen == is_seen}
        for language in sorted({voice.language for voice in targets.values()}):
            same = {name: voice for name, voice in targets.items() if voice.language == language}
            conversions += _pairs("vc_intra", sources, same, seconds, config, config.n_intra)
        conversions += _pairs("vc_cross", sources, targets, seconds, config, config.n_cross)
    return Lists(pd.DataFrame(codec, columns=list(COLUMNS)), pd.DataFrame(conversions, columns=list(COLUMNS)))


def _codec(
    sources: pd.DataFrame, voices: dict[str, Voice], seconds: dict[str, float], config: ListConfig
) -> list[dict[str, object]]:
    """Every plain test utterance, and some of speakers never seen, spread evenly over these."""
    sources = sources[sources["speaker"].isin(list(voices))]
    test = sources[(sources["split"] == "test") & sources[PLAIN]]
    chosen = list(zip(test["utterance"], test["speaker"], strict=True))
    unseen = sources[(sources["split"] == "unseen") & (sources["seconds"] <= config.longest_source_seconds)]
    by_speaker = {
        str(speaker): _shuffled(own["utterance"], config.seed, f"codec {speaker}")
        for speaker, own in unseen.groupby("speaker")
    }
    turns = [
        (names[turn], name) for turn in range(len(unseen)) for name, names in by_speaker.items() if turn < len(names)
    ]
    chosen += turns[: config.n_codec_unseen]
    languages = dict(zip(sources["utterance"], sources["language"], strict=True))
    return [
        _row("codec", languages[source], source, speaker, voices[speaker], seconds, config)
        for source, speaker in sorted(chosen)
    ]


def _pairs(
    task: str,
    sources: pd.DataFrame,
    targets: dict[str, Voice],
    seconds: dict[str, float],
    config: ListConfig,
    n_pairs: int,
) -> list[dict[str, object]]:
    """Sources of other speakers for each target in turn; test utterances, or unseen ones where no test one fits."""
    queues: dict[str, dict[str, list[str]]] = {}
    for name, voice in targets.items():
        is_same = sources["language"] == voice.language
        fitting = sources[(sources["speaker"] != name) & (is_same if task == "vc_intra" else ~is_same)]
        test = fitting[(fitting["split"] == "test") & fitting[PLAIN]]
        fitting = fitting[fitting["split"] == "unseen"] if test.empty else test
        queues[name] = {
            str(speaker): _shuffled(own["utterance"], config.seed, f"{task} {name} {speaker}")
            for speaker, own in fitting.groupby("speaker")
        }
    order = [name for name in _shuffled(queues, config.seed, f"{task} targets") if queues[name]]
    languages, rows = dict(zip(sources["utterance"], sources["language"], strict=True)), []
    for turn in range(n_pairs if order else 0):
        target = order[turn % len(order)]
        queue, voice = queues[target], targets[target]
        # Each target begins with another speaker, so that few turns still meet all of them.
        speaker = sorted(queue)[(turn // len(order) + turn % len(order)) % len(queue)]
        source = queue[speaker].pop()
        if not queue[speaker]:
            del queue[speaker]
        order = [name for name in order if queues[name]] or order[:0]
        source_language = languages[source]
        condition = voice.language if task == "vc_intra" else f"{source_language}-{voice.language}"
        rows.append(_row(task, condition, source, target, voice, seconds, config))
        if not order:
            break
    return sorted(rows, key=lambda row: (row["condition"], row["target_speaker"], row["source"]))


def _row(
    task: str,
    condition: str,
    source: str,
    target: str,
    voice: Voice,
    seconds: dict[str, float],
    config: ListConfig,
) -> dict[str, object]:
    """One line of a list: prompt utterances until there is enough speech, then the references."""
    prompt: list[str] = []
    for name in _shuffled(voice.prompts, config.seed, f"{source} {target}"):
        if sum(seconds[part] for part in prompt) >= config.prompt_seconds:
            break
        prompt += [name] if name != source else []
    references = [name for name in voice.references if name != source][: config.n_references]
    return {
        "task": task,
        "condition": condition,
        "source": source,
        "target_speaker": target,
        "prompt": " ".join(prompt),
        "reference": " ".join(references),
        "seen": voice.is_seen,
    }


def _shuffled(names: object, seed: int, salt: str) -> list[str]:
    """Names in an order that depends on them, the seed and the salt alone."""
    ordered = sorted(names)
    random.Random(f"{seed} {salt}").shuffle(ordered)
    return ordered


def write_lists(lists: Lists, folder: Path) -> None:
    """Writes ``codec.csv`` and ``vc.csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in zip(FILES, lists, strict=True):
        table.to_csv(folder / f"{name}.csv", index=False)


def read_lists(folder: Path) -> Lists:
    """Reads both lists of a folder.

    Raises:
        ValueError: One is missing or has other columns.
    """
    tables = []
    for name in FILES:
        path = folder / f"{name}.csv"
        if not path.is_file():
            raise ValueError(f"no test list {path}: run the corpus stage first")
        table = pd.read_csv(path, keep_default_na=False)
        if tuple(table.columns) != COLUMNS:
            raise ValueError(f"{path}: expected the columns {', '.join(COLUMNS)}: run the corpus stage again")
        tables.append(table)
    return Lists(*tables)


def check_committed(lists: Lists, committed: Path) -> bool:
    """Compares fresh lists with the committed ones; False where none are committed.

    Raises:
        ValueError: They differ.
    """
    if not all((committed / f"{name}.csv").is_file() for name in FILES):
        return False
    for name, fresh, kept in zip(FILES, lists, read_lists(committed), strict=True):
        if fresh.astype(str).to_dict("records") != kept.astype(str).to_dict("records"):
            raise ValueError(
                f"{committed / name}.csv differs from the list that these recordings and parameters give: take the "
                "change back, or remove the committed list to accept the new one"
            )
    return True


def faults(lists: Lists, rows: pd.DataFrame, config: ListConfig) -> list[str]:
    """Everything in which lists break their promises; empty when they keep them."""
    seconds, speakers = (rows.set_index("utterance")[column].to_dict() for column in ("seconds", "speaker"))
    splits, found = rows.set_index("utterance")["split"].to_dict(), []
    table = pd.concat(lists)
    prompts, references = (
        {speaker: set(" ".join(own[column]).split()) for speaker, own in table.groupby("target_speaker")}
        for column in ("prompt", "reference")
    )
    for row in table.to_dict("records"):
        target, parts, judged = row["target_speaker"], row["prompt"].split(), row["reference"].split()
        checks = {
            "its source stands in train or dev": splits[row["source"]] not in {"test", "unseen"},
            "its source is its prompt or reference": row["source"] in parts + judged,
            "prompt or reference are another speaker's": {speakers[name] for name in parts + judged} != {target},
            "its prompt is too short": sum(seconds[name] for name in parts) < config.prompt_seconds,
            "it has fewer than three references": len(judged) < 3,
            "a reference is too short": any(seconds[name] < config.shortest_reference_seconds for name in judged),
            "a prompt of the speaker is a reference": bool(prompts[target] & references[target]),
            "a prompt of a seen speaker is not from train": row["seen"]
            and {splits[name] for name in parts} != {"train"},
        }
        found += [f"{row['task']} {row['source']} -> {target}: {fault}" for fault, is_so in checks.items() if is_so]
    return found
