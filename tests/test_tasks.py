"""Anonymisation, denoising and bandwidth extension, and what they are tried on: noise, narrow bands, mixtures."""

import math

import numpy as np
import pytest
import torch

from tests.tiny_system import speech
from vectok import audio
from vectok.bitstream import systems
from vectok.bitstream.errors import VtokError
from vectok.corpus.sources import SourceError
from vectok.tasks import music, noises
from vectok.tasks.anonymise import AnonymisationConfig, anonymise, draw, mixed_vectors, preserve
from vectok.tasks.denoise import denoise, gate
from vectok.tasks.extend import extend, fold, narrow, splice

POOL = ("a", "b", "c", "d", "e", "f")


@pytest.fixture(scope="module")
def pool(model):
    return {name: model.prompt_vectors(speech(32_000, 20 + place)) for place, name in enumerate(POOL)}


def band_power(samples, low_hz, high_hz):
    hertz = torch.fft.rfftfreq(len(samples), 1 / 16_000)
    return float(torch.fft.rfft(samples.double()).abs().square()[(hertz >= low_hz) & (hertz < high_hz)].mean())


# Whose voice.


def test_a_draw_holds_for_its_utterance_or_for_its_speaker():
    by_utterance, by_speaker = AnonymisationConfig(), AnonymisationConfig(level="speaker")
    assert draw(POOL, "x", "me", by_utterance) == draw(POOL[::-1], "x", "you", by_utterance)
    assert draw(POOL, "x", "me", by_utterance) != draw(POOL, "y", "me", by_utterance)
    assert draw(POOL, "x", "me", by_speaker) == draw(POOL, "y", "me", by_speaker)
    assert draw(POOL, "x", "me", by_speaker) != draw(POOL, "x", "you", by_speaker)
    assert draw(POOL, "x", "me", by_utterance) != draw(POOL, "x", "me", AnonymisationConfig(seed=1))


def test_weights_are_a_softmax_of_normal_draws():
    drawn = [draw(POOL, str(number), "", AnonymisationConfig()) for number in range(4000)]
    weights = np.array([found.weights for found in drawn])
    assert weights.shape == (4000, 4) and (weights > 0).all()
    np.testing.assert_allclose(weights.sum(1), 1)
    differences = np.log(weights[:, 0] / weights[:, 1])  # of two normal draws: variance 2
    assert abs(differences.mean()) < 0.1 and abs(differences.std() - math.sqrt(2)) < 0.05
    counts = np.unique([voice for found in drawn for voice in found.voices], return_counts=True)[1]
    assert all(len(set(found.voices)) == 4 for found in drawn) and counts.min() > 0.9 * 4000 * 4 / 6


def test_extrapolation_goes_beyond_the_voices_and_still_sums_to_one():
    plain, beyond = (draw(POOL, "x", "", AnonymisationConfig(extrapolation=e)) for e in (0.0, 2.0))
    assert plain.voices == beyond.voices
    np.testing.assert_allclose(np.array(beyond.weights) - 0.25, 3 * (np.array(plain.weights) - 0.25))
    assert sum(beyond.weights) == pytest.approx(1)


def test_random_draws_one_voice_and_fixed_always_the_first():
    voices = {draw(POOL, str(number), "", AnonymisationConfig(method="random")).voices for number in range(60)}
    assert voices == {(name,) for name in POOL}
    assert {draw(POOL, str(n), "", AnonymisationConfig(method="fixed")) for n in range(9)} == {(("a",), (1.0,))}


def test_settings_that_cannot_be_are_refused():
    for wrong in ({"method": "none"}, {"level": "day"}, {"preservation": 1.5}, {"extrapolation": -1.0}):
        with pytest.raises(ValueError, match="expected"):
            AnonymisationConfig(**wrong)
    with pytest.raises(ValueError, match="pool of at least 4 voices, got 2"):
        draw(POOL[:2], "x", "", AnonymisationConfig())


def test_a_mixture_of_one_is_that_voice_and_all_of_the_source_is_the_source(model, pool):
    source = speech(20_000, 3)
    vectors, tokens, _ = model.encode(source)
    one = mixed_vectors(model.codec, tokens, [pool["a"], pool["b"]], [1.0, 0.0])
    torch.testing.assert_close(one, model.codec.reconstruct(tokens, pool["a"]))
    assert torch.equal(preserve(one, vectors, 1.0), vectors) and torch.equal(preserve(one, vectors, 0.0), one)
    fixed = anonymise(model, source, pool, AnonymisationConfig(method="fixed"))
    torch.testing.assert_close(fixed, model.convert(source, pool["a"]), atol=1e-5, rtol=1e-4)
    kept = anonymise(model, source, pool, AnonymisationConfig(preservation=1.0))
    torch.testing.assert_close(kept, model.decode(vectors)[:20_000], atol=1e-5, rtol=1e-4)


def test_anonymise_takes_files_keeps_the_length_and_repeats_itself(model, pool, tmp_path):
    audio.write(tmp_path / "a.wav", speech(16_100, 3))
    config = AnonymisationConfig(preservation=0.25, level="speaker")
    first = anonymise(model, tmp_path / "a.wav", pool, config, speaker="me")
    assert len(first) == 16_100 and torch.isfinite(first).all()
    assert torch.equal(first, anonymise(model, audio.read(tmp_path / "a.wav"), pool, config, speaker="me"))
    assert not torch.equal(first, anonymise(model, tmp_path / "a.wav", pool, config, speaker="you"))


# Noise.


@pytest.mark.parametrize(("kind", "slope_db"), [("white", 0.0), ("pink", -3.0), ("brown", -6.0)])
def test_coloured_noise_falls_by_its_slope_an_octave(kind, slope_db):
    noise = noises.stationary(kind, 160_000, 1)
    assert float(noise.square().mean()) == pytest.approx(1, abs=1e-4)
    octaves = [10 * math.log10(band_power(noise, low, 1.1 * low)) for low in (400, 800, 1600, 3200)]
    assert np.diff(octaves).mean() == pytest.approx(slope_db, abs=0.4)
    assert torch.equal(noise, noises.stationary(kind, 160_000, 1))


def test_hum_stands_at_the_mains_and_its_harmonics():
    noise = noises.stationary("hum", 160_000, 1)
    assert band_power(noise, 49.5, 50.5) > 1e4 * band_power(noise, 60, 90)
    assert band_power(noise, 99.5, 100.5) == pytest.approx(band_power(noise, 49.5, 50.5) / 4, rel=0.1)
    with pytest.raises(ValueError, match="white, pink, brown, hum"):
        noises.stationary("blue", 100, 0)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0])
def test_noise_is_added_at_the_ratio_that_was_asked_for(snr_db):
    clean, noise = speech(32_000, 1), noises.stationary("pink", 32_000, 2)
    mixed = noises.mix_at_snr(clean, noise, snr_db)
    assert float(mixed.abs().max()) <= 0.981
    found = torch.linalg.lstsq(torch.stack([clean, noise], 1).double(), mixed.double()[:, None]).solution[:, 0]
    ratio = float((found[0] * clean).square().mean() / (found[1] * noise).square().mean())
    assert 10 * math.log10(ratio) == pytest.approx(snr_db, abs=1e-3)
    with pytest.raises(ValueError, match="two sounds of one length"):
        noises.mix_at_snr(clean, torch.zeros(32_000), 0.0)


def test_babble_is_of_all_voices_and_as_long_as_asked():
    voices = [torch.sin(2 * torch.pi * hertz * torch.arange(9000) / 16_000) for hertz in (300, 700, 1500)]
    crowd = noises.babble(voices, 48_000, 6, 3)
    assert crowd.shape == (48_000,) and float(crowd.square().mean()) == pytest.approx(1, abs=1e-4)
    quiet = band_power(crowd, 4000, 5000)
    assert all(band_power(crowd, hertz - 5, hertz + 5) > 100 * quiet for hertz in (300, 700, 1500))
    assert len(noises.excerpt(torch.arange(10.0), 25, 0)) == 25
    with pytest.raises(ValueError, match="other speakers"):
        noises.babble([], 100, 3, 0)


def test_music_that_cannot_be_had_says_why_and_another_package_is_refused(tmp_path, monkeypatch):
    def no_apt(archive, downloads):
        raise SourceError("apt-get cannot be used")

    monkeypatch.setattr(music, "fetch_apt", no_apt)
    with pytest.raises(SourceError, match="apt-get cannot be used"):
        music.fetch_music(tmp_path / "music", tmp_path / "downloads")
    (tmp_path / "downloads" / f"{music.PACKAGE}_9.9_all.deb").write_bytes(b"other")
    with pytest.raises(SourceError, match="expected SHA-256"):
        music.fetch_music(tmp_path / "music", tmp_path / "downloads")


def test_denoise_is_conversion_of_the_noisy_tokens_and_the_gate_takes_noise_away(model, pool):
    clean = torch.sin(2 * torch.pi * 440 * torch.arange(32_000) / 16_000) * 0.3
    clean[:16_000] = 0
    noisy = clean + 0.03 * noises.stationary("white", 32_000, 0)
    assert torch.equal(denoise(model, noisy, pool["a"]), model.convert(noisy, pool["a"]))
    gated = gate(noisy)
    assert len(gated) == 32_000
    assert float(gated[2000:14_000].square().mean()) < 0.2 * float(noisy[2000:14_000].square().mean())
    assert torch.equal(denoise(model, noisy, pool["a"], gate_first=True), model.convert(gated, pool["a"]))
    with pytest.raises(ValueError, match="average its channels"):
        gate(torch.zeros(2, 100))


# Bands.


@pytest.mark.parametrize("rate_hz", [4000, 8000])
def test_narrow_empties_the_high_band_and_fold_mirrors_the_low_one(rate_hz):
    source, half = noises.stationary("white", 32_000, 4) * 0.1, rate_hz // 2
    narrowed, folded = narrow(source, rate_hz), fold(source, rate_hz)
    assert len(narrowed) == len(folded) == 32_000
    assert band_power(narrowed, 1.1 * half, 7900) < 1e-4 * band_power(narrowed, 100, 0.8 * half)
    tone = fold(torch.sin(2 * torch.pi * 1000 * torch.arange(32_000) / 16_000) * 0.2, rate_hz)
    mirrored = band_power(tone, rate_hz - 1001, rate_hz - 999)
    assert mirrored == pytest.approx(band_power(tone, 999, 1001), rel=0.02)
    with pytest.raises(ValueError, match="divides 16000"):
        fold(source, 11_025)


def test_splice_is_the_one_below_and_the_other_above_at_one_level():
    low, high = noises.stationary("white", 32_000, 1) * 0.1, noises.stationary("white", 32_000, 2) * 0.02
    spliced = splice(low, high, 4000.0)
    spectra = [torch.stft(x, 512, window=torch.hann_window(512), return_complex=True) for x in (spliced, low, high)]
    below, above = slice(0, 110), slice(132, 257)
    torch.testing.assert_close(spectra[0][below, 9:-9], spectra[1][below, 9:-9], atol=0.02, rtol=0.05)
    gains = (spectra[0][above, 9:-9].abs() / spectra[2][above, 9:-9].abs()).median()
    assert float(gains) == pytest.approx(5.0, rel=0.05)
    with pytest.raises(ValueError, match="of one length"):
        splice(low, high[:-1], 4000.0)


def test_extend_is_conversion_or_keeps_the_low_band(model, pool):
    source = narrow(speech(32_000, 6), 8000)
    assert torch.equal(extend(model, source, pool["a"]), model.convert(source, pool["a"]))
    kept = extend(model, source, pool["a"], keep_below_hz=3800.0)
    assert kept.shape == (32_000,) and not torch.equal(kept, model.convert(source, pool["a"]))


# Files.


def test_a_file_speaks_alone_with_its_prompt_and_in_another_voice_with_another(model):
    source, voice = speech(33_000, 1), speech(48_000, 2)
    coder = systems.coder_of(model)
    alone = systems.encode(model, coder, source, "en", prompt=voice)
    spoken = systems.decode(model, coder, alone)
    assert spoken.shape == source.shape
    expected = model.decode(model.encode(source).tokens, coder.expand(coder.compact(model.prompt_vectors(voice))))
    assert torch.equal(spoken, expected[:33_000])
    assert torch.equal(systems.decode(model, coder, alone, source), model.convert(source, source))
    bare = systems.encode(model, coder, source)
    assert torch.equal(systems.decode(model, coder, bare, voice), model.convert(source, voice))
    with pytest.raises(VtokError, match="holds no prompt"):
        systems.decode(model, coder, bare)
