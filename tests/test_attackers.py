"""Attackers and signal measures: worked by hand, against their reference packages, and at their limits."""

import sys
import types

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve

from tests.tiny_system import speech
from vectok.evaluation import attackers, signal
from vectok.evaluation.models import ModelMissing


def test_an_equal_error_rate_worked_by_hand():
    """Thresholds from below; misses and alarms: 0, 1 | .2: 0, 3/4 | .3: 1/4, 3/4 | .5: 1/4, 1/2 | .6: 1/2, 1/2."""
    targets, impostors = np.array([0.3, 0.6, 0.8, 0.9]), np.array([0.2, 0.5, 0.7, 0.85])
    scores, kinds = np.concatenate([targets, impostors]), np.arange(8) < 4
    assert attackers.equal_error_rate(scores, kinds) == 0.5
    assert attackers.equal_error_rate(np.array([0.9, 0.8, 0.1, 0.2]), np.arange(4) < 2) == 0
    assert attackers.equal_error_rate(np.array([0.1, 0.2, 0.8, 0.9]), np.arange(4) < 2) == 1
    assert attackers.equal_error_rate(np.full(10, 0.5), np.arange(10) < 3) == 0.5
    # Misses jump from 0 to 1/2 while alarms stay 1/3: the line between crosses at 1/3.
    found = attackers.equal_error_rate(np.array([0.5, 0.9, 0.1, 0.2, 0.7]), np.arange(5) < 2)
    assert found == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="targets and impostors"):
        attackers.equal_error_rate(np.zeros(3), np.ones(3, bool))


def test_the_rate_lies_on_scikit_learns_curve():
    generator = np.random.default_rng(0)
    kinds = generator.random(3000) < 0.3
    scores = generator.normal(size=3000) + kinds
    alarms, hits, _ = roc_curve(kinds, scores)
    place = np.argmin(np.abs(alarms - (1 - hits)))
    assert attackers.equal_error_rate(scores, kinds) == pytest.approx((alarms + 1 - hits)[place] / 2, abs=0.005)
    assert attackers.equal_error_rate(scores, kinds) == pytest.approx(0.3085, abs=0.03)  # of two normals one apart


def test_weights_are_repetitions():
    generator = np.random.default_rng(1)
    scores, kinds, weights = generator.normal(size=40), np.arange(40) < 15, generator.integers(0, 4, 40)
    expected = attackers.equal_error_rate(np.repeat(scores, weights), np.repeat(kinds, weights))
    assert attackers._weighted_rates(scores, kinds, weights[None].astype(float))[0] == pytest.approx(expected)


def people(n_speakers, n_each, spread, seed=0):
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(n_speakers, 16))
    names = [f"s{speaker:02d}" for speaker in range(n_speakers) for _ in range(n_each)]
    return np.repeat(centres, n_each, 0) + spread * generator.normal(size=(n_speakers * n_each, 16)), names


def test_speakers_are_known_until_their_voices_are_gone():
    enrolled, owners = people(12, 3, 0.2)
    trials, tried = people(12, 4, 0.2, seed=1)
    known = attackers.compare(trials, tried, enrolled, owners)
    assert len(known.scores) == 48 * 12 and known.is_target.sum() == 48
    assert attackers.eer_interval(known, n_draws=200) == (0.0, 0.0, 0.0, 48)
    noise = attackers.compare(np.random.default_rng(5).normal(size=(48, 16)), tried, enrolled, owners)
    found = attackers.eer_interval(noise, n_draws=400)
    assert 0.35 < found.low < found.value < found.high < 0.65 and found.low < 0.5 < found.high
    assert found == attackers.eer_interval(noise, n_draws=400)


def test_an_interval_is_of_speakers_then_trials():
    """Were pairs drawn, or trials alone, the interval of two kinds of speakers would be far too narrow."""
    enrolled, owners = people(10, 2, 0.0)
    trials, tried = people(10, 6, 0.0)
    trials[:12] = np.random.default_rng(3).normal(size=(12, 16))  # two speakers who are never known
    found = attackers.eer_interval(attackers.compare(trials, tried, enrolled, owners), n_draws=2000)
    assert found.low < 0.05 and found.high > found.value + 0.1


def test_recentring_sees_through_a_shift_that_hides_speakers():
    enrolled, owners = people(12, 3, 0.3)
    trials, tried = people(12, 4, 0.3, seed=1)
    others, names = people(12, 6, 0.3, seed=2)
    shift, nuisance, generator = 9 * np.eye(16)[0], 9 * np.eye(16)[1], np.random.default_rng(7)
    moved = [part + shift + nuisance * generator.normal(size=(len(part), 1)) for part in (trials, enrolled, others)]
    plain = attackers.compare(moved[0], tried, moved[1], owners)
    centred = attackers.Recentring.fit(moved[2], names)
    adapted = attackers.compare(centred.apply(moved[0]), tried, centred.apply(moved[1]), owners)
    rates = [attackers.equal_error_rate(found.scores, found.is_target) for found in (plain, adapted)]
    assert rates[0] > 0.1 and rates[1] < 0.05
    with pytest.raises(ValueError, match="other speakers"):
        attackers.Recentring.fit(np.zeros((0, 4)), [])


def test_groups_are_joined_without_comparisons_between_them():
    one = attackers.compare(*people(2, 2, 0.1), *people(2, 1, 0.1))
    both = attackers.joined([one, one])
    assert len(both.scores) == 2 * len(one.scores) == 16 and both.is_target.sum() == 8


# Signals.


def test_log_spectral_distance_is_of_levels_and_has_a_floor():
    clean = speech(16_000, 1)
    assert signal.log_spectral_distance(clean, clean) == pytest.approx(0, abs=1e-4)
    assert signal.log_spectral_distance(0.1 * clean, clean) == pytest.approx(0, abs=0.01)  # brought to one power
    low = torch.sin(2 * torch.pi * 500 * torch.arange(16_000) / 16_000)
    both = low + 0.1 * torch.sin(2 * torch.pi * 6000 * torch.arange(16_000) / 16_000)
    assert signal.log_spectral_distance(low, both, above_hz=4000.0) > 1.0
    levels = signal.levels_db(low, both)
    assert float(levels[0].min()) == -80.0 and float(levels[1].max()) == 0.0
    silence = torch.zeros(16_000)
    silence[0] = 1e-3
    assert signal.log_spectral_distance(silence, both) <= 80.0


def test_si_sdr_is_of_a_known_mixture_and_ignores_scale():
    clean = speech(32_000, 1)
    noise = torch.randn(32_000, generator=torch.Generator().manual_seed(2))
    noise = noise - (noise @ clean) / (clean @ clean) * clean
    noise = noise * (clean.square().sum() / noise.square().sum()).sqrt() * 10 ** (-7 / 20)
    assert signal.si_sdr(clean + noise, clean) == pytest.approx(7.0, abs=0.05)
    assert signal.si_sdr(3 * (clean + noise), clean) == pytest.approx(signal.si_sdr(clean + noise, clean), abs=1e-3)
    assert signal.si_sdr(clean, clean) > 80


def test_stoi_is_pystois_and_too_little_speech_has_none():
    from pystoi import stoi

    clean, noisy = speech(32_000, 1), speech(32_000, 1) + 0.1 * speech(32_000, 2)
    assert signal.intelligibility(noisy, clean) == stoi(clean.numpy(), noisy.numpy(), 16_000)
    assert np.isnan(signal.intelligibility(noisy[:3000], clean[:3000]))


def test_pitch_that_moves_together_correlates():
    def voice(hertz):
        phase = torch.cumsum(2 * torch.pi * hertz / 16_000, 0)
        return 0.3 * sum(torch.sin(k * phase) / k for k in range(1, 6))

    contour = 150 + 40 * torch.sin(torch.arange(32_000) / 5000)
    assert signal.f0_correlation(voice(1.4 * contour), voice(contour)) > 0.98
    assert signal.f0_correlation(voice(300 - contour), voice(contour)) < -0.95
    assert np.isnan(signal.f0_correlation(torch.zeros(16_001), voice(contour)[:16_001]))


def test_token_errors_count_edits():
    assert signal.token_errors(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 3, 4, 4])) == (2, 4)
    assert signal.token_errors(torch.tensor([11, 1]), torch.tensor([1, 11])).errors == 2


def test_pesq_is_asked_wide_band_and_named_when_it_is_not_installed(monkeypatch):
    asked = []

    class NoUtterancesError(Exception):
        pass

    def pesq(rate, reference, degraded, mode):
        asked.append((rate, len(reference), len(degraded), mode))
        if not degraded.any():
            raise NoUtterancesError
        return 3.5

    package = types.SimpleNamespace(pesq=pesq, NoUtterancesError=NoUtterancesError)
    monkeypatch.setitem(sys.modules, "pesq", package)
    clean = torch.randn(3200, generator=torch.Generator().manual_seed(0))
    assert signal.perceptual_quality(0.5 * clean, clean) == 3.5 and asked == [(16_000, 3200, 3200, "wb")]
    assert np.isnan(signal.perceptual_quality(0 * clean, clean))
    monkeypatch.setitem(sys.modules, "pesq", None)
    with pytest.raises(ModelMissing, match="pesq: not installed; it wants a compiler"):
        signal.perceptual_quality(clean, clean)
