"""Scores clips in batches, once: every value is kept under the hash of the audio and the name of the model.

A clip that stands in two tables, or in a run that was killed and started again, is scored once. Memory stays constant:
clips are made, scored and dropped a few at a time.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from vectok.augment import narrow_band
from vectok.evaluation.models import ModelMissing, Scorer, side_by_side
from vectok.frames import seconds_of_samples

NARROW = "embedding_narrow"  # the speaker embedding of the narrow-band copy of a clip
VALUES = ("transcript", "embedding", NARROW, "distillmos", "dnsmos")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One clip to score.

    Arguments:
        clip: Its name.
        language: What the ASR is told.
        seconds: About how long it is, so that clips of like length share batches.
        wants: Some of :data:`VALUES`.
    """

    clip: str
    language: str
    seconds: float
    wants: frozenset[str]


def quantise(audio: Float[Tensor, " samples"]) -> Float[Tensor, " samples"]:
    r"""Rounds to 16 bits, as a file would: :math:`\mathrm{round}(32767 x) / 32767`, clipped to [-1, 1].

    Raises:
        ValueError: NaN or infinite samples, or none.
    """
    if not len(audio) or not bool(torch.isfinite(audio).all()):
        raise ValueError(
            f"expected finite samples, got {len(audio)} samples, some of them perhaps NaN: retrain or drop it"
        )
    return (audio.clamp(-1, 1) * 32767).round() / 32767


def narrow(audio: Float[Tensor, " samples"]) -> Float[Tensor, " samples"]:
    """The narrow-band copy of a clip: through 11,025 Hz and 8 bits, as the corpus drascula was made, and back.

    Both sides of a comparison in which one is narrow-band are treated so; otherwise a low-passed copy would count as
    conversion.
    """
    return narrow_band(audio).clamp(-1, 1)


def audio_hash(audio: Float[Tensor, " samples"]) -> str:
    """SHA-256 of the samples in 16 bits."""
    samples = (audio.clamp(-1, 1) * 32767).round().to(torch.int16)
    return hashlib.sha256(samples.numpy().tobytes()).hexdigest()


class ScoreCache:
    """Values by (audio hash, model) in one SQLite file; a killed run loses at most one batch.

    Arguments:
        path: Made when it is not there.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path)
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS scores (hash TEXT, model TEXT, value TEXT, PRIMARY KEY (hash, model))"
        )
        self.n_hits, self.n_misses = 0, 0

    def get(self, audio: str, model: str) -> object | None:
        """The value of one clip, None when it was never scored."""
        row = self._database.execute("SELECT value FROM scores WHERE hash = ? AND model = ?", (audio, model)).fetchone()
        self.n_hits, self.n_misses = self.n_hits + (row is not None), self.n_misses + (row is None)
        return None if row is None else json.loads(row[0])

    def put(self, model: str, values: dict[str, object]) -> None:
        """Keeps the values of a batch, by audio hash, in one transaction."""
        rows = [(audio, model, json.dumps(value, ensure_ascii=False)) for audio, value in values.items()]
        with self._database:
            self._database.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        """Closes the file."""
        self._database.close()


def available(makers: dict[str, Callable[[], Scorer]]) -> tuple[dict[str, Scorer], dict[str, str]]:
    """The scorers that can run, and for those that cannot the reason.

    Arguments:
        makers: What builds each scorer, by the name of its value.
    """
    scorers, missing = {}, {}
    for name, make in makers.items():
        try:
            scorers[name] = make()
        except (ModelMissing, ImportError) as error:
            missing[name] = f"not run: {error}"
    return scorers, missing


def _values(scorer: Scorer, clips: Sequence[Tensor], languages: Sequence[str], cache: ScoreCache) -> list[object]:
    """One value a clip: from the cache, or else from the model, each distinct clip once."""
    hashes = [audio_hash(clip) for clip in clips]
    models = [f"{scorer.model} | {language}" if scorer.uses_language else scorer.model for language in languages]
    found = {key: cache.get(*key) for key in dict.fromkeys(zip(hashes, models, strict=True))}
    places = {
        key: place for place, key in reversed(list(enumerate(zip(hashes, models, strict=True)))) if found[key] is None
    }
    if places:
        todo = sorted(places.values())
        fresh = scorer.score([clips[place] for place in todo], [languages[place] for place in todo])
        for place, value in zip(todo, fresh, strict=True):
            cache.put(models[place], {hashes[place]: value})
            found[hashes[place], models[place]] = value
    return [found[key] for key in zip(hashes, models, strict=True)]


def _score_chunk(
    chunk: Sequence[Request], clips: list[Tensor], scorers: dict[str, Scorer], cache: ScoreCache
) -> list[dict[str, object]]:
    """Rows of a few clips, every model over those that want it."""
    rows = [
        {"clip": request.clip, "seconds": seconds_of_samples(len(audio))}
        for request, audio in zip(chunk, clips, strict=True)
    ]
    for value in VALUES:
        scorer = scorers.get("embedding" if value == NARROW else value)
        places = [place for place, request in enumerate(chunk) if value in request.wants]
        if scorer is None or not places:
            continue
        heard = [narrow(clips[place]) if value == NARROW else clips[place] for place in places]
        for place, score in zip(
            places, _values(scorer, heard, [chunk[p].language for p in places], cache), strict=True
        ):
            rows[place][value] = score
    return rows


def score_clips(
    requests: Iterable[Request], make: Callable[[str], Tensor], scorers: dict[str, Scorer], cache: ScoreCache,
    chunk_size: int = 32,
) -> pd.DataFrame:  # fmt: skip
    """Makes and scores clips, a few at a time, with the time left.

    Arguments:
        requests: Clips by name and what is wanted of each.
        make: Audio of a clip's name; called once a clip, several at a time from threads.
        scorers: By the name of their value; a value whose scorer is missing stays empty.
        cache: What earlier runs scored.
        chunk_size: Clips held in memory.
    Returns: One row a clip: ``clip, seconds`` and the columns of :data:`VALUES`.
    """
    ordered = sorted(requests, key=lambda request: (request.seconds, request.clip))
    rows: list[dict[str, object]] = []
    with tqdm(total=len(ordered), desc="clips", mininterval=10, smoothing=0.1) as bar:
        for start in range(0, len(ordered), chunk_size):
            chunk = ordered[start : start + chunk_size]
            clips = side_by_side(lambda request: quantise(make(request.clip)), chunk)
            rows += _score_chunk(chunk, clips, scorers, cache)
            bar.update(len(chunk))
    return pd.DataFrame(rows, columns=["clip", "seconds", *VALUES])
