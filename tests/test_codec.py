"""The inverse K-means model: frozen centroids, no leak, losses, sequences, learning, files."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState
from torch.nn import functional

from tests.synthetic import make_items, make_store
from vectok import codec_check, tokens
from vectok.codec import InverseKMeans, InverseKMeansConfig, masked_mean
from vectok.codec_data import CodecBatches, CodecDataConfig, CodecSequence, TokenisedStore, collate, corrupt
from vectok.codec_training import CodecBatch, CodecObjective, masked_mse, ssim
from vectok.config import stage_parameters
from vectok.conformer import sinusoids
from vectok.knn_vc import averages
from vectok.store import Item, StoreWriter
from vectok.training import TrainingConfig, fit

N_CLUSTERS, DIM = 8, 6
CONFIG = InverseKMeansConfig(
    vector_dim=DIM, n_clusters=N_CLUSTERS, dim=16, n_blocks=2, n_heads=2, ffn_dim=32, kernel_size=5, dropout=0.0,
    macaron=True, residual=True, retrieval=True, positions=True, window_frames=40, overlap_frames=10,
)  # fmt: skip
DATA = CodecDataConfig(
    batch_size=4, min_prompt_seconds=0.2, max_prompt_seconds=0.4, min_target_seconds=0.2, max_target_seconds=0.6,
    real_share=0.5, voices_share=0.0, mask_rate=0.1, replace_rate=0.1, swap_rate=0.0, crossed_share=0.0,
    promptless_share=0.0, seed=3,
)  # fmt: skip


@pytest.fixture
def centroids():
    return torch.randn(N_CLUSTERS, DIM)


@pytest.fixture(params=[True, False], ids=["residual", "plain"])
def model(request, centroids):
    model = InverseKMeans(dataclasses.replace(CONFIG, residual=request.param), centroids)
    torch.nn.init.normal_(model.head.weight)
    torch.nn.init.normal_(model.from_place.weight)
    return model.eval()


def make_batch(n_frames=(12, 7, 9), n_prompt=(5, 8, 3)):
    return collate(
        [
            CodecSequence(
                torch.randint(0, N_CLUSTERS, (frames,)), torch.randn(frames, DIM), torch.randn(prompt, DIM), 5
            )
            for frames, prompt in zip(n_frames, n_prompt, strict=True)
        ]
    )


def run(model, batch):
    return model(batch.tokens, batch.token_mask, batch.prompt, batch.prompt_mask, batch.starts)


def test_embedding_is_the_codebook_and_stays_it(centroids, tmp_path):
    model = InverseKMeans(CONFIG, centroids)
    ids = torch.arange(N_CLUSTERS)[None]
    assert torch.equal(model.look_up(ids)[0], centroids)
    assert not model.look_up(torch.tensor([[N_CLUSTERS]])).any()
    fit_some(model, lambda step: make_batch(), 2, tmp_path)
    assert torch.equal(model.centroids, centroids)
    assert "centroids" not in dict(model.named_parameters())


def test_untrained_model_is_centroid_plus_the_prompt_mean(centroids):
    model = InverseKMeans(dataclasses.replace(CONFIG, retrieval=False), centroids)
    batch = make_batch((5,), (4,))
    expected = centroids[batch.tokens[:, :5]] + batch.prompt[:, :4].mean(1, keepdim=True)
    torch.testing.assert_close(run(model, batch)[:, :5], expected)


def test_only_the_prompt_says_where_the_mean_lies(centroids):
    model = InverseKMeans(CONFIG, centroids)
    for parameter in (model.head.weight, model.head.bias, model.from_place.weight):
        torch.nn.init.normal_(parameter)
    batch = make_batch()
    vectors = run(model, batch)
    for row, (frames, prompt) in enumerate(zip((12, 7, 9), (5, 8, 3), strict=True)):
        content = centroids[batch.tokens[row, :frames]].mean(0)
        mean = vectors[row, :frames].mean(0) - content
        torch.testing.assert_close(mean, batch.prompt[row, :prompt].mean(0), atol=1e-4, rtol=1e-4)


def test_place_in_the_utterance_is_a_term_of_its_own(model):
    batch = make_batch()
    moved = run(model, batch._replace(starts=batch.starts + 7)) - run(model, batch)
    places = torch.arange(5, 5 + batch.tokens.shape[1]).expand_as(batch.tokens)
    expected = model.from_place(sinusoids(places + 7, DIM) - sinusoids(places, DIM))
    if model.config.residual:
        expected = expected - masked_mean(expected, batch.token_mask)[:, None]
    torch.testing.assert_close(moved, expected, atol=1e-4, rtol=1e-4)
    model.from_place = None
    model.config = dataclasses.replace(model.config, positions=False)
    assert torch.equal(run(model, batch), run(model, batch._replace(starts=batch.starts + 7)))


def test_padding_and_neighbours_change_nothing(model):
    batch = make_batch()
    together = run(model, batch)
    for row, (frames, prompt) in enumerate(zip((12, 7, 9), (5, 8, 3), strict=True)):
        alone = CodecBatch(
            batch.tokens[row : row + 1, :frames], batch.token_mask[row : row + 1, :frames],
            batch.target[row : row + 1, :frames], batch.prompt[row : row + 1, :prompt],
            batch.prompt_mask[row : row + 1, :prompt], batch.starts[row : row + 1],
        )  # fmt: skip
        torch.testing.assert_close(together[row, :frames], run(model, alone)[0], atol=1e-4, rtol=1e-4)


def test_nothing_in_padding_reaches_the_loss_or_a_gradient(model):
    clean = make_batch()
    spoilt = CodecBatch(*(part.clone() for part in clean))
    spoilt.target[~spoilt.token_mask] = torch.nan
    spoilt.prompt[~spoilt.prompt_mask] = torch.nan
    spoilt.tokens[~spoilt.token_mask] = 10**6
    objective = CodecObjective(model, 1.0)
    losses, expected = (objective.losses("codec", batch, 0) for batch in (spoilt, clean))
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name])
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_prompt_decides_the_output(model):
    batch = make_batch()
    other = batch._replace(prompt=batch.prompt + 1.0)
    assert ((run(model, other) - run(model, batch)).abs().mean((1, 2)) > 1e-3).all()


def test_masked_mean_ignores_padding():
    prompt = torch.tensor([[[1.0], [3.0], [torch.nan]]])
    assert masked_mean(prompt, torch.tensor([[True, True, False]])).item() == 2.0


def test_ssim_is_one_for_equal_and_falls_with_noise():
    target, mask = torch.randn(2, 30, DIM), torch.ones(2, 30, dtype=torch.bool)
    noise = torch.randn_like(target)
    values = [float(ssim(target + scale * noise, target, mask)) for scale in (0.0, 0.1, 0.5, 2.0)]
    assert values[0] == pytest.approx(1.0, abs=1e-5)
    assert values == sorted(values, reverse=True) and values[-1] < 0.5
    assert ssim(-target, target, mask) < -0.5  # the sign: a similarity


def test_ssim_of_constants_is_the_level_term():
    one, other, mask = torch.full((1, 40, 1), 1.0), torch.full((1, 40, 1), 2.0), torch.ones(1, 40, dtype=torch.bool)
    c1 = (0.01 * 6) ** 2  # intensities are the values + 3
    assert float(ssim(one, other, mask)) == pytest.approx((2 * 4 * 5 + c1) / (16 + 25 + c1), abs=1e-4)


def test_ssim_equals_a_convolution_in_the_middle():
    x, y, mask = torch.randn(1, 41, 1), torch.randn(1, 41, 1), torch.ones(1, 41, dtype=torch.bool)
    window = torch.exp(-0.5 * (torch.arange(-5.0, 6) / 1.5) ** 2)
    window = (window / window.sum())[None, None]
    mx, my, xx, yy, xy = (functional.conv1d(z.mT, window)[0, 0] for z in (x, y, x * x, y * y, x * y))
    c1, c2 = (0.01 * 6) ** 2, (0.03 * 6) ** 2
    expected = (2 * mx * my + c1) * (2 * (xy - mx * my) + c2) / ((mx**2 + my**2 + c1) * (xx + yy - mx**2 - my**2 + c2))
    # Intensities are the values + 3. Windows at the ends are cut: take their share away.
    inner = 41 * float(ssim(x - 3, y - 3, mask)) - sum_of_ends(x, y)
    assert inner == pytest.approx(float(expected.sum()), abs=1e-3)


def sum_of_ends(x, y):
    """SSIM summed over the five frames at each end, whose windows are cut, in plain Python."""
    total, c1, c2 = 0.0, (0.01 * 6) ** 2, (0.03 * 6) ** 2
    for t in [*range(5), *range(36, 41)]:
        near = [s for s in range(41) if abs(s - t) <= 5]
        w = np.exp([-0.5 * ((s - t) / 1.5) ** 2 for s in near])
        w, a, b = w / w.sum(), x[0, near, 0].numpy(), y[0, near, 0].numpy()
        ma, mb = w @ a, w @ b
        va, vb, vab = w @ a**2 - ma**2, w @ b**2 - mb**2, w @ (a * b) - ma * mb
        total += (2 * ma * mb + c1) * (2 * vab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    return total


def test_losses_fall_as_the_output_nears_the_target():
    target, mask = torch.randn(1, 20, DIM), torch.ones(1, 20, dtype=torch.bool)
    predicted = torch.zeros_like(target, requires_grad=True)
    loss = masked_mse(predicted, target, mask) + 1 - ssim(predicted, target, mask)
    loss.backward()
    nearer = predicted.detach() - predicted.grad
    assert masked_mse(nearer, target, mask) + 1 - ssim(nearer, target, mask) < loss
    assert float(masked_mse(target, target + 2, mask)) == pytest.approx(4.0)


def test_corruption_masks_or_replaces_a_tenth():
    random, ids = np.random.default_rng(0), torch.randint(0, 300, (2000,))
    shares = {"masked": [], "replaced": []}
    for _ in range(20):
        corrupted = corrupt(ids, 300, 0.1, 0.1, random)
        kind = "masked" if (corrupted == 300).any() else "replaced"
        shares[kind].append(float((corrupted != ids).float().mean()))
        assert kind == "masked" or int(corrupted.max()) < 300
    assert all(4 < len(found) < 16 and np.mean(found) == pytest.approx(0.1, abs=0.01) for found in shares.values())
    assert torch.equal(corrupt(ids, 300, 0.0, 0.0, random), ids)


def make_sources(folder):
    """A store, a store of its utterances in a pseudo voice, and their tokens."""
    real = make_store(folder / "store", dim=DIM)
    writer, train = (
        StoreWriter(folder / "augmented", DIM),
        [i for i in make_items(30, DIM, 0, 12) if i.metadata["split"] == "train"],
    )
    writer.write(0, [
        Item(utterance=f"{i.utterance}~1", vectors=i.vectors + 2, audio=i.audio,
             metadata=i.metadata | {"speaker": i.metadata["speaker"] + "~1", "source_utterance": i.utterance})
        for i in train
    ])  # fmt: skip
    augmented, codebook, sources = writer.close(1), torch.randn(N_CLUSTERS, DIM), []
    for store in (real, augmented):
        path = folder / f"{store.folder.name}.npy"
        tokens.save_tokens(path, tokens.tokenise_store(store, codebook).tokens)
        sources.append(TokenisedStore(store, tokens.TokenTable(store, path)))
    return sources, codebook


@pytest.fixture(scope="module")
def sources_and_codebook(tmp_path_factory):
    torch.manual_seed(0)
    return make_sources(tmp_path_factory.mktemp("codec"))


def test_batch_is_a_function_of_seed_and_step(sources_and_codebook):
    sources, _ = sources_and_codebook
    batches = CodecBatches(sources, N_CLUSTERS, DATA)
    ahead = [batches(step) for step in (5, 6)]
    again = CodecBatches(sources, N_CLUSTERS, DATA)(5)
    assert all(torch.equal(a, b) for a, b in zip(ahead[0], again, strict=True))
    assert not all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(*ahead, strict=True))
    other = CodecBatches(sources, N_CLUSTERS, dataclasses.replace(DATA, seed=4))(5)
    assert not all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(ahead[0], other, strict=True))


def test_sequences_are_what_they_are_drawn_as(sources_and_codebook):
    sources, codebook = sources_and_codebook
    config = dataclasses.replace(DATA, batch_size=64, mask_rate=0.0, replace_rate=0.0, swap_rate=0.5)
    batches = CodecBatches(sources, N_CLUSTERS, config)
    train = {u for s in sources for u in s.store.index.loc[s.store.index["split"] == "train", "utterance"]}
    assert set(batches.table["utterance"]) <= train
    drawn = [batches._draw(np.random.default_rng(i)) for i in range(400)]
    target, prompt = (pd.DataFrame([getattr(each, name) for each in drawn]) for name in ("target", "prompt"))
    assert (target["speaker"].to_numpy() == prompt["speaker"].to_numpy()).all()
    assert (target["utterance"].to_numpy() != prompt["utterance"].to_numpy()).all()
    assert (target["kind"] == "pseudo").mean() == pytest.approx(0.5, abs=0.08)
    shares = target["speaker"].value_counts(normalize=True)
    assert len(shares) == 4 and shares.between(0.17, 0.33).all()
    batch = batches(0)
    assert batch.token_mask.sum(1).max() <= 30 and batch.prompt_mask.sum(1).max() <= 20
    assert batch.tokens.shape[1] % 16 == 0 and batch.token_mask.float().mean() > 0.7


def test_lent_voices_have_their_share_and_short_ones_take_nobody_elses_words(sources_and_codebook, monkeypatch):
    sources, _ = sources_and_codebook
    lent = sources[0]._replace(store=type(sources[0].store)(sources[0].store.folder))
    lent.store.index["split"] = lent.store.index["split"].replace({"train": "voices"})
    lent.store.index["speaker"] = "lent-" + lent.store.index["speaker"]
    config = dataclasses.replace(DATA, real_share=0.2, voices_share=0.5, crossed_share=1.0)
    batches = CodecBatches([*sources, lent], N_CLUSTERS, config)
    drawn = [batches._draw(np.random.default_rng(i)) for i in range(400)]
    kinds = pd.Series([each.prompt.kind for each in drawn]).value_counts(normalize=True)
    assert kinds.to_dict() == pytest.approx({"real": 0.2, "voices": 0.5, "pseudo": 0.3}, abs=0.08)
    assert not any(each.crossed for each in drawn), "toy voices last seconds, not half a minute"
    monkeypatch.setattr("vectok.codec_data._FEWEST_POOL_FRAMES", 10)
    drawn = [batches._draw(np.random.default_rng(i)) for i in range(400)]
    assert all(each.crossed for each in drawn)
    assert len({each.target.speaker for each in drawn if each.prompt.kind == "voices"}) > 2


def test_swapped_tokens_come_from_the_same_recording_in_step(sources_and_codebook):
    sources, codebook = sources_and_codebook
    batches = CodecBatches(sources, N_CLUSTERS, dataclasses.replace(DATA, swap_rate=1.0))
    row = next(found for found in batches._utterances if found.kind == "pseudo")
    spoken = [batches._spoken(row, np.random.default_rng(i)) for i in range(20)]
    assert {found.speaker for found in spoken} == {row.speaker, row.speaker[:-2]}
    assert {found.n_frames for found in spoken} == {row.n_frames} and {found.origin for found in spoken} == {row.origin}
    never = CodecBatches(sources, N_CLUSTERS, DATA)
    assert all(never._spoken(row, np.random.default_rng(i)) == row for i in range(20))


def test_only_utterance_of_a_speaker_gives_prompt_and_target_apart(sources_and_codebook):
    sources, _ = sources_and_codebook
    config = dataclasses.replace(DATA, batch_size=32, mask_rate=0.0, replace_rate=0.0)
    batches = CodecBatches([lone(sources[0])], N_CLUSTERS, config)
    row = next(found for found in batches._utterances if found.speaker == "toy-en")
    vectors = sources[0].store.vectors(row.utterance)
    for seed in range(20):
        drawn = batches._draw(np.random.default_rng(seed))._replace(target=row, prompt=row)
        spoken, target, prompt, start = batches._read(drawn, 15, np.random.default_rng(seed))
        assert torch.equal(prompt, vectors[: len(prompt)]) and 0 < len(prompt) <= 15
        starts = [t for t in range(len(vectors) - len(target) + 1) if torch.equal(vectors[t : t + len(target)], target)]
        assert len(spoken) == len(target) > 0 and starts == [start] and start >= len(prompt)


def test_sequences_without_a_prompt_have_no_voice_to_hit(sources_and_codebook):
    sources, _ = sources_and_codebook
    clean = dataclasses.replace(DATA, batch_size=64, mask_rate=0.0, replace_rate=0.0, promptless_share=0.5)
    batches = CodecBatches(sources, N_CLUSTERS, clean)
    bare = 0
    for seed in range(60):
        drawn = batches._draw(np.random.default_rng(seed))
        spoken, target, prompt, start = batches._read(drawn, 15, np.random.default_rng(seed))
        whole = sources[drawn.target.source].store.vectors(drawn.target.utterance)
        mean = whole.mean(0) if len(prompt) == 0 else 0
        torch.testing.assert_close(target, whole[start : start + len(target)] - mean, atol=1e-5, rtol=1e-5)
        bare += len(prompt) == 0
    assert 18 <= bare <= 42
    batch = batches(3)
    found = (~batch.prompt_mask.any(1)).float().mean()
    assert 0.3 < found < 0.7, "rows without prompts stand beside rows with them"


def test_no_utterance_of_enough_length_is_named(sources_and_codebook):
    sources, _ = sources_and_codebook
    with pytest.raises(ValueError, match="no training utterance of 5000 frames"):
        CodecBatches(sources, N_CLUSTERS, dataclasses.replace(DATA, min_target_seconds=100.0))


def lone(source):
    """The same source, all but one of a speaker's training utterances moved out of the split."""
    store = type(source.store)(source.store.folder)
    own = store.index.index[(store.index["speaker"] == "toy-en") & (store.index["split"] == "train")]
    store.index.loc[own[1:], "split"] = "test"
    return source._replace(store=store)


def fit_some(model, batch_at, n_steps, folder, **changes):
    config = TrainingConfig(n_steps=n_steps, learning_rate=1e-2, precision="no", save_every_steps=4)
    return fit(CodecObjective(model, 1.0), batch_at, dataclasses.replace(config, **changes), folder, "test")


@pytest.mark.parametrize("macaron", [True, False])
def test_overfits_one_batch(centroids, macaron, tmp_path):
    model, batch = InverseKMeans(dataclasses.replace(CONFIG, macaron=macaron), centroids), make_batch((12, 10), (8, 8))
    mean = masked_mean(batch.prompt, batch.prompt_mask) + masked_mean(model.look_up(batch.tokens), batch.token_mask)
    moved = batch.target + (mean - masked_mean(batch.target, batch.token_mask))[:, None]  # of the prompt's mean
    history = fit_some(model, lambda step: batch._replace(target=moved), 150, tmp_path)
    assert history["mse"].iloc[-1] < 0.1 * history["mse"].iloc[0]
    assert history["ssim"].iloc[-1] < 0.2 * history["ssim"].iloc[0]


def test_resumed_equals_uninterrupted(sources_and_codebook, tmp_path):
    sources, codebook = sources_and_codebook
    batches = CodecBatches(sources, N_CLUSTERS, DATA)

    def trained(stop):
        torch.manual_seed(1)
        model = InverseKMeans(dataclasses.replace(CONFIG, dropout=0.1), codebook)

        def batch_at(step):
            if step == stop:
                raise KeyboardInterrupt
            return batches(step)

        return model, fit_some(model, batch_at, 8, tmp_path / "whole" if stop is None else tmp_path / "killed")

    whole, history = trained(None)
    with pytest.raises(KeyboardInterrupt):
        trained(6)
    torch.manual_seed(77)
    resumed = InverseKMeans(dataclasses.replace(CONFIG, dropout=0.1), codebook)
    again = fit_some(resumed, batches, 8, tmp_path / "killed")
    assert history.equals(again)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_learns_a_voice_that_only_the_prompt_tells(sources_and_codebook, tmp_path):
    sources, codebook = sources_and_codebook
    model = InverseKMeans(CONFIG, codebook)
    batches = CodecBatches(sources, N_CLUSTERS, dataclasses.replace(DATA, swap_rate=1.0, batch_size=8))
    fit_some(model, batches, 60, tmp_path)
    utterance = sources[0].store.index["utterance"][0]
    spoken, target = sources[0].tokens.tokens(utterance), f"{utterance}~1"
    own = model.reconstruct(spoken, codec_check.prompt_of(sources[0].store, "toy-en", 30))
    moved = model.reconstruct(spoken, codec_check.prompt_of(sources[1].store, "toy-en~1", 30))
    assert (moved - own).mean() == pytest.approx(2.0, abs=0.5)
    assert torch.cosine_similarity(moved, sources[1].store.vectors(target), dim=-1).mean() > 0.7


def test_dev_scores_and_conversions_have_a_row_for_each_case(sources_and_codebook):
    sources, codebook = sources_and_codebook
    model = InverseKMeans(dataclasses.replace(CONFIG, retrieval=False), codebook).eval()
    dev = codec_check.dev_utterances(sources[0].store, 2, 5, 0)
    assert set(dev["split"]) == {"dev"} and len(dev) == 4
    scores = codec_check.held_out_scores(model, sources[0], dev, 20)
    assert len(scores) == 12 and scores["mse"].notna().all()
    conversions = codec_check.conversion_scores(model, sources[0], dev, ["toy-en", "toy-fr"], 20)
    assert len(conversions) == 12 and (conversions["source"] != conversions["target"]).all()
    margins = conversions.pivot_table(index="source", columns="system", values="margin")
    untrained = (margins["inverse K-means"] - margins["centroids"]).abs().max()
    assert untrained < 1e-5, "an untrained model moves nothing: its gain over the centroids is none"
    with torch.no_grad():
        model.head.bias += 5 * torch.randn(DIM)
        model.head.weight += torch.randn_like(model.head.weight)
    moved = codec_check.conversion_scores(model, sources[0], dev, ["toy-en", "toy-fr"], 20)
    own = moved[moved["system"] == "inverse K-means"]["margin"].to_numpy()
    assert abs(own - conversions[conversions["system"] == "inverse K-means"]["margin"].to_numpy()).max() > 1e-3
    with pytest.raises(ValueError, match="nobody"):
        codec_check.prompt_of(sources[0].store, "nobody", 20)


def test_long_utterances_are_the_windows_joined(model):
    spoken, prompt = torch.randint(0, N_CLUSTERS, (97,)), torch.randn(60, DIM)
    vectors = model.reconstruct(spoken, prompt)
    assert vectors.shape == (97, DIM) and torch.isfinite(vectors).all()
    torch.testing.assert_close(model.reconstruct(spoken[:40], prompt), vectors_of(model, spoken[:40], prompt))
    moved = prompt.mean(0) - prompt[:40].mean(0) if model.config.residual else 0
    torch.testing.assert_close(vectors[:30], vectors_of(model, spoken[:40], prompt)[:30])
    torch.testing.assert_close(vectors[70:], vectors_of(model, spoken[60:], prompt, 60)[10:])
    assert torch.equal(vectors, model.reconstruct(spoken, prompt))
    assert model.config.residual == bool(torch.as_tensor(moved).any())


def test_a_row_without_a_prompt_is_said_by_tokens_alone(model):
    """Whatever stands in its padding, whoever is beside it; where the mean is the prompt's, it is zero then."""
    batch = make_batch((12, 12), (5, 8))
    bare = batch._replace(prompt_mask=batch.prompt_mask & torch.tensor([[True], [False]]))
    vectors = run(model, bare)
    torch.testing.assert_close(vectors[0, :12], run(model, batch)[0, :12], atol=1e-5, rtol=1e-4)
    empty = batch.prompt[1:, :0], batch.prompt_mask[1:, :0]
    alone = model(batch.tokens[1:], batch.token_mask[1:], *empty, batch.starts[1:])
    torch.testing.assert_close(vectors[1:, :12], alone[:, :12], atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        model.gain += 100.0
    torch.testing.assert_close(run(model, bare)[1, :12], vectors[1, :12], atol=1e-5, rtol=1e-4)
    assert (run(model, bare)[0, :12] - vectors[0, :12]).abs().max() > 1, "only what a prompt says has a gain"
    if model.config.residual:
        content = model.look_up(batch.tokens[1:, :12])[0].mean(0)
        torch.testing.assert_close(vectors[1, :12].mean(0), content, atol=1e-5, rtol=1e-4)


def test_guidance_goes_on_from_what_tokens_say_to_what_the_prompt_adds(model):
    spoken, prompt = torch.randint(0, N_CLUSTERS, (30,)), torch.randn(40, DIM)
    plain = model.reconstruct(spoken, prompt)
    mask, none = torch.ones(1, 30, dtype=torch.bool), torch.zeros(1, 0, dtype=torch.bool)
    bare = model(spoken[None], mask, prompt[None, :0], none)[0].detach()
    model.config = dataclasses.replace(model.config, guidance=1.5)
    moved = plain - (prompt.mean(0) if model.config.residual else 0) - bare
    torch.testing.assert_close(model.reconstruct(spoken, prompt), plain + 1.5 * moved, atol=1e-4, rtol=1e-4)
    assert moved.abs().max() > 1e-2
    if model.config.residual:
        mean = model.reconstruct(spoken, prompt).mean(0) - model.centroids[spoken].mean(0)
        torch.testing.assert_close(mean, prompt.mean(0), atol=1e-4, rtol=1e-4)


def vectors_of(model, spoken, prompt, start=0):
    """One window by hand: the first 40 prompt frames, the mean of all."""
    near = prompt[:40]
    masks = torch.ones(1, len(spoken), dtype=torch.bool), torch.ones(1, len(near), dtype=torch.bool)
    moved = prompt.mean(0) - near.mean(0) if model.config.residual else 0
    return model(spoken[None], masks[0], near[None], masks[1], torch.tensor([start]))[0].detach() + moved


@pytest.mark.parametrize("n_frames", [1, 2, 39, 40, 41, 50, 51, 70, 71])
def test_any_length_gives_that_length(model, n_frames):
    vectors = model.reconstruct(torch.zeros(n_frames, dtype=torch.long), torch.randn(3, DIM))
    assert vectors.shape == (n_frames, DIM) and torch.isfinite(vectors).all()


def test_saved_model_is_the_same_model(model, tmp_path):
    model.save(tmp_path / "codec")
    model.save(tmp_path / "codec")
    loaded = InverseKMeans.load(tmp_path / "codec")
    batch = make_batch()
    assert torch.equal(run(loaded, batch), run(model, batch)) and loaded.config == model.config
    assert sorted(path.name for path in (tmp_path / "codec").iterdir()) == ["config.json", "model.safetensors"]
    assert [path.name for path in tmp_path.iterdir()] == ["codec"]


def test_bad_input_is_named(model, centroids, tmp_path):
    prompt, ids = torch.randn(4, DIM), torch.zeros(3, dtype=torch.long)
    with pytest.raises(ValueError, match="0 tokens"):
        model.reconstruct(ids[:0], prompt)
    with pytest.raises(ValueError, match="0 prompt frames"):
        model.reconstruct(ids, prompt[:0])
    with pytest.raises(ValueError, match="codebook"):
        model.reconstruct(ids + N_CLUSTERS, prompt)
    with pytest.raises(ValueError, match="dim 6, got 5"):
        model.reconstruct(ids, prompt[:, :5])
    with pytest.raises(ValueError, match="run the codec stage"):
        InverseKMeans.load(tmp_path)
    with pytest.raises(ValueError, match="expected centroids"):
        InverseKMeans(CONFIG, centroids[1:])


def paper_config(**changes):
    """The paper profile's model over WavLM vectors, as its notebook builds it."""
    given = stage_parameters("paper", "codec")
    sizes = ("dim", "n_blocks", "n_heads", "ffn_dim", "kernel_size", "dropout", "macaron", "residual", "positions")
    config = InverseKMeansConfig(vector_dim=1024, n_clusters=300, **{name: given[name] for name in sizes})
    return dataclasses.replace(config, **changes)


@pytest.mark.parametrize(("macaron", "millions"), [(True, 145), (False, 94)])
def test_paper_size_has_the_parameters_of_either_reading(macaron, millions):
    with torch.device("meta"):
        model = InverseKMeans(paper_config(macaron=macaron))
    conformer = sum(parameter.numel() for parameter in model.conformer.parameters())
    rest = sum(parameter.numel() for parameter in model.parameters()) - conformer
    assert conformer / 1e6 == pytest.approx(millions, abs=1) and rest / 1e6 == pytest.approx(3.2, abs=0.1)
    assert (len(model.conformer.blocks), model.config.n_heads, model.config.ffn_dim) == (6, 8, 4096)


@pytest.fixture
def own_precision():
    """Accelerate keeps one precision a process: this test's own."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_paper_model_of_reduced_width_takes_a_real_step(tmp_path, own_precision):
    model = InverseKMeans(
        paper_config(dim=64, ffn_dim=256, vector_dim=DIM, n_clusters=N_CLUSTERS), torch.randn(N_CLUSTERS, DIM)
    )
    before = [parameter.detach().clone() for parameter in model.parameters()]
    history = fit_some(model, lambda step: make_batch(), 2, tmp_path, precision="bf16")
    assert history[["mse", "ssim"]].notna().all(axis=None)
    unchanged = [name for (name, p), old in zip(model.named_parameters(), before, strict=True) if torch.equal(p, old)]
    assert unchanged == ["mask_embedding"]  # no token of this batch is masked


def test_retrieval_adds_what_the_prompts_own_frames_say(centroids):
    model = InverseKMeans(dataclasses.replace(CONFIG, positions=False), centroids).eval()  # its head starts at zero
    prompt, spoken = torch.randn(30, DIM), torch.randint(0, N_CLUSTERS, (20,))
    own = averages(centroids, (prompt - prompt.mean(0))[None], torch.ones(1, 30, dtype=torch.bool))[0]
    with torch.no_grad():
        model.gain.fill_(0.5)
    moved = 0.5 * (own - centroids)[spoken]
    expected = prompt.mean(0) + centroids[spoken] + moved - moved.mean(0)
    torch.testing.assert_close(model.reconstruct(spoken, prompt), expected)


def test_masked_tokens_retrieve_nothing_and_long_prompts_no_padding(centroids):
    model = InverseKMeans(CONFIG, centroids).eval()
    prompt = torch.randn(1, 9, DIM)
    masked = torch.full((1, 4), N_CLUSTERS)
    own = model._said_by_prompt(masked, model.look_up(masked), prompt, torch.ones(1, 9, dtype=torch.bool))
    assert torch.equal(own, torch.zeros(1, 4, DIM))
    batch = make_batch((6, 6), (8, 3))
    shorter = batch._replace(prompt=batch.prompt[:, :8], prompt_mask=batch.prompt_mask[:, :8])
    longer = batch.prompt.clone()
    longer[~batch.prompt_mask] = torch.nan
    torch.testing.assert_close(run(model, batch._replace(prompt=longer)), run(model, shorter))
