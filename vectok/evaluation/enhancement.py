"""Clips of denoising and of bandwidth extension: what goes in, the baselines, the system, and the ceilings.

=====================  ==============================================================================================
``recording``          the clean, wide-band recording
``input``              the noisy or narrow-band recording as it comes
``gate``               spectral gating of the noisy recording (noisereduce)
``fold``               spectral folding of the narrow-band recording
``vectok``             its tokens with a clean, wide-band prompt of the same speaker
``vectok_other``       the same with a prompt of another speaker
``vectok_gate``        tokens of the gated recording
``vectok_spliced``     the narrow-band recording below its limit, the system's output above
``resynthesis``        the clean, wide-band recording's own tokens: the ceiling
=====================  ==============================================================================================
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from vectok.api import VecTok
from vectok.evaluation.models import ModelMissing
from vectok.evaluation.signal import intelligibility, log_spectral_distance, perceptual_quality, si_sdr, token_errors
from vectok.evaluation.task_scores import Measured, TaskClip
from vectok.store import FeatureStore
from vectok.tasks.denoise import gate
from vectok.tasks.extend import fold, narrow, splice
from vectok.tasks.noises import mix_at_snr

DENOISING = ("input", "gate", "vectok", "vectok_other", "vectok_gate")
EXTENSION = ("input", "fold", "vectok", "vectok_spliced")
SPLICE_MARGIN_HZ = 200.0  # below half the rate, where the resampler begins to fall


class Degraded(NamedTuple):
    """One way to spoil recordings: noise of a kind at a ratio, or a lower sampling rate."""

    kind: str
    amount: float

    @property
    def name(self) -> str:
        """The table's condition.

        Example:
            >>> Degraded("pink", -5.0).name, Degraded("rate", 8000).name
            ('pink -5 dB', '8000 Hz')
        """
        return f"{self.amount:g} Hz" if self.kind == "rate" else f"{self.kind} {self.amount:g} dB"


class Voices(NamedTuple):
    """Prompts of one item: of its own speaker and of another."""

    own: Float[Tensor, "prompt dim"]
    other: Float[Tensor, "others dim"]


def choose_items(codec_list: pd.DataFrame, index: pd.DataFrame, n_items: int, longest_seconds: float) -> pd.DataFrame:
    """Items of the codec's test list by seen speakers with a text, the languages in turn, each with its next text.

    Texts of one group are alike, and the bootstrap draws groups: a group is taken again only when a language has no
    other.

    Arguments:
        codec_list: The committed list.
        index: Of the feature store.
        n_items: All together, at most.
        longest_seconds: Longer recordings are left out.
    Returns: The list's rows with the index's columns.
    Raises:
        ValueError: No such item.
    """
    known = index.set_index("utterance")
    rows = codec_list[codec_list["seen"].astype(bool)].join(known, on="source")
    rows = rows[(rows["seconds"] <= longest_seconds) & (rows["text"] != "")].reset_index(drop=True)
    if rows.empty:
        raise ValueError(
            f"expected items of at most {longest_seconds:g} s in the codec list, got none: raise the limit"
        )
    groups = rows["group"].astype(str).where(rows["group"].astype(str) != "", rows["source"])
    left = {language: list(part.index) for language, part in rows.groupby("language")}
    taken: list[int] = []
    while any(left.values()) and len(taken) < n_items:
        for places in filter(None, left.values()):
            used = set(groups[taken])
            place = next((place for place in places if groups[place] not in used), places[0])
            places.remove(place)
            taken.append(place)
    return rows.loc[taken[:n_items]].reset_index(drop=True)


class Clips:
    """Makes clips by name, ``system|item|condition``, and measures each beside its clean recording.

    Arguments:
        model: The system.
        store: Clean recordings.
        voices: Prompts of each item.
        noise: Noise of a kind for an item, by kind, item and number of samples.
        ways: Ways to spoil, by name.
    """

    def __init__(
        self,
        model: VecTok,
        store: FeatureStore,
        voices: dict[str, Voices],
        noise: Callable[[str, str, int], Tensor],
        ways: Sequence[Degraded],
    ) -> None:
        self.model, self.store, self.voices, self.noise = model, store, voices, noise
        self.ways = {way.name: way for way in ways}
        self.measured: Measured = {}
        self.missing: dict[str, str] = {}
        n_kept = 2 * (len(ways) + 1)  # of an item all ways, gated and not: its clips come one after the other
        self._degraded, self._gated = lru_cache(n_kept)(self._degrade), lru_cache(n_kept)(self._gate)
        self._tokens = lru_cache(n_kept)(self._encode)

    def make(self, name: str) -> Float[Tensor, " samples"]:
        """Audio of a clip, as long as its recording."""
        system, item, condition = name.split("|")
        clean = self.store.audio(item)
        audio = self._make(system, item, condition)[: len(clean)]
        if system not in ("recording", "reference"):
            self.measured[name] = self._measure(audio, clean, system, item, condition)
        return audio

    def _degrade(self, item: str, condition: str) -> Float[Tensor, " samples"]:
        way, clean = self.ways[condition], self.store.audio(item)
        if way.kind == "rate":
            return narrow(clean, int(way.amount)).clamp(-1, 1)
        return mix_at_snr(clean, self.noise(way.kind, item, len(clean)), way.amount)

    def _gate(self, item: str, condition: str) -> Float[Tensor, " samples"]:
        return gate(self._degraded(item, condition))

    def _encode(self, item: str, condition: str, gated: bool) -> Tensor:
        if condition not in self.ways:
            return self.model.encode(self.store.audio(item)).tokens
        return self.model.encode((self._gated if gated else self._degraded)(item, condition)).tokens

    def _make(self, system: str, item: str, condition: str) -> Float[Tensor, " samples"]:
        if system in ("recording", "reference"):
            return self.store.audio(item)
        if system == "resynthesis":
            return self.model.decode(self._tokens(item, "clean", False), self.voices[item].own)
        heard = self._degraded(item, condition)
        if system in ("input", "gate"):
            return heard if system == "input" else self._gated(item, condition)
        if system == "fold":
            return fold(self.store.audio(item), int(self.ways[condition].amount))
        voice = self.voices[item].other if system == "vectok_other" else self.voices[item].own
        made = self.model.decode(self._tokens(item, condition, system == "vectok_gate"), voice)[: len(heard)]
        if system != "vectok_spliced":
            return made
        return splice(heard, made, self.ways[condition].amount / 2 - SPLICE_MARGIN_HZ)

    def _measure(
        self, audio: Tensor, clean: Tensor, system: str, item: str, condition: str
    ) -> dict[str, tuple[float, float]]:
        """Metrics beside the clean recording; those of spectra for extension, those of waveforms for denoising."""
        way = self.ways.get(condition)
        if way is None or way.kind == "rate":
            found = {"lsd": (log_spectral_distance(audio, clean), 1.0)}
            if way is not None:
                found["lsd_high"] = (log_spectral_distance(audio, clean, way.amount / 2), 1.0)
            else:
                rates = [w.amount for w in self.ways.values() if w.kind == "rate"]
                found |= {"lsd_high": (log_spectral_distance(audio, clean, rates[0] / 2), 1.0)} if rates else {}
        else:
            found = {"si_sdr": (si_sdr(audio, clean), 1.0)}
            for name, judge in (("stoi", intelligibility), ("pesq_wb", perceptual_quality)):
                try:
                    found[name] = (judge(audio, clean), 1.0)
                except ModelMissing as error:
                    self.missing[name] = f"not run: {error}"
        if system in ("vectok", "vectok_gate"):
            expected, heard = (self._tokens(item, where, system == "vectok_gate" and where != "clean")
                               for where in ("clean", condition))  # fmt: skip
            found["token_errors"] = tuple(map(float, token_errors(expected, heard)))
        return found


def rows_of(items: pd.DataFrame, ways: Sequence[Degraded], systems: Sequence[str]) -> list[TaskClip]:
    """Every row of one table: each system under each condition, the clean recording, and the ceiling.

    Arguments:
        items: What :func:`choose_items` gives.
        ways: Conditions.
        systems: Rows under each condition.
    """
    plan = [("recording", "clean"), ("resynthesis", "clean")]
    plan += [(system, way.name) for way in ways for system in systems]
    return [
        TaskClip(
            system, condition, row.source, row.language, row.speaker, str(row.group) or row.source, row.text,
            f"{system}|{row.source}|{condition}", f"recording|{row.source}|clean",
            tuple(f"reference|{name}|clean" for name in row.reference.split()),
        )
        for system, condition in plan
        for row in items.itertuples()
    ]  # fmt: skip


def voices_of(items: pd.DataFrame, store: FeatureStore) -> dict[str, Voices]:
    """Prompts of every item: its own from the list, and that of the next item by another speaker.

    Raises:
        ValueError: All items are of one speaker.
    """
    own = {
        row.source: torch.cat([store.vectors(name) for name in row.prompt.split()]) for row in items.itertuples()
    }  # fmt: skip
    speakers, found, names = dict(zip(items["source"], items["speaker"], strict=True)), {}, list(items["source"])
    for place, name in enumerate(names):
        others = [other for other in names[place:] + names[:place] if speakers[other] != speakers[name]]
        if not others:
            raise ValueError(f"expected items of two speakers or more, got only {speakers[name]}: raise n_items")
        found[name] = Voices(own[name], own[others[0]])
    return found
