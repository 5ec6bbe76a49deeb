"""Pseudo speakers: pitch, formants, tempo, band, and who says what."""

import numpy as np
import pandas as pd
import pytest
import torch

from vectok.augment import (
    Voice,
    augmented_utterances,
    draw_voices,
    log_envelope,
    narrow_band,
    share_out,
    shift_formants,
    shift_pitch,
    stretch,
)
from vectok.channel import Channel, ChannelRange
from vectok.extraction import INDEX_COLUMNS, Utterance

RANGES = {
    "pitch_range": (0.55, 1.45),
    "formant_range": (0.8, 1.25),
    "channels": ChannelRange(colour_db=6.0, gain_db=(-15.0, 3.0), snr_db=(15.0, 45.0)),
}
TRAIN = pd.DataFrame(
    {
        "utterance": [f"{speaker}/{number}" for speaker in "ab" for number in range(60)],
        "speaker": [speaker for speaker in "ab" for _ in range(60)],
        "seconds": [1.0 + number % 3 for _ in "ab" for number in range(60)],
    }
)


def vowel(f0_hz: float, formant_hz: float, seconds: float = 1.0) -> torch.Tensor:
    """Harmonics under one resonance."""
    time = torch.arange(round(16_000 * seconds)) / 16_000
    harmonics = torch.arange(1, int(7500 / f0_hz)) * f0_hz
    levels = torch.exp(-0.5 * ((harmonics - formant_hz) / 500) ** 2) + 0.05
    return (levels[:, None] * torch.sin(2 * torch.pi * harmonics[:, None] * time)).sum(0) / 20


def f0_of(audio: torch.Tensor) -> float:
    """Fundamental frequency: the first lag whose autocorrelation is within 5 % of the best, 60 to 500 Hz."""
    power = torch.fft.rfft(audio[2000:-2000], 1 << 16).abs().square()
    likeness = torch.fft.irfft(power)[32:267]
    first = int((likeness > 0.95 * likeness.max()).nonzero()[0])
    return 16_000 / (32 + first + int(likeness[first : first + 8].argmax()))


def whisper(formant_hz: float) -> torch.Tensor:
    """Noise under one resonance: no harmonics disturb its envelope."""
    noise = torch.fft.rfft(torch.randn(32_000, generator=torch.Generator().manual_seed(0)))
    frequency = torch.arange(len(noise)) / 2
    return torch.fft.irfft(noise * (torch.exp(-0.5 * ((frequency - formant_hz) / 400) ** 2) + 0.02)) / 4


def formant_of(audio: torch.Tensor) -> float:
    """Centre of the highest 9 dB of the mean spectral envelope."""
    spectrum = torch.stft(audio, 1024, 256, window=torch.hann_window(1024), return_complex=True).abs()
    envelope = log_envelope(spectrum).mean(1)
    weights = (envelope - envelope.max() + 1).clamp(min=0)
    return float((weights * torch.arange(len(weights))).sum() / weights.sum()) * 16_000 / 1024


@pytest.mark.parametrize("factor", [0.6, 0.85, 1.2, 1.4])
def test_pitch_shift_moves_pitch_and_formants_and_keeps_the_length(factor):
    audio = vowel(200, 2000)
    shifted = shift_pitch(audio, factor)
    assert len(shifted) == len(audio)
    assert f0_of(shifted) == pytest.approx(200 * factor, rel=0.02)
    assert formant_of(shift_pitch(whisper(2000), factor)) == pytest.approx(2000 * factor, rel=0.05)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_formant_shift_moves_formants_alone(factor):
    audio = vowel(125, 2000)
    shifted = shift_formants(audio, factor)
    assert len(shifted) == len(audio)
    assert f0_of(shifted) == pytest.approx(125, rel=0.01)
    assert formant_of(shift_formants(whisper(2000), factor)) == pytest.approx(2000 * factor, rel=0.05)


def test_factors_of_one_change_nothing():
    audio = vowel(200, 2000)
    assert torch.equal(shift_formants(shift_pitch(audio, 1.0), 1.0), audio)
    torch.testing.assert_close(Voice(speaker="a", pitch=1.0, formant=1.0).apply(audio), audio)


@pytest.mark.parametrize("n_samples", [9000, 16_000, 27_001])
def test_stretch_changes_the_length_and_not_the_frequency(n_samples):
    tone = np.sin(2 * np.pi * 150 * np.arange(16_000) / 16_000).astype(np.float32)
    changed = stretch(tone, n_samples)
    spectrum = np.abs(np.fft.rfft(changed * np.hanning(n_samples)))
    assert len(changed) == n_samples
    assert spectrum.argmax() * 16_000 / n_samples == pytest.approx(150, abs=2)
    middle = changed[1000:-1000]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(np.sqrt(0.5), rel=0.05)


def test_narrow_band_ends_at_half_its_rate():
    narrow = narrow_band(torch.randn(16_000) / 10)
    power = torch.fft.rfft(narrow).abs().square()
    assert len(narrow) == 16_000
    assert float(power[5600:].sum() / power[:5500].sum()) < 1e-4


@pytest.mark.parametrize(("pitch", "formant", "narrow"), [(0.55, 0.8, True), (1.45, 1.25, False), (1.0, 1.0, True)])
def test_a_voice_keeps_length_loudness_and_range(pitch, formant, narrow):
    audio = vowel(220, 1500)
    changed = Voice(speaker="a", pitch=pitch, formant=formant, narrow_band=narrow).apply(audio)
    assert len(changed) == len(audio) and float(changed.abs().max()) <= 0.9801
    assert float(changed.square().mean().sqrt() / audio.square().mean().sqrt()) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("audio", [torch.zeros(8000), torch.randn(320) / 10], ids=["silence", "one frame"])
def test_silence_and_one_frame_stay_finite(audio):
    changed = Voice(speaker="a", pitch=0.7, formant=1.1, narrow_band=True).apply(audio)
    assert len(changed) == len(audio) and torch.isfinite(changed).all()


def test_voices_fill_the_ranges_and_depend_on_seed_and_speaker_alone():
    voices = draw_voices(["a", "b"], 12, **RANGES, n_narrow_voices=4, seed=1)
    assert voices == draw_voices(["b", "a"], 12, **RANGES, n_narrow_voices=4, seed=1)[12:] + voices[12:]
    assert voices != draw_voices(["a", "b"], 12, **RANGES, n_narrow_voices=4, seed=2)
    assert len({voice.name for voice in voices}) == 24
    assert [voice.narrow_band for voice in voices[:12]] == [True] * 4 + [False] * 8
    assert (voices[0].pitch, voices[0].formant, voices[0].channel) == (1.0, 1.0, None)
    assert len({voice.channel for voice in voices}) == 23, "channels are drawn once a voice"
    for voice in voices:
        assert 0.55 <= voice.pitch <= 1.45 and 0.8 <= voice.formant <= 1.25
    bands = np.log([voice.pitch for voice in voices[12:]][1:]).round(3)
    assert bands.min() < np.log(0.7) and bands.max() > np.log(1.2)
    with pytest.raises(ValueError, match="at most 2 narrow-band"):
        draw_voices(["a"], 2, **RANGES, n_narrow_voices=3, seed=1)


def test_names_state_the_change():
    voice = Voice(speaker="asterisk-en", pitch=1.12, formant=0.93, narrow_band=True)
    assert voice.name == "asterisk-en~pitch1.12~formant0.93~band5500" and voice.bandwidth_hz == 5500
    assert Voice(speaker="a", pitch=0.5, formant=1.0).bandwidth_hz == 4000
    channel = Channel(cosines_db=(3.0,), gain_db=-6.0, snr_db=30.0, noise_slope=0.5)
    noisy = Voice(speaker="a", pitch=0.5, formant=1.0, channel=channel)
    assert noisy.name == "a~pitch0.50~formant1.00~gain-6.0~snr30.0~slope0.50~colour+3.0" and noisy.bandwidth_hz == 8000


def test_a_voice_applies_its_channel():
    channel = Channel(cosines_db=(0.0,), gain_db=-6.0, snr_db=20.0, noise_slope=0.0)
    changed = Voice(speaker="a", pitch=1.0, formant=1.0, channel=channel).apply(vowel(220, 1500))
    level = changed.square().mean() / vowel(220, 1500).square().mean()
    assert float(10 * level.log10()) == pytest.approx(-6 + 10 * np.log10(1.01), abs=0.1)


@pytest.mark.parametrize("ratio", [0.5, 1.0])
def test_utterances_are_shared_out_without_overlap(ratio):
    voices = draw_voices(["a", "b"], 5, **RANGES, n_narrow_voices=1, seed=0)
    pairs = share_out(voices, TRAIN, ratio, seed=0)
    seconds = TRAIN.set_index("utterance")["seconds"]
    for speaker in "ab":
        own = [(voice, name) for voice, name in pairs if voice.speaker == speaker]
        assert all(name.startswith(speaker) for _, name in own)
        assert seconds[[name for _, name in own]].sum() == pytest.approx(ratio * 120, abs=5 * 3)
        repeats = len(own) - len({name for _, name in own})
        assert repeats <= 5  # each voice may run over its share by one utterance
        each = pd.Series([voice.name for voice, _ in own]).value_counts()
        assert len(each) == 5
    assert pairs == share_out(voices, TRAIN, ratio, seed=0)


def test_a_speaker_without_training_utterances_is_named():
    with pytest.raises(ValueError, match="'c' has no training utterance"):
        share_out([Voice(speaker="c", pitch=1.1, formant=1.0)], TRAIN, 1.0, seed=0)


def test_augmented_utterances_carry_their_source():
    metadata = dict.fromkeys(INDEX_COLUMNS, "x") | {"bandwidth_hz": 7000, "split": "train"}
    source = Utterance(name="a/1", seconds=1.0, read=lambda: vowel(200, 1000), metadata=metadata)
    voice = Voice(speaker="a", pitch=0.8, formant=0.9)
    made = augmented_utterances([(voice, "a/1")], [source])[0]
    assert (made.name, made.metadata["speaker"]) == ("a/1~pitch0.80~formant0.90", voice.name)
    assert (made.metadata["source_utterance"], made.metadata["bandwidth_hz"]) == ("a/1", 6400)
    assert made.metadata["split"] == "train" and source.metadata["bandwidth_hz"] == 7000
    assert torch.equal(made.read(), voice.apply(vowel(200, 1000)))
