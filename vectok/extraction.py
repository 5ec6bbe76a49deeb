"""Runs an encoder over a corpus into a feature store: constant memory, resumable, bad audio reported and left out."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from vectok.audio import AudioError
from vectok.corpus.manifest import read_utterance
from vectok.features import Vectoriser, read_layers
from vectok.store import FeatureStore, Item, StoreWriter

INDEX_COLUMNS = ("speaker", "language", "split", "group", "text", "corpus", "bandwidth_hz", "seconds")
BATCH_SECONDS = 60.0  # audio that is in memory at once


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One utterance that is still to be read.

    Arguments:
        name: Unique in its store.
        seconds: Length, as far as it is known; used to sort and to share out, never to cut.
        read: Gives its samples, or raises :class:`AudioError`.
        metadata: Columns of the store's index.
    """

    name: str
    seconds: float
    read: Callable[[], Float[Tensor, " samples"]]
    metadata: dict[str, object]


class Extraction(NamedTuple):
    """A finished store, and why each utterance that is not in it was left out."""

    store: FeatureStore
    skipped: dict[str, str]


def utterances_of(manifest: pd.DataFrame, folder: Path) -> list[Utterance]:
    """The rows of a manifest, ready to be read.

    Arguments:
        manifest: From :func:`vectok.corpus.manifest.read_manifest`.
        folder: The corpus folder that it lies in.
    """
    return [
        Utterance(
            name=row["utterance"],
            seconds=float(row["seconds"]),
            read=partial(read_utterance, folder, row),
            metadata={column: row[column] for column in INDEX_COLUMNS},
        )
        for _, row in manifest.iterrows()
    ]


def shards_of(utterances: Sequence[Utterance], shard_seconds: float) -> list[list[Utterance]]:
    """Shares utterances out in their order, about ``shard_seconds`` a shard; inside a shard they stand by length."""
    shards: list[list[Utterance]] = [[]]
    filled = 0.0
    for utterance in utterances:
        if filled >= shard_seconds:
            shards, filled = [*shards, []], 0.0
        shards[-1].append(utterance)
        filled += utterance.seconds
    return [sorted(shard, key=lambda u: (u.seconds, u.name)) for shard in shards]


def extract(
    vectorisers: Sequence[Vectoriser], utterances: Sequence[Utterance], folder: Path, shard_seconds: float, label: str
) -> Extraction:
    """Vectorises utterances into a store, going on after the last whole shard of an interrupted run.

    What an earlier run left in ``folder`` counts only if it was made by the same vectorisers from the same list.

    Arguments:
        vectorisers: One for each layer that the store keeps, of one encoder; the speech vectors' first.
        utterances: What is read.
        folder: Where the store grows; move it into place when it is finished.
        shard_seconds: Audio in one shard.
        label: Stands before the progress bar.
    Raises:
        ValueError: Nothing could be read, or a name occurs twice.
    """
    plan = _fingerprint(vectorisers, utterances, shard_seconds)
    if not (folder / "plan").exists() or (folder / "plan").read_text() != plan:
        shutil.rmtree(folder, ignore_errors=True)
    writer = StoreWriter(folder, vectorisers[0].dim, [each.layer for each in vectorisers])
    (folder / "plan").write_text(plan)
    shards = shards_of(utterances, shard_seconds)
    finished = (folder / "index.csv").exists()
    with tqdm(total=len(utterances), desc=label, unit="utterance", mininterval=10) as bar:
        for number, shard in enumerate(shards):
            if finished or writer.has(number):
                bar.update(len(shard))
            else:
                writer.write(number, _items(vectorisers, shard, folder / "skipped.jsonl", bar))
    skipped = _skipped(folder / "skipped.jsonl")
    if len(skipped) == len(utterances):
        raise ValueError(f"no utterance could be read: {next(iter(skipped.values()), 'there is none')}")
    return Extraction(FeatureStore(folder) if finished else writer.close(len(shards)), skipped)


def _fingerprint(vectorisers: Sequence[Vectoriser], utterances: Sequence[Utterance], shard_seconds: float) -> str:
    """Hash of all that decides what the store will hold."""
    names = [utterance.name for utterance in utterances]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"utterance {twice!r} occurs twice: names must be unique in a store")
    digest = hashlib.sha256(json.dumps([vectorisers[0].encoder.content_hash, shard_seconds]).encode())
    for each in vectorisers:
        digest.update(str(each.layer).encode())
        for value in each.statistics:
            digest.update(value.numpy().tobytes())
    for utterance in utterances:
        digest.update(json.dumps([utterance.name, utterance.seconds, utterance.metadata], default=str).encode())
    return digest.hexdigest()


def _items(vectorisers: Sequence[Vectoriser], shard: list[Utterance], skipped: Path, bar: tqdm) -> Iterator[Item]:
    """Reads, encodes and yields a shard, about a minute of audio at a time."""
    for batch in shards_of(shard, BATCH_SECONDS):
        audios: dict[int, Tensor] = {}
        for index, utterance in enumerate(batch):
            try:
                audios[index] = utterance.read()
            except AudioError as error:
                _report(skipped, utterance.name, str(error))
        encoded = read_layers(vectorisers, list(audios.values()))
        for (index, audio), (vectors, *others) in zip(audios.items(), encoded, strict=True):
            name, metadata = batch[index].name, batch[index].metadata
            yield Item(utterance=name, vectors=vectors, audio=audio, metadata=metadata, others=others)
        bar.update(len(batch))


def _report(skipped: Path, name: str, reason: str) -> None:
    """Names an utterance that was left out, on the screen and in the store's folder."""
    tqdm.write(f"left out {name}: {reason}")
    with skipped.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"utterance": name, "reason": reason}) + "\n")


def _skipped(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {row["utterance"]: row["reason"] for row in rows}
