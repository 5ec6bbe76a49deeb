"""Discriminators: HiFi-GAN's sizes for the paper, any width for the rest."""

import pytest
import torch
from safetensors.torch import load_file

from vectok.vocoder.base import build
from vectok.vocoder.discriminators import (
    DiscriminatorConfig,
    Discriminators,
    PeriodJudge,
    ScaleJudge,
    load_discriminators,
)
from vectok.vocoder.losses import deception_loss, discriminator_loss

LIGHT = DiscriminatorConfig(
    periods=(2, 3), period_channels=(4, 8), n_scales=0, n_ffts=(256,), spectrogram_channels=(4, 4)
)


def n_weights_and_biases(module: torch.nn.Module) -> int:
    """Parameters without the gains that weight normalisation adds (one for each output channel)."""
    names = [name for name, _ in module.named_parameters()]
    gains = {name for name in names if name.endswith("weight.original0")}
    return sum(value.numel() for name, value in module.named_parameters() if name not in gains)


def test_period_judges_have_the_sizes_of_hifigan():
    widths = [(1, 32, 5), (32, 128, 5), (128, 512, 5), (512, 1024, 5), (1024, 1024, 5), (1024, 1, 3)]
    expected = sum(a * b * kernel + b for a, b, kernel in widths)
    with torch.device("meta"):
        judge = PeriodJudge(7, (32, 128, 512, 1024, 1024))
    assert n_weights_and_biases(judge) == expected
    assert round(5 * expected / 1e6, 1) == 41.1  # as published


def test_scale_judges_have_the_sizes_of_hifigan():
    layers = [(1, 128, 15, 1), (128, 128, 41, 4), (128, 256, 41, 16), (256, 512, 41, 16), (512, 1024, 41, 16)]
    layers += [(1024, 1024, 41, 16), (1024, 1024, 5, 1), (1024, 1, 3, 1)]
    expected = sum(a * b * kernel // groups + b for a, b, kernel, groups in layers)
    with torch.device("meta"):
        judge = ScaleJudge(1)
    assert n_weights_and_biases(judge) == expected
    assert round(3 * expected / 1e6, 1) == 29.6  # as published


@pytest.mark.parametrize("n_samples", [2_048, 3_201])
def test_light_judges_score_any_length_and_send_finite_gradients_to_silence(n_samples):
    judges = Discriminators(LIGHT)
    audio = torch.zeros(2, n_samples, requires_grad=True)
    judged = judges(audio)
    assert len(judged) == 3
    deception_loss([judgement.score for judgement in judged]).backward()
    assert audio.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in judges.parameters())


def test_judges_learn_to_tell_a_tone_from_noise():
    judges = Discriminators(LIGHT)
    optimiser = torch.optim.Adam(judges.parameters(), 3e-3)
    tone = torch.sin(torch.arange(4096) * 0.3).repeat(4, 1)
    for _ in range(40):
        real, generated = judges(tone), judges(torch.randn(4, 4096))
        loss = discriminator_loss([j.score for j in real], [j.score for j in generated])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.5 * 0.5 * len(judges.judges) * 2, f"loss {loss:.2f}: no better than chance"


def test_a_batch_is_judged_like_its_rows():
    judges, audio = Discriminators(LIGHT), torch.randn(2, 3000)
    together = judges(audio)
    for row in range(2):
        for alone, both in zip(judges(audio[row : row + 1]), together, strict=True):
            torch.testing.assert_close(alone.score[0], both.score[row], rtol=1e-4, atol=1e-5)


def test_judges_are_saved_beside_their_vocoder(tmp_path):
    judges = Discriminators(LIGHT)
    vocoder = build({"kind": "source_filter", "dim": 8, "width": 8, "n_slow_blocks": 1, "n_fast_blocks": 1})
    vocoder.save(tmp_path / "vocoder", judges)
    found = load_discriminators(tmp_path / "vocoder")
    assert found.config == LIGHT
    audio = torch.randn(1, 3000)
    for first, second in zip(judges(audio), found(audio), strict=True):
        assert torch.equal(first.score, second.score)
    assert load_file(tmp_path / "vocoder" / "discriminators.safetensors").keys() == judges.state_dict().keys()


def test_a_folder_without_judges_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no discriminators in"):
        load_discriminators(tmp_path)
