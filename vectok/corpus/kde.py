"""The corpus kde: letters, syllables and words that some forty people recorded at home for two learning programs.

KLettres and KTuberling speak some thirty languages, each recorded by a volunteer with a microphone of his or her own.
The recordings have no texts here and last a second; what they teach is what voices and microphones there are. The words
of a voice are joined into utterances of a few seconds, without the silence around them.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from vectok import audio
from vectok.corpus.entries import Entry
from vectok.frames import SAMPLE_RATE_HZ

LICENCE = "GPL-2.0-or-later"
UTTERANCE_SECONDS = 4.0  # of joined words, at least
VOICE_SECONDS = 90.0  # of one voice, at most: some recorded a minute, one recorded twenty
FEWEST_SECONDS = 8.0  # a voice with less gives no prompt beside a target
QUIET_DB = 35.0  # below a word's loudest 10 ms, a stretch counts as silence
CLIPPED_SHARE = 0.001  # of the samples of a word; those with more are left out
MARGIN_SECONDS = 0.08  # of the silence that stays on both sides
_STEP = SAMPLE_RATE_HZ // 100


def trim(word: Float[Tensor, " samples"]) -> Float[Tensor, " kept"]:
    """A recording without the silence before and behind it; empty if all of it is silent."""
    energy = pad(word, (0, -len(word) % _STEP)).reshape(-1, _STEP).square().mean(1)
    loud = torch.nonzero(energy > energy.max() * 10 ** (-QUIET_DB / 10)).flatten()
    if not len(loud) or float(energy.max()) == 0:
        return word[:0]
    margin = int(MARGIN_SECONDS * SAMPLE_RATE_HZ)
    return word[max(0, int(loud[0]) * _STEP - margin) : (int(loud[-1]) + 1) * _STEP + margin]


def joined(words: Iterator[Float[Tensor, " samples"]]) -> list[Float[Tensor, " samples"]]:
    """Utterances of :data:`UTTERANCE_SECONDS` or more from the words of one voice, :data:`VOICE_SECONDS` at most.

    The last words, when they fill no utterance, belong to the one before.
    """
    utterances, waiting, n_waiting, n_samples = [], [], 0, 0
    for word in words:
        if n_samples >= VOICE_SECONDS * SAMPLE_RATE_HZ:
            break
        waiting.append(trim(word))
        n_waiting, n_samples = n_waiting + len(waiting[-1]), n_samples + len(waiting[-1])
        if n_waiting >= UTTERANCE_SECONDS * SAMPLE_RATE_HZ:
            utterances, waiting, n_waiting = [*utterances, torch.cat(waiting)], [], 0
    if utterances and waiting:
        utterances[-1] = torch.cat([utterances[-1], *waiting])
    return utterances


def read_kde(folder: Path) -> list[Entry]:
    """Joins the words of every voice of ``<folder>/<program>/<language>/`` and writes ``<folder>/joined/``.

    Raises:
        ValueError: No voice is there, or a word cannot be read (the hashes of all were checked before).
    """
    entries = []
    for voice in sorted(path for path in folder.glob("*/*") if path.is_dir() and path.parent.name != "joined"):
        program, language = voice.parent.name, voice.name
        utterances = joined(_words(voice))
        if sum(map(len, utterances)) < FEWEST_SECONDS * SAMPLE_RATE_HZ:
            continue
        for number, samples in enumerate(utterances, 1):
            path = folder / "joined" / f"{program}-{language}-{number:02d}.flac"
            path.parent.mkdir(exist_ok=True)
            audio.write(path, samples)
            entries.append(
                Entry(
                    corpus="kde",
                    language=language.lower(),
                    name=path.stem,
                    speaker=f"kde-{program}-{language}",
                    path=path,
                    licence=LICENCE,
                    split="voices",
                )
            )
    if not entries:
        raise ValueError(f"{folder}: expected <program>/<language>/<word>.ogg in it, found no voice")
    return entries


def _words(voice: Path) -> Iterator[Float[Tensor, " samples"]]:
    """The recordings of one voice, by name, without those that are audibly clipped."""
    words = (audio.read(path) for path in sorted(path for path in voice.rglob("*") if path.is_file()))
    return (word for word in words if audio.clipped_fraction(word) <= CLIPPED_SHARE)
