"""YIN on signals whose pitch is known, and on noise and silence, which have none."""

import pytest
import torch

from vectok.vocoder.pitch import Pitch, PitchConfig, cents_error, continuous, normalised_difference, track
from vectok.vocoder.source import frame_phase, pulses, sample_phase


def voice(f0_hz: torch.Tensor, decay: float = 0.8) -> torch.Tensor:
    """Harmonics of falling level along a pitch track at 100 Hz."""
    hz, phase = sample_phase(f0_hz, frame_phase(f0_hz))
    return 0.1 * sum(decay**h * torch.cos(2 * torch.pi * h * phase) for h in range(1, 8)).float()


@pytest.mark.parametrize("hz", [65.0, 110.0, 203.3, 340.0, 480.0])
def test_pitch_of_a_steady_tone(hz):
    pitch = track(voice(torch.full((1, 101), hz)))
    inside = slice(5, -5)
    assert pitch.voiced[:, inside].all()
    assert cents_error(pitch.f0_hz[:, inside], torch.full((1, 90), hz), pitch.voiced[:, inside]).abs().max() < 6


@pytest.mark.parametrize(("first", "last"), [(100.0, 200.0), (300.0, 150.0)])
def test_pitch_of_a_glide_is_that_of_the_frame_centre(first, last):
    f0_hz = torch.linspace(first, last, 201)[None]
    pitch = track(voice(f0_hz))
    inside = slice(5, -5)
    cents = cents_error(pitch.f0_hz[:, inside], f0_hz[:, :-1][:, inside], pitch.voiced[:, inside])
    assert pitch.voiced[:, inside].float().mean() > 0.98
    assert cents.abs().median() < 15


def test_noise_and_silence_have_no_pitch():
    noise = 0.1 * torch.randn(1, 32_000)
    assert track(noise).voiced.float().mean() < 0.02
    silent = track(torch.zeros(1, 3_200))
    assert not silent.voiced.any()
    assert silent.f0_hz.isfinite().all()


def test_pitch_does_not_depend_on_level_or_on_the_rest_of_the_batch():
    tone, noise = voice(torch.full((1, 101), 150.0)), 0.1 * torch.randn(1, 16_000)
    alone, together = track(tone), track(torch.cat([noise, 0.3 * tone]))
    torch.testing.assert_close(alone.f0_hz[0, 5:-5], together.f0_hz[1, 5:-5], rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("n_frames", [1, 2, 7])
def test_two_pitch_frames_for_each_frame(n_frames):
    assert track(torch.zeros(3, 320 * n_frames)).f0_hz.shape == (3, 2 * n_frames)


def test_samples_that_are_no_whole_frames_are_refused():
    with pytest.raises(ValueError, match="whole frames of 320 samples, got 321"):
        track(torch.zeros(1, 321))


def test_an_impossible_range_is_refused():
    with pytest.raises(ValueError, match="expected 0 < min_hz < max_hz"):
        PitchConfig(min_hz=300.0, max_hz=200.0)


def test_difference_by_fft_is_the_difference_by_its_definition():
    windows, n_window = torch.randn(4, 60), 40
    found = normalised_difference(windows, n_window)
    lags = range(60 - n_window + 1)
    plain = torch.stack([(windows[:, :n_window] - windows[:, lag : lag + n_window]).square().sum(1) for lag in lags], 1)
    expected = plain * torch.arange(len(lags)) / plain.cumsum(1).clamp_min(1e-9)
    torch.testing.assert_close(found[:, 1:], expected[:, 1:], rtol=1e-3, atol=1e-3)
    assert (found[:, 0] == 1).all()


def test_unvoiced_stretches_are_filled_and_voiced_frames_kept():
    f0_hz = torch.tensor([[1.0, 100.0, 1.0, 1.0, 1.0, 400.0, 1.0], [9.0] * 7])
    voiced = torch.tensor([[False, True, False, False, False, True, False], [False] * 7])
    filled = continuous(f0_hz, voiced)
    expected = torch.tensor([100.0, 100.0, 141.42, 200.0, 282.84, 400.0, 400.0])
    torch.testing.assert_close(filled[0], expected, rtol=1e-3, atol=0.0)
    assert (filled[1] > 0).all() and filled[1].isfinite().all()


def test_phase_of_a_steady_pitch_is_a_ramp():
    f0_hz = torch.full((1, 11), 125.0)
    hz, phase = sample_phase(f0_hz, frame_phase(f0_hz))
    assert hz.shape == phase.shape == (1, 1600)
    expected = torch.arange(1600, dtype=torch.float64) * 125 / 16000 % 1
    assert ((phase[0] - expected + 0.5) % 1 - 0.5).abs().max() < 1e-9


def test_phase_is_continuous_through_a_glide():
    f0_hz = 100 + 100 * torch.rand(1, 50)
    hz, phase = sample_phase(f0_hz, frame_phase(f0_hz))
    steps = phase.diff(dim=1) % 1
    torch.testing.assert_close(steps, (hz[:, :-1] + hz[:, 1:]) / 32_000, rtol=0, atol=1e-9)


@pytest.mark.parametrize("hz", [80.0, 200.0, 333.0])
def test_pulses_have_unit_power_and_no_aliases(hz):
    f0_hz = torch.full((1, 101), hz)
    train = pulses(*sample_phase(f0_hz, frame_phase(f0_hz)))
    assert train.square().mean().item() == pytest.approx(1.0, abs=0.03)
    levels = torch.fft.rfft(train[0].double() * torch.hann_window(16_000, dtype=torch.float64)).abs()
    harmonics = (torch.arange(1, int(7900 / hz) + 1) * hz).round().long()
    away = torch.ones(8001, dtype=torch.bool)
    for step in range(-3, 4):
        away[(harmonics + step).clamp(0, 8000)] = False
    assert levels[away].max() < 0.02 * levels[harmonics].min()


def test_pulses_are_the_sum_of_cosines():
    f0_hz = torch.full((1, 5), 1000.0)
    hz, phase = sample_phase(f0_hz, frame_phase(f0_hz))
    cosines = sum(torch.cos(2 * torch.pi * h * phase) for h in range(1, 8)) * (2 / 7) ** 0.5
    torch.testing.assert_close(pulses(hz, phase).double(), cosines, rtol=0, atol=1e-5)


def test_track_is_a_named_tuple_of_three():
    assert Pitch._fields == ("f0_hz", "voiced", "aperiodicity")
