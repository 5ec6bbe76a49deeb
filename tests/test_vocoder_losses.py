"""Losses: zero where they must be, finite at silence, and proper where they claim it."""

import pytest
import torch

from vectok.vocoder.losses import (
    Spectra,
    SpectralConfig,
    deception_loss,
    discriminator_loss,
    feature_matching,
    magnitude,
    spectral_distance,
    spectral_energy_distance,
)


@pytest.fixture
def spectra() -> Spectra:
    return Spectra(SpectralConfig(n_ffts=(256, 512), mel_n_ffts=(512,), n_mels=(40,)))


def test_distance_to_itself_is_zero_and_distances_are_symmetric(spectra):
    first, second = spectra(torch.randn(2, 4000)), spectra(0.1 * torch.randn(2, 4000))
    assert all(value == 0 for value in spectral_distance(first, first).values())
    there, back = spectral_distance(first, second), spectral_distance(second, first)
    assert there.keys() == back.keys() == {"linear", "mel"}
    assert all(torch.isclose(there[kind], back[kind]) for kind in there)


def test_ten_times_louder_is_log_ten_away(spectra):
    audio = torch.randn(1, 8000)
    distances = spectral_distance(spectra(audio), spectra(10 * audio))
    log_ten = torch.tensor(10.0).log().item()
    assert distances["mel"].item() == pytest.approx(log_ten, rel=1e-3)
    assert distances["linear"].item() == pytest.approx(2 * log_ten, rel=1e-2)  # two resolutions


def test_gradients_are_finite_at_silence(spectra):
    silence = torch.zeros(1, 4000, requires_grad=True)
    sum(spectral_distance(spectra(torch.randn(1, 4000)), spectra(silence)).values()).backward()
    assert silence.grad.isfinite().all()


def test_magnitude_agrees_with_torch():
    audio, window = torch.randn(2, 2000), torch.hann_window(256)
    expected = torch.stft(audio, 256, 64, window=window, center=False, return_complex=True).abs().mT
    torch.testing.assert_close(magnitude(audio, 256, window), expected, rtol=1e-3, atol=2e-3)


def test_energy_distance_prefers_the_right_noise_level(spectra):
    """The plain distance prefers a level of its own; the energy distance is smallest at the truth."""
    generator = torch.Generator().manual_seed(1)
    target, *draws = (torch.randn(16, 8000, generator=generator) for _ in range(3))
    levels = [0.5, 0.8, 1.0, 1.25, 2.0]
    found = []
    for level in levels:
        distances = spectral_energy_distance(spectra(target), *(spectra(level * draw) for draw in draws))
        found.append(sum(distances.values()).item())
    assert levels[found.index(min(found))] == 1.0
    between = sum(spectral_distance(spectra(draws[0]), spectra(draws[1])).values()).item()
    assert found[2] == pytest.approx(between / 2, rel=0.05), "what is left is the target's own randomness"


def test_energy_distance_prefers_noise_to_its_smooth_mean(spectra):
    """A constant spectrum at the median level is nearer by the plain distance, and further by the energy distance."""
    target, first, second = (spectra(torch.randn(16, 8000)) for _ in range(3))
    flat = {name: value.median().expand_as(value) for name, value in target.items()}
    assert sum(spectral_distance(target, flat).values()) < sum(spectral_distance(target, first).values())
    noisy = sum(spectral_energy_distance(target, first, second).values())
    assert noisy < sum(spectral_energy_distance(target, flat, flat).values())
    with_no_repulsion = sum(spectral_energy_distance(target, first, second, repulsion=0.0).values())
    assert with_no_repulsion > sum(spectral_energy_distance(target, flat, flat, repulsion=0.0).values())


def test_least_squares_games():
    ones, zeros = [torch.ones(2, 3)], [torch.zeros(2, 3)]
    assert discriminator_loss(ones, zeros) == 0
    assert discriminator_loss(zeros, ones) == 2
    assert deception_loss(ones) == 0 and deception_loss(zeros) == 1


def test_feature_matching_sends_no_gradient_to_the_recording():
    real, generated = torch.randn(2, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    feature_matching([[real]], [[generated]]).backward()
    assert real.grad is None and generated.grad is not None
    assert feature_matching([[real]], [[real]]) == 0


def test_mels_and_windows_must_match():
    with pytest.raises(ValueError, match="differ in length"):
        Spectra(SpectralConfig(mel_n_ffts=(512,), n_mels=()))
