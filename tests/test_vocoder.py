"""Vocoders: exact lengths, one voice alone or in a batch, whole or in windows, and that they learn."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.synthetic import make_store
from vectok import vocoder as vocoders
from vectok.store import FeatureStore, Item, StoreWriter
from vectok.training import TrainingConfig, fit
from vectok.vocoder import base, plots
from vectok.vocoder.batches import CropConfig, CropSampler, Source, spread, utterances_of
from vectok.vocoder.checks import held_out
from vectok.vocoder.discriminators import DiscriminatorConfig, Discriminators
from vectok.vocoder.hifigan import Hifigan, HifiganConfig
from vectok.vocoder.istft import SourceFilter, SourceFilterConfig
from vectok.vocoder.losses import Spectra, SpectralConfig
from vectok.vocoder.objective import ObjectiveConfig, VocoderBatch, VocoderObjective
from vectok.vocoder.pitch import Pitch, PitchConfig
from vectok.vocoder.reconstruction import draw_prompt, promptable
from vectok.vocoder.source import frame_phase, pulses, sample_phase

DIM = 8


def small(kind: str) -> base.Vocoder:
    """An untrained vocoder of each kind, on vectors of dim 8."""
    torch.manual_seed(3)
    if kind == "hifigan":
        return Hifigan(HifiganConfig(dim=DIM, width=16, kernels=(3,), dilations=(1,))).eval()
    config = SourceFilterConfig(dim=DIM, width=16, n_slow_blocks=1, n_fast_blocks=1, n_pitch_classes=40)
    return SourceFilter(config).eval()


KINDS = ["hifigan", "source_filter"]


def tone(n_frames: int, hz: float) -> torch.Tensor:
    """A pulse train, softened: something with a pitch."""
    f0_hz = torch.full((1, 2 * n_frames + 1), hz)
    train = pulses(*sample_phase(f0_hz, frame_phase(f0_hz)))[0]
    return 0.05 * torch.nn.functional.avg_pool1d(train[None], 5, 1, 2)[0]


@pytest.fixture
def store(tmp_path) -> FeatureStore:
    """Eight tones whose pitch and level stand in the vectors."""
    items, random = [], torch.Generator().manual_seed(5)
    for number in range(8):
        n_frames, hz = 40 + number, 120.0 + 20 * number
        vectors = torch.zeros(n_frames, DIM)
        vectors[:, number] = 1.0
        vectors += 0.1 * torch.randn(vectors.shape, generator=random)
        columns = {"speaker": "one", "language": "en", "split": "dev" if number == 7 else "train", "seconds": 1.0}
        items.append(Item(utterance=f"tone/{number}", vectors=vectors, audio=tone(n_frames, hz)[:-7], metadata=columns))
    writer = StoreWriter(tmp_path / "store", DIM)
    writer.write(0, items)
    return writer.close(1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_frames", [1, 2, 3, 7, 50])
def test_length_is_320_samples_a_frame(kind, n_frames):
    audio = small(kind).synthesize(torch.randn(n_frames, DIM))
    assert audio.shape == (320 * n_frames,)
    assert audio.isfinite().all()


@pytest.fixture
def double_precision(monkeypatch):
    """Everything in float64, casts to float included: float32 products of three rows and of one round otherwise, by
    processor, and the source's phase adds up what that makes of the pitch."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_alone_and_in_a_batch_alike_and_deterministic(kind, double_precision):
    vocoder, vectors = small(kind), torch.randn(3, 20, DIM)
    together = vocoder(vectors)
    in_other_company = vocoder(torch.cat([vectors[:1], torch.randn(2, 20, DIM)]))
    assert torch.equal(in_other_company[0], together[0]), "the rows beside it changed a row"
    for row in range(3):
        alone = vocoder.synthesize(vectors[row])
        torch.testing.assert_close(alone, together[row], rtol=1e-9, atol=1e-9 * alone.abs().max().item())
    assert torch.equal(vocoder.synthesize(vectors[0]), vocoder.synthesize(vectors[0]))


@pytest.mark.parametrize("kind", KINDS)
def test_long_audio_in_windows_is_the_whole(kind, monkeypatch):
    vocoder, vectors = small(kind), torch.randn(180, DIM)
    whole = vocoder.synthesize(vectors)
    monkeypatch.setattr(base, "WINDOW_FRAMES", 50)
    parts = vocoder.synthesize(vectors)
    assert parts.shape == whole.shape
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-3 * whole.abs().max().item())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, 100.0, -100.0])
def test_extreme_vectors_give_finite_audio(kind, value):
    assert small(kind).synthesize(torch.full((10, DIM), value)).isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_speaks_the_same(kind, tmp_path):
    vocoder, vectors = small(kind), torch.randn(10, DIM)
    vocoder.save(tmp_path / "vocoder")
    assert sorted(path.name for path in (tmp_path / "vocoder").iterdir()) == ["config.json", "model.safetensors"]
    assert torch.equal(vocoders.load(tmp_path / "vocoder").synthesize(vectors), vocoder.synthesize(vectors))


def test_wrong_vectors_folders_kinds_and_fields_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected vectors \[frames >= 1, 8\], got \[5, 9\]"):
        small("source_filter").synthesize(torch.zeros(5, 9))
    with pytest.raises(ValueError, match=r"got \[0, 8\]"):
        small("source_filter").synthesize(torch.zeros(0, DIM))
    with pytest.raises(ValueError, match="no vocoder in"):
        vocoders.load(tmp_path)
    with pytest.raises(ValueError, match="unknown kind of vocoder 'griffin'"):
        base.build({"kind": "griffin"})
    with pytest.raises(ValueError, match=r"unknown fields \['widht'\]"):
        base.build({"kind": "hifigan", "widht": 3})
    with pytest.raises(ValueError, match="expected a product of 320"):
        HifiganConfig(upsample_rates=(8, 8, 2, 2), upsample_kernels=(16, 16, 4, 4))


def test_paper_generator_has_the_sizes_of_hifigan_v1():
    with torch.device("meta"):
        vocoder = Hifigan(HifiganConfig())
    gains = sum(value.numel() for name, value in vocoder.named_parameters() if name.endswith("weight.original0"))
    widths, rest = (512, 256, 128, 64, 32), (1024 * 512 + 512) + (512 * 512 * 7 + 512) + (32 * 7 + 1)
    ups = sum(a * b * k + b for a, b, k in zip(widths[:-1], widths[1:], (20, 16, 4, 4), strict=True))
    blocks = sum(6 * (width * width * kernel + width) for width in widths[1:] for kernel in (3, 7, 11))
    assert sum(value.numel() for value in vocoder.parameters()) - gains == rest + ups + blocks


def test_folding_weight_norm_changes_nothing():
    vocoder, vectors = small("hifigan"), torch.randn(6, DIM)
    before = vocoder.synthesize(vectors)
    torch.testing.assert_close(vocoder.fold_weight_norm().synthesize(vectors), before, rtol=1e-4, atol=1e-6)


def test_the_light_generator_is_light():
    vocoder = SourceFilter(SourceFilterConfig())
    assert sum(value.numel() for value in vocoder.parameters()) < 4.5e6


def test_predicted_pitch_is_what_is_spoken():
    """Logits at one class make every frame sound at that class's frequency."""
    vocoder = small("source_filter")
    controls = vocoder.controls(torch.zeros(1, 30, DIM))
    logits = torch.full_like(controls.pitch_logits, -20.0)
    logits[..., 20] = 20.0
    controls = controls._replace(pitch_logits=logits, voicing_logit=torch.ones_like(controls.voicing_logit))
    assert vocoder.predicted_f0(controls).sub(vocoder.class_hz[20]).abs().max() < 0.1


def test_crops_line_up_with_the_store_and_do_not_depend_on_order(store):
    source = Source(store, utterances_of(store, "train", 40)).track(PitchConfig())
    sampler = CropSampler([source], CropConfig(n_frames=10, batch_size=4, context_frames=3, seed=1))
    first, again = sampler(7), (sampler(3), sampler(7))[1]
    assert torch.equal(first.vectors, again.vectors) and torch.equal(first.audio, again.audio)
    assert first.vectors.shape == (4, 16, DIM) and first.pitch.f0_hz.shape == (4, 32) and first.audio.shape == (4, 3200)
    edge, n_frames = source.crop(2, 0, 10, 3), store.n_frames(source.utterances[2])
    assert (edge.vectors[0, :3] == 0).all() and (edge.vectors[0, 3] != 0).any()
    assert torch.equal(edge.audio[0], store.audio(source.utterances[2], 0, 10))
    end = source.crop(2, n_frames - 10, 10, 3)
    assert (end.vectors[0, -3:] == 0).all() and end.pitch.f0_hz.isfinite().all()


def test_a_crop_longer_than_all_utterances_is_refused(store):
    source = Source(store, utterances_of(store, "train"))
    with pytest.raises(ValueError, match="no utterance of 900 frames"):
        CropSampler([source], CropConfig(n_frames=900, batch_size=1, context_frames=0))


def test_crops_come_from_the_sources_by_their_shares(store):
    names = utterances_of(store, "train", 40)
    sources = [Source(store, names[:1]), Source(store, names[1:2]), Source(store, names[2:])]
    for source, hz in zip(sources, (100.0, 200.0, 300.0), strict=True):
        still = torch.ones(1, 2 * int(source.n_frames.max()))
        source.pitches = [Pitch(hz * still, still.bool(), still)] * len(source.utterances)
    config = CropConfig(n_frames=4, batch_size=50, context_frames=0, shares=(0.5, 0.0, 0.5), seed=3)
    heard = torch.cat([CropSampler(sources, config)(step).pitch.f0_hz[:, 0] for step in range(4)])
    assert set(heard.tolist()) == {100.0, 300.0} and abs(float((heard == 100).float().mean()) - 0.5) < 0.12
    with pytest.raises(ValueError, match="3 shares that add up to 1"):
        CropSampler(sources, CropConfig(n_frames=4, batch_size=1, context_frames=0, shares=(0.5, 0.5)))


def test_prompts_come_from_other_training_utterances(store):
    import numpy as np

    prompt = draw_prompt(store, "one", "tone/0", 10_000, np.random.default_rng(0))
    lengths = [store.n_frames(f"tone/{number}") for number in range(1, 7)]
    assert len(prompt) == sum(lengths)
    with pytest.raises(ValueError, match="has no training utterance"):
        draw_prompt(store, "two", "tone/0", 10, np.random.default_rng(0))


def objective(vocoder: base.Vocoder, n_before: int) -> VocoderObjective:
    """Small discriminators and losses around a vocoder."""
    judges = DiscriminatorConfig(
        periods=(2,), period_channels=(4, 4), n_scales=0, n_ffts=(256,), spectrogram_channels=(4,)
    )
    config = ObjectiveConfig(n_steps_before_adversarial=n_before, mel_weight=5.0, linear_weight=1.0)
    return VocoderObjective(vocoder, Discriminators(judges), config, SpectralConfig(n_ffts=(256,), mel_n_ffts=(512,)))


@pytest.mark.parametrize("kind", KINDS)
def test_both_players_get_finite_gradients_at_silence(kind):
    vocoder = small(kind)
    game = objective(vocoder, 0)
    context, still = 2 * vocoder.context_frames, torch.zeros(2, 2 * (8 + 2 * vocoder.context_frames))
    batch = VocoderBatch(
        torch.zeros(2, 8 + context, DIM), Pitch(still + 200.0, still.bool(), still + 1.0), torch.zeros(2, 8 * 320)
    )
    for player, module in game.players().items():
        sum(game.losses(player, batch, 0).values()).backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters()), player


def test_discriminators_wait_for_their_first_step(store):
    game = objective(small("source_filter"), 5)
    source = Source(store, utterances_of(store, "train")).track(PitchConfig())
    batch = CropSampler([source], CropConfig(n_frames=8, batch_size=2, context_frames=4))(0)
    assert game.losses("discriminator", batch, 4) == {}
    assert set(game.losses("generator", batch, 4)) == {"mel", "linear", "pitch", "voicing"}
    assert set(game.losses("discriminator", batch, 5)) == {"discriminator"}
    assert {"deception", "features"} < set(game.losses("generator", batch, 5))


def test_judges_sit_out_but_go_on_to_be_deceived(store):
    """They learn in their first step and in every third from there; the generator hears them in all."""
    game = objective(small("source_filter"), 5)
    game.config = replace(game.config, judge_every_steps=3)
    source = Source(store, utterances_of(store, "train")).track(PitchConfig())
    batch = CropSampler([source], CropConfig(n_frames=8, batch_size=2, context_frames=4))(0)
    turns = [step for step in range(3, 12) if game.losses("discriminator", batch, step)]
    assert turns == [5, 8, 11]
    assert {"deception", "features"} < set(game.losses("generator", batch, 6))


def test_judges_never_turn_is_refused():
    with pytest.raises(ValueError, match="judge_every_steps of 1 or more, got 0"):
        ObjectiveConfig(n_steps_before_adversarial=0, judge_every_steps=0)


def test_training_lowers_the_distance_on_what_it_sees(store, tmp_path):
    vocoder = small("source_filter")
    source = Source(store, utterances_of(store, "train")).track(PitchConfig())
    sampler = CropSampler([source], CropConfig(n_frames=16, batch_size=4, context_frames=4))
    spectra = Spectra(SpectralConfig(n_ffts=(256,), mel_n_ffts=(512,)))
    before = held_out(vocoder, source, spectra, "before")
    training = TrainingConfig(n_steps=60, learning_rate=1e-2, precision="no", max_gradient_norm=10.0)
    history = fit(objective(vocoder, 50), lambda step: sampler(step % 4), training, tmp_path / "state", "test")
    after = held_out(vocoder, source, spectra, "after")
    assert after["mel"].mean() < 0.6 * before["mel"].mean()
    assert after["f0_gross_share"].mean() < 0.2, "the pitch of its own training tones is not learnt"
    assert history["discriminator"].notna().sum() == 10


def test_spread_takes_the_first_of_each_language(store):
    assert spread(store, ["tone/3", "tone/1", "tone/2"], 2) == ["tone/3", "tone/1"]


def test_configuration_is_json_with_its_kind(tmp_path):
    small("source_filter").save(tmp_path / "v")
    assert json.loads((tmp_path / "v" / "config.json").read_text())["kind"] == "source_filter"


def test_players_are_small_and_in_ogg():
    found = plots.player(0.1 * torch.randn(100_000), seconds=2.0)
    assert found.data[:4] == b"OggS" and len(found.data) < 60_000
    assert plots.rising_pulses(100.0, 200.0, seconds=0.5).shape == (8_000,)


@pytest.mark.slow
def test_one_step_of_the_paper_preset():
    vocoder = Hifigan(HifiganConfig())
    game = VocoderObjective(
        vocoder,
        Discriminators(DiscriminatorConfig()),
        ObjectiveConfig(n_steps_before_adversarial=0),
        SpectralConfig(n_ffts=()),
    )
    pitch = Pitch(torch.full((1, 16), 200.0), torch.ones(1, 16).bool(), torch.zeros(1, 16))
    batch = VocoderBatch(torch.randn(1, 8, 1024), pitch, 0.1 * torch.randn(1, 8 * 320))
    for player, module in game.players().items():
        optimiser = torch.optim.AdamW(module.parameters(), 2e-4, betas=(0.8, 0.99))
        losses = game.losses(player, batch, 0)
        sum(losses.values()).backward()
        optimiser.step()
        assert all(loss.isfinite() for loss in losses.values())
        assert all(value.isfinite().all() for value in module.parameters())


def test_only_speakers_with_another_utterance_can_be_prompted(tmp_path):
    store = make_store(tmp_path / "store")
    train = store.index[store.index["split"] == "train"]
    alone = train.iloc[0]
    others = (store.index["speaker"] == alone["speaker"]) & (store.index["utterance"] != alone["utterance"])
    store.index.loc[others, "split"] = "test"
    names = utterances_of(store, "train")
    assert alone["utterance"] in names and len(names) > 2
    assert promptable(store, names) == [name for name in names if name != alone["utterance"]]
    with pytest.raises(ValueError, match="has no training utterance beside"):
        draw_prompt(store, alone["speaker"], alone["utterance"], 10, np.random.default_rng(0))
