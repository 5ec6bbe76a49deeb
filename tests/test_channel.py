"""Recording channels: response, noise and level, each against its definition."""

import numpy as np
import pytest
import torch

from vectok.channel import Channel, ChannelRange, draw_channel

RANGE = ChannelRange(colour_db=6.0, gain_db=(-15.0, 3.0), snr_db=(15.0, 45.0))


def channel(cosines_db=(0.0,), gain_db=0.0, snr_db=200.0, noise_slope=0.0) -> Channel:
    """A channel that does nothing but what is named."""
    return Channel(cosines_db=cosines_db, gain_db=gain_db, snr_db=snr_db, noise_slope=noise_slope)


def white(seed: int = 0, seconds: float = 2.0) -> torch.Tensor:
    return torch.randn(round(16_000 * seconds), generator=torch.Generator().manual_seed(seed)) / 20


def level_db(audio: torch.Tensor) -> float:
    return float(10 * audio.square().mean().log10())


def test_a_channel_that_does_nothing_changes_nothing():
    torch.testing.assert_close(channel().apply(white(), seed=1), white(), atol=1e-5, rtol=1e-4)


def test_gain_and_signal_to_noise_ratio_are_what_they_say():
    audio = white()
    assert level_db(channel(gain_db=-12.0).apply(audio, seed=1)) == pytest.approx(level_db(audio) - 12, abs=0.01)
    noise = channel(snr_db=20.0).apply(audio, seed=1) - audio
    assert level_db(noise) == pytest.approx(level_db(audio) - 20, abs=0.05)


def test_the_first_cosine_tilts_and_the_power_stays():
    tilted = channel(cosines_db=(10.0,)).apply(white(), seed=1)
    spectrum = torch.fft.rfft(tilted).abs().square()
    low, high = spectrum[200:1000].mean(), spectrum[-1000:].mean()
    ratio_db = float(10 * (low / high).log10())
    low_place = np.log1p(300 / 700) / np.log1p(8000 / 700)
    assert ratio_db == pytest.approx(10 * np.cos(np.pi * low_place) + 10, abs=1.0)
    assert level_db(tilted) == pytest.approx(level_db(white()), abs=0.01)


def test_noise_falls_with_frequency_and_depends_on_the_seed_alone():
    silence = torch.full((32_000,), 1e-3)
    brown = channel(snr_db=0.0, noise_slope=1.0)
    noise = brown.apply(silence, seed=1) - silence
    spectrum = torch.fft.rfft(noise).abs().square()
    slope_db = float(10 * (spectrum[900:1100].mean() / spectrum[9_000:11_000].mean()).log10())
    assert slope_db == pytest.approx(20 * np.log10(5050 / 550), abs=1.0)
    assert torch.equal(brown.apply(silence, seed=1), brown.apply(silence, seed=1))
    assert not torch.equal(brown.apply(silence, seed=1), brown.apply(silence, seed=2))


@pytest.mark.parametrize(
    "audio", [torch.zeros(800), white() * 15, torch.ones(320) / 2], ids=["silence", "loud", "frame"]
)
def test_length_range_and_finiteness(audio):
    arrived = channel(cosines_db=(6.0, -6.0), gain_db=3.0, snr_db=15.0).apply(audio, seed=1)
    assert len(arrived) == len(audio) and bool(arrived.isfinite().all()) and float(arrived.abs().max()) <= 0.9801


def test_draws_keep_to_their_ranges_and_to_the_colour():
    random = np.random.default_rng(0)
    drawn = [draw_channel(RANGE, random) for _ in range(400)]
    assert all(-15 <= one.gain_db <= 3 and 15 <= one.snr_db <= 45 and 0 <= one.noise_slope <= 1 for one in drawn)
    place = np.linspace(0, 1, 200)
    curves = [sum(a * np.cos(np.pi * (n + 1) * place) for n, a in enumerate(one.cosines_db)) for one in drawn]
    assert np.sqrt(np.mean(np.var(curves, axis=1))) == pytest.approx(6.0, rel=0.1)
