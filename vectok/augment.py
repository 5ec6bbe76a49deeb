r"""Makes many pseudo speakers out of few: pitch and formants are moved, the words stay.

A pseudo speaker is a pair of factors. Resampling by ``pitch`` r multiplies every frequency, so pitch and formants
alike, by r; overlap-add gives the utterance its tempo back; a warp of the cepstral envelope by :math:`\alpha = f / r`
then puts the formants at the factor ``formant`` f. Each pseudo speaker has a channel of its own
(:mod:`vectok.channel`), and some are heard through 11,025 Hz and 8 bits, as old games kept their voices.

Source: WSOLA of Verhelst and Roelands (1993) for the tempo; the envelope is the cepstrum below the pitch period (Röbel
and Rodet, 2005, describe better ones). *Deviation*: the paper learns from many thousand speakers and does not
augment.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import soxr
import torch
from jaxtyping import Float
from torch import Tensor

from vectok.channel import Channel, ChannelRange, draw_channel
from vectok.extraction import Utterance
from vectok.frames import SAMPLE_RATE_HZ

N_FFT, HOP_SAMPLES = 1024, 256
LIFTER_SAMPLES = 32  # 2 ms: below the period of any voice that comes out (500 Hz)
LARGEST_GAIN_DB = 30.0
STRETCH_HOP, STRETCH_SEARCH = 256, 160  # samples
NARROW_RATE_HZ = 11_025
NARROW_BAND_HZ = 5_500
LOUDEST_PEAK = 0.98
FORMANT_OF_PITCH = 0.3  # men's pitch is about .55 of women's, their formants about .85: .85 = .55 ** .3
FORMANT_SPREAD = 0.14  # half the width of the formant factors at one pitch, as a logarithm


@dataclass(frozen=True, kw_only=True)
class Voice:
    """A pseudo speaker: its real speaker and what is done to it.

    Arguments:
        speaker: Whose utterances are changed.
        pitch: Factor of the fundamental frequency.
        formant: Factor of the formants.
        channel: Colour, noise and level of its recordings; None for those of the real ones.
        narrow_band: Whether it is heard through 11,025 Hz and 8 bits.
    """

    speaker: str
    pitch: float
    formant: float
    channel: Channel | None = None
    narrow_band: bool = False

    @property
    def suffix(self) -> str:
        """What a name gains by this voice; it states the whole change."""
        channel = self.channel.suffix if self.channel else ""
        return f"~pitch{self.pitch:.2f}~formant{self.formant:.2f}{channel}" + "~band5500" * self.narrow_band

    @property
    def name(self) -> str:
        """The pseudo speaker's name.

        Example:
            >>> Voice(speaker="asterisk-en", pitch=1.12, formant=0.93).name
            'asterisk-en~pitch1.12~formant0.93'
        """
        return self.speaker + self.suffix

    @property
    def bandwidth_hz(self) -> int:
        """Where the spectrum ends at the latest."""
        speech_hz = round(SAMPLE_RATE_HZ / 2 * (1.0 if self.channel else min(1.0, self.pitch)))  # noise has no end
        return min(speech_hz, NARROW_BAND_HZ) if self.narrow_band else speech_hz

    def apply(self, audio: Float[Tensor, " samples"]) -> Float[Tensor, " samples"]:
        """The utterance as this pseudo speaker says it: as long as before, and as loud but for its channel's gain."""
        changed = shift_formants(shift_pitch(audio, self.pitch), self.formant / self.pitch)
        loudness = audio.square().mean().sqrt() / changed.square().mean().sqrt().clamp(min=1e-6)
        changed = changed * loudness
        changed = changed * (LOUDEST_PEAK / changed.abs().max().clamp(min=LOUDEST_PEAK))
        if self.channel:
            changed = self.channel.apply(changed, seed=_noise_seed(audio))
        return narrow_band(changed) if self.narrow_band else changed


def _noise_seed(audio: Tensor) -> int:
    """Another noise for every utterance, the same for the same one."""
    return int.from_bytes(hashlib.sha256(audio.numpy().tobytes()).digest()[:4])


def shift_pitch(audio: Float[Tensor, " samples"], factor: float) -> Float[Tensor, " samples"]:
    """Multiplies every frequency by ``factor`` and keeps the length: resampling, then :func:`stretch`."""
    if factor == 1.0:
        return audio
    shifted = soxr.resample(audio.numpy(), SAMPLE_RATE_HZ * factor, SAMPLE_RATE_HZ)
    return torch.from_numpy(stretch(shifted, len(audio))).float()


def stretch(audio: np.ndarray, n_samples: int) -> np.ndarray:
    """Changes the length to ``n_samples`` and keeps the pitch, by overlap-add of similar waveforms.

    Windows of 32 ms are laid down every 16 ms. Each is taken within 10 ms of its place in time, where it resembles best
    (normalised correlation) what followed the one before it.

    Source: WSOLA, Verhelst and Roelands, ICASSP 1993.
    """
    window = np.hanning(2 * STRETCH_HOP + 1)[:-1].astype(np.float32)
    n_windows = -(-n_samples // STRETCH_HOP) + 1
    margin = STRETCH_HOP + STRETCH_SEARCH
    padded = np.pad(audio.astype(np.float32), (margin, margin + 4 * STRETCH_HOP + STRETCH_SEARCH))
    output = np.zeros((n_windows + 1) * STRETCH_HOP, np.float32)
    place, last = STRETCH_SEARCH, len(padded) - 3 * STRETCH_HOP - 2 * STRETCH_SEARCH
    for number in range(n_windows):
        if number:
            nominal = min(round(number * STRETCH_HOP * len(audio) / n_samples), last)
            following = padded[place + STRETCH_HOP : place + 3 * STRETCH_HOP]
            place = nominal + _most_similar(padded[nominal : nominal + 2 * margin], following)
        start = number * STRETCH_HOP
        output[start : start + 2 * STRETCH_HOP] += window * padded[place : place + 2 * STRETCH_HOP]
    return output[STRETCH_HOP : STRETCH_HOP + n_samples]


def _most_similar(stretch_of_audio: np.ndarray, template: np.ndarray) -> int:
    """Offset at which a stretch of audio resembles the template most."""
    likeness = np.correlate(stretch_of_audio, template, "valid")
    energy = np.concatenate([[0.0], np.cumsum(stretch_of_audio.astype(np.float64) ** 2)])
    energy = energy[len(template) :] - energy[: len(energy) - len(template)]
    return int(np.argmax(likeness / np.sqrt(energy + 1e-9)))


def shift_formants(audio: Float[Tensor, " samples"], factor: float) -> Float[Tensor, " samples"]:
    r"""Multiplies the formants by ``factor`` and leaves the pitch and the length.

    .. math:: Y(f) = X(f) \, e^{E(f / \alpha) - E(f)}, \quad E = F \, \ell \, F^{-1} \log |X|

    with a lifter :math:`\ell` that keeps quefrencies below 2 ms. Gains are limited to 30 dB, so that empty bands stay
    empty.
    """
    if factor == 1.0:
        return audio
    window = torch.hann_window(N_FFT)
    spectrum = torch.stft(audio, N_FFT, HOP_SAMPLES, window=window, pad_mode="constant", return_complex=True)
    envelope = log_envelope(spectrum.abs())
    gain = (_warp(envelope, factor) - envelope).clamp(-_LARGEST_LOG_GAIN, _LARGEST_LOG_GAIN)
    return torch.istft(spectrum * gain.exp(), N_FFT, HOP_SAMPLES, window=window, length=len(audio))


_LARGEST_LOG_GAIN = LARGEST_GAIN_DB / 20 * float(np.log(10))


def log_envelope(magnitudes: Float[Tensor, "bins frames"]) -> Float[Tensor, "bins frames"]:
    """Natural logarithm of the spectral envelope: the cepstrum below 2 ms."""
    cepstrum = torch.fft.irfft(magnitudes.clamp(min=1e-7).log(), dim=0)
    cepstrum[LIFTER_SAMPLES : N_FFT - LIFTER_SAMPLES + 1] = 0
    return torch.fft.rfft(cepstrum, dim=0).real


def _warp(envelope: Float[Tensor, "bins frames"], factor: float) -> Float[Tensor, "bins frames"]:
    """The envelope at f / factor, linear between bins, flat beyond the last."""
    last = len(envelope) - 1
    places = (torch.arange(last + 1) / factor).clamp(max=last)
    below = places.floor().long().clamp(max=last - 1)
    return torch.lerp(envelope[below], envelope[below + 1], (places - below)[:, None])


def narrow_band(audio: Float[Tensor, " samples"]) -> Float[Tensor, " samples"]:
    """Sends audio through 11,025 Hz and 8 bits, as the drascula recordings are kept."""
    narrow = soxr.resample(audio.numpy(), SAMPLE_RATE_HZ, NARROW_RATE_HZ)
    coarse = np.round(np.clip(narrow, -1, 127 / 128) * 128) / 128
    wide = torch.from_numpy(soxr.resample(coarse.astype(np.float32), NARROW_RATE_HZ, SAMPLE_RATE_HZ)).float()
    return torch.nn.functional.pad(wide, (0, max(0, len(audio) - len(wide))))[: len(audio)]


def draw_voices(
    speakers: Sequence[str],
    n_voices: int,
    pitch_range: tuple[float, float],
    formant_range: tuple[float, float],
    channels: ChannelRange,
    n_narrow_voices: int,
    seed: int,
) -> list[Voice]:
    """Pseudo speakers for each speaker: pitch log-uniform, one draw in each of ``n_voices`` equal bands.

    Formants follow the pitch weakly, as they do between men and women, with a spread. Each has a channel of its own.
    The first narrow-band voice is the speaker unchanged but for its band.

    Arguments:
        n_voices: Pseudo speakers a speaker.
        pitch_range: Least and greatest pitch factor.
        formant_range: Least and greatest formant factor.
        channels: What the channels are drawn from.
        n_narrow_voices: How many of them are narrow-band.
        seed: Each speaker draws from its own stream of it.
    """
    if not 0 <= n_narrow_voices <= n_voices:
        raise ValueError(f"expected at most {n_voices} narrow-band voices a speaker, got {n_narrow_voices}")
    low, high = np.log(pitch_range)
    voices = []
    for speaker in speakers:
        random = _stream(seed, speaker)
        pitches = low + (high - low) * (random.permutation(n_voices) + random.random(n_voices)) / max(1, n_voices)
        formants = FORMANT_OF_PITCH * pitches + random.uniform(-FORMANT_SPREAD, FORMANT_SPREAD, n_voices)
        formants = np.clip(np.exp(formants), *formant_range)
        for number, (pitch, formant) in enumerate(zip(np.exp(pitches), formants, strict=True)):
            narrow, plain = number < n_narrow_voices, number == 0 and n_narrow_voices > 0
            channel = draw_channel(channels, random)
            if plain:
                pitch, formant, channel = 1.0, 1.0, None
            factors = {"pitch": round(float(pitch), 2), "formant": round(float(formant), 2)}
            voices.append(Voice(speaker=speaker, channel=channel, narrow_band=narrow, **factors))
    return voices


def _stream(seed: int, name: str) -> np.random.Generator:
    """Random numbers of one name: adding a speaker does not change the others'."""
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])])


def share_out(voices: Sequence[Voice], train: pd.DataFrame, ratio: float, seed: int) -> list[tuple[Voice, str]]:
    """Which utterances each pseudo speaker says: a random part of its real speaker's, the parts disjoint up to ratio 1.

    Arguments:
        voices: From :func:`draw_voices`.
        train: Columns ``utterance``, ``speaker``, ``seconds``: training utterances only.
        ratio: Duration of all that comes out over the duration of ``train``.
        seed: Of the random order.
    Returns: Pairs of pseudo speaker and utterance, voice by voice.
    """
    pairs = []
    for speaker in sorted({voice.speaker for voice in voices}):
        own, rows = [v for v in voices if v.speaker == speaker], train[train["speaker"] == speaker]
        if rows.empty:
            raise ValueError(f"speaker {speaker!r} has no training utterance to augment")
        order, place = _stream(seed, f"{speaker} order").permutation(len(rows)), 0
        target, names, seconds = (
            ratio * rows["seconds"].sum() / len(own),
            list(rows["utterance"]),
            list(rows["seconds"]),
        )
        for voice in own:
            filled, taken = 0.0, 0
            while filled < target and taken < len(rows):
                row = order[place % len(rows)]
                pairs.append((voice, names[row]))
                filled, taken, place = filled + seconds[row], taken + 1, place + 1
    return pairs


def augmented_utterances(pairs: Sequence[tuple[Voice, str]], utterances: Sequence[Utterance]) -> list[Utterance]:
    """Pairs of :func:`share_out` as utterances of their own, with ``source_utterance`` beside their other columns."""
    known = {utterance.name: utterance for utterance in utterances}
    augmented = []
    for voice, name in pairs:
        source = known[name]
        bandwidth_hz = min(int(source.metadata["bandwidth_hz"]), voice.bandwidth_hz)
        changes = {"speaker": voice.name, "bandwidth_hz": bandwidth_hz, "source_utterance": name}
        augmented.append(
            Utterance(
                name=name + voice.suffix,
                seconds=source.seconds,
                read=partial(_read_in_voice, voice, source.read),
                metadata=source.metadata | changes,
            )
        )
    return augmented


def _read_in_voice(voice: Voice, read: Callable[[], Tensor]) -> Tensor:
    return voice.apply(read())
