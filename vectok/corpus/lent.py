"""Voices that only lend their sound to codec and vocoder: short recordings, trimmed and joined into utterances."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from vectok import audio
from vectok.corpus.entries import Entry
from vectok.frames import SAMPLE_RATE_HZ

UTTERANCE_SECONDS = 4.0  # of joined recordings, at least
FEWEST_SECONDS = 8.0  # a voice with less gives no prompt beside a target
QUIET_DB = 35.0  # below a recording's loudest 10 ms, a stretch counts as silence
CLIPPED_SHARE = 0.001  # of the samples of a recording; those with more are left out
MARGIN_SECONDS = 0.08  # of the silence that stays on both sides
_STEP = SAMPLE_RATE_HZ // 100


def trim(recording: Float[Tensor, " samples"]) -> Float[Tensor, " kept"]:
    """A recording without the silence before and behind it; empty if all of it is silent."""
    energy = pad(recording, (0, -len(recording) % _STEP)).reshape(-1, _STEP).square().mean(1)
    loud = torch.nonzero(energy > energy.max() * 10 ** (-QUIET_DB / 10)).flatten()
    if not len(loud) or float(energy.max()) == 0:
        return recording[:0]
    margin = int(MARGIN_SECONDS * SAMPLE_RATE_HZ)
    return recording[max(0, int(loud[0]) * _STEP - margin) : (int(loud[-1]) + 1) * _STEP + margin]


def joined(recordings: Iterable[Float[Tensor, " samples"]], most_seconds: float) -> list[Float[Tensor, " samples"]]:
    """Utterances of :data:`UTTERANCE_SECONDS` or more from the recordings of one voice.

    The last recordings, when they fill no utterance, belong to the one before.

    Arguments:
        recordings: Of one voice, in their order.
        most_seconds: Of the voice: what comes behind is not used.
    """
    utterances, waiting, n_waiting, n_samples = [], [], 0, 0
    for recording in recordings:
        if n_samples >= most_seconds * SAMPLE_RATE_HZ:
            break
        waiting.append(trim(recording))
        n_waiting, n_samples = n_waiting + len(waiting[-1]), n_samples + len(waiting[-1])
        if n_waiting >= UTTERANCE_SECONDS * SAMPLE_RATE_HZ:
            utterances, waiting, n_waiting = [*utterances, torch.cat(waiting)], [], 0
    if utterances and waiting:
        utterances[-1] = torch.cat([utterances[-1], *waiting])
    return utterances


def read_clean(paths: Iterable[Path]) -> Iterator[Float[Tensor, " samples"]]:
    """Recordings one by one, without those that are audibly clipped."""
    recordings = map(audio.read, paths)
    return (recording for recording in recordings if audio.clipped_fraction(recording) <= CLIPPED_SHARE)


def entries_of(
    voice: Entry, recordings: Iterable[Float[Tensor, " samples"]], most_seconds: float, folder: Path
) -> list[Entry]:
    """Joins the recordings of one voice, writes them into a folder, and describes them; nothing of a voice too short.

    Arguments:
        voice: What holds of all of them: ``name`` is the beginning of theirs, ``path`` is not used.
        recordings: In their order.
        most_seconds: Of the voice.
        folder: Receives ``<name>-<number>.flac``.
    """
    utterances = joined(recordings, most_seconds)
    if sum(map(len, utterances)) < FEWEST_SECONDS * SAMPLE_RATE_HZ:
        return []
    folder.mkdir(exist_ok=True)
    entries = []
    for number, samples in enumerate(utterances, 1):
        path = folder / f"{voice.name}-{number:02d}.flac"
        audio.write(path, samples)
        entries.append(replace(voice, name=path.stem, path=path, split="voices"))
    return entries
