"""The evaluation of the tasks on tiny systems: lists without overlap, clips by name, attacks, tables and goals."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch

from tests.tiny_system import DIM, N_CLUSTERS, speech
from vectok.evaluation import (
    attackers,
    enhancement,
    privacy,
    privacy_tables,
    signal,
    task_goals,
    task_scores,
    task_tables,
)
from vectok.evaluation.scoring import NARROW
from vectok.store import Item, StoreWriter
from vectok.tasks.denoise import gate
from vectok.tasks.extend import fold, narrow
from vectok.tasks.noises import NoiseSource
from vectok.tokens import TokenTable, save_tokens

N_SPEAKERS, N_EACH = 4, 6


@pytest.fixture(scope="module")
def store(model, tmp_path_factory):
    """Four speakers of two languages, six utterances of 1.5 s each, the first in training."""
    folder, items = tmp_path_factory.mktemp("store"), []
    for place in range(N_SPEAKERS * N_EACH):
        samples, speaker = speech(24_000 + place, place), place % N_SPEAKERS
        metadata = {
            "speaker": f"s{speaker}", "language": ("en", "es")[speaker % 2], "group": f"g{place // 2}",
            "split": "train" if place < N_SPEAKERS else "test", "text": "one two", "bandwidth_hz": 8000,
            "seconds": len(samples) / 16_000,
        }  # fmt: skip
        vectors = model.encode(samples).vectors
        items.append(Item(utterance=f"u{place:02d}", vectors=vectors, audio=samples, metadata=metadata))
    writer = StoreWriter(folder / "store", DIM)
    writer.write(0, items)
    return writer.close(1)


@pytest.fixture(scope="module")
def table(model, store, tmp_path_factory):
    path = tmp_path_factory.mktemp("tokens") / "tokens.npy"
    save_tokens(path, torch.cat([model.encode(store.audio(name)).tokens for name in store.index["utterance"]]))
    return TokenTable(store, path)


@pytest.fixture(scope="module")
def lists(store):
    config = privacy.TrialConfig(n_enrolments=2, n_trials=3, shortest_seconds=1.0, longest_seconds=3.0, seed=1)
    return privacy_tables.listed(privacy.choose_trials(store.index, config), True, 4, 1)


@pytest.fixture(scope="module")
def anonymous(model, store, table):
    pool = privacy.pool_of(store, 4, 1.0, 0)
    settings = privacy.settings_of([0.0, 0.5], 1.0, 7)
    speakers = dict(zip(store.index["utterance"], store.index["speaker"], strict=True))
    return privacy.AnonymisedClips(model.codec, model.vocoder, store, table, pool, settings, speakers)


# Privacy.


def test_enrolments_and_trials_share_nothing_and_none_is_from_training(lists, store):
    rows = lists.rows.join(store.index.set_index("utterance")["split"].rename("known"), on="utterance")
    assert not rows["utterance"].duplicated().any() and set(rows["known"]) == {"test"}
    assert rows.groupby(["speaker", "role"]).size().unstack().to_numpy().tolist() == [[2, 3]] * N_SPEAKERS
    assert len(lists.read) == 4 and lists.name == "12 trials of 4 speakers, seed 1"
    with pytest.raises(ValueError, match="two speakers with 9 utterances"):
        privacy.choose_trials(
            store.index,
            privacy.TrialConfig(n_enrolments=4, n_trials=5, shortest_seconds=1.0, longest_seconds=3.0, seed=1),
        )


def test_a_speaker_alone_in_a_group_is_enrolled_but_not_tried(lists):
    rows = lists.rows[lists.rows["speaker"] != "s3"]
    alone = lists._replace(rows=rows)
    assert set(alone.trials["speaker"]) == {"s0", "s2"} and set(alone.enrolments["speaker"]) == {"s0", "s1", "s2"}


def test_clips_are_what_the_setting_says(anonymous, model, store):
    name = store.index["utterance"].iloc[7]
    assert torch.equal(anonymous.make(f"{name}|trial|original"), store.audio(name))
    fixed = anonymous.vectors(name, "trial", "fixed")
    voice = next(iter(anonymous.pool))
    expected = model.codec.reconstruct(anonymous.tokens.tokens(name), anonymous.pool[voice])
    torch.testing.assert_close(fixed, expected)
    half, none = (anonymous.vectors(name, "trial", f"mix {p}") for p in ("0.5", "0"))
    torch.testing.assert_close(half, 0.5 * store.vectors(name) + 0.5 * none)
    made = anonymous.make(f"{name}|trial|resynthesis")
    torch.testing.assert_close(made, model.decode(store.vectors(name))[: len(made)])
    assert len(made) == len(store.audio(name))
    assert "f0_correlation" in anonymous.measured[f"{name}|trial|resynthesis"]


def test_an_attacker_draws_for_himself(anonymous, store):
    names = store.index["utterance"].iloc[4:10]
    for setting, differs in (("random, per speaker", True), ("mix 0", True), ("fixed", False)):
        sides = [[anonymous.vectors(name, role, setting) for role in ("trial", "enrolment")] for name in names]
        assert any(not torch.allclose(*pair) for pair in sides) == differs, setting  # a draw may fall alike
    name = names.iloc[0]
    same = anonymous.vectors(name, "trial", "mix 0")
    anonymous._rendered.cache_clear()
    assert torch.equal(same, anonymous.vectors(name, "trial", "mix 0"))


def test_attacks_compare_within_groups_and_recentre_on_others(lists):
    generator = np.random.default_rng(0)
    centres = {f"s{n}": generator.normal(size=8) for n in range(N_SPEAKERS)}
    speaker_of = dict(zip(lists.rows["utterance"], lists.rows["speaker"], strict=True))
    embeddings = {
        request.clip: list(centres[speaker_of[request.clip.split("|")[0]]] + 0.01 * generator.normal(size=8))
        for request in privacy_tables.requests_of(lists, ["original", "random"])
    }
    assert all(NARROW in request.wants for request in privacy_tables.requests_of(lists, ["original"]))
    found = privacy_tables.attack_rows(lists, ["original", "random"], embeddings, "toy", 200, 0)
    rates = found[found["metric"] == "eer"]
    assert set(rates["condition"]) == set(attackers.ATTACKERS) and (rates["value"] == 0).all()
    distinct = found[found["metric"] == "distinctiveness"]
    assert (distinct["value"] > 0.2).all()
    assert (distinct["low"] <= distinct["value"]).all() and (distinct["value"] <= distinct["high"]).all()
    assert (distinct["low"] < distinct["high"]).all()
    side = privacy_tables.side_of(lists, "trial", "random", embeddings.__getitem__)
    known = privacy_tables.side_of(lists, "enrolment", "random", embeddings.__getitem__)
    assert len(privacy.attack("ignorant", side, known).scores) == 2 * 6 * 2  # two groups, six trials, two speakers
    with pytest.raises(ValueError, match="two speakers or more"):
        privacy.attack("ignorant", side.where(side.speakers == "s0"), known.where(known.speakers == "s0"))


def test_profiles_hold_no_voice_and_leaks_are_rows(lists, table):
    tokens = torch.tensor([3, 3, 3, 1, 1, 5] + [2] * 30)
    durations = privacy.duration_profile(tokens)
    assert len(durations) == 16 and durations[[0, 1, 2, 15]].tolist() == [0.5] * 4
    assert privacy.token_profile(tokens, N_CLUSTERS)[3] == pytest.approx(np.sqrt(3 / 36))
    tone = 0.3 * torch.sin(2 * torch.pi * 150 * torch.arange(16_001) / 16_000)
    still = privacy.prosody_profile(tone)
    assert still[0] > 0.9 and still[1] < 0.02 and privacy.prosody_profile(torch.zeros(16_000)).tolist() == [0.0] * 7
    profiles = {"durations kept": lambda clip: privacy.duration_profile(table.tokens(clip.split("|")[0]))}
    found = privacy_tables.leak_rows(lists, "random", profiles, 100, 0)
    assert found["condition"].tolist() == ["durations kept"] and 0 <= found["value"].item() <= 100


def test_the_pool_is_wide_band_and_spread_over_real_speakers(store):
    pool = privacy.pool_of(store, 3, 2.0, 0)
    assert len(pool) == 3 and all(len(vectors) >= 100 for vectors in pool.values())


def test_the_curve_names_the_most_private_setting_that_is_still_understood():
    def rows(system, eer, dcer):
        parts = (("semi_informed", "eer", eer), ("utility", "dcer", dcer))
        return [
            {"system": system, "condition": c, "metric": m, "value": v, "low": v, "high": v, "n": 3, "unit": "%"}
            for c, m, v in parts
        ]

    table = pd.DataFrame(
        rows("original", 5, 0) + rows("resynthesis", 10, 20) + rows("random", 40, 30) + rows("mix 0", 30, 24)
        + rows("mix 0.25", 20, 22)
    )  # fmt: skip
    curve = privacy_tables.curve_of(table, 5.0)
    assert (curve.best, curve.largest_dcer) == ("mix 0", 25.0) and len(curve.points) == 5
    assert privacy_tables.curve_of(table, 1.0).best is None
    goals = task_goals.private_goals(table, [0.0, 0.25, 0.5], curve)
    assert len(goals) == 4 and all(goals.values())


def test_how_distinct_voices_are_has_an_interval_over_trials():
    generator = np.random.default_rng(1)
    names, numbers = np.repeat(["a", "b", "c"], 4), np.tile(np.arange(4), 3)
    tried, enrolled = np.repeat(names, 3), np.tile(["a", "b", "c"], 12)
    noise = np.repeat(generator.normal(size=12), 3)  # of each trial, of all its comparisons: it falls out
    scores = np.where(tried == enrolled, 0.8, 0.3) + noise
    trials = attackers.Trials(scores, tried, enrolled, np.repeat(numbers, 3))
    found = privacy_tables.distinct_voices(trials, 300, 0)
    assert found.value == pytest.approx(0.5)
    assert (found.low, found.high) == (pytest.approx(0.5), pytest.approx(0.5)) and found.n == 12
    scores[tried == enrolled] += generator.normal(size=12)
    moved = privacy_tables.distinct_voices(trials, 300, 0)
    apart = scores[tried == enrolled].mean() - scores[tried != enrolled].mean()
    assert moved.value == pytest.approx(apart) and moved.low < moved.value < moved.high


# Denoising and bandwidth.


@pytest.fixture(scope="module")
def items(store):
    sources = ["u08", "u09", "u10", "u11"]
    codec_list = pd.DataFrame({
        "source": sources, "prompt": ["u00 u04", "u01", "u02", "u03"], "reference": ["u12", "u13", "u14 u18", "u15"],
        "target_speaker": [f"s{n}" for n in range(4)], "seen": [True, True, True, False],
    })  # fmt: skip
    return enhancement.choose_items(codec_list, store.index, 3, 5.0)


def make_clips(model, store, items, ways):
    source = NoiseSource([], [store.audio("u16"), store.audio("u17")], 3, 5)
    return enhancement.Clips(model, store, enhancement.voices_of(items, store), source, ways)


def test_items_are_seen_and_taken_language_by_language(items, store):
    assert items["source"].tolist() == ["u08", "u09", "u10"] and items["language"].tolist() == ["en", "es", "en"]
    voices = enhancement.voices_of(items, store)
    assert len(voices["u08"].own) == len(store.vectors("u00")) + len(store.vectors("u04"))
    assert torch.equal(voices["u08"].other, voices["u09"].own)
    with pytest.raises(ValueError, match="two speakers or more"):
        enhancement.voices_of(items[:1], store)
    with pytest.raises(ValueError, match="raise the limit"):
        enhancement.choose_items(items[["source", "seen"]], store.index, 3, 0.1)


def test_items_have_texts_of_other_groups_as_long_as_there_are_some():
    names, groups = ["en1", "en2", "es1", "es2", "es3", "fr1"], ["a", "b", "a", "a", "c", "c"]
    index = pd.DataFrame({
        "utterance": names, "language": [name[:2] for name in names], "group": groups, "seconds": 2.0, "text": "one",
        "speaker": "s",
    })  # fmt: skip
    codec_list = pd.DataFrame({"source": names, "seen": True})
    chosen = [enhancement.choose_items(codec_list, index, n, 5.0)["source"].tolist() for n in (4, 9)]
    assert chosen[0] == ["en1", "es3", "fr1", "en2"], "fr has no group but that of es3"
    assert chosen[1] == ["en1", "es3", "fr1", "en2", "es1", "es2"]
    alone = index.assign(group="")
    assert enhancement.choose_items(codec_list, alone, 3, 5.0)["source"].tolist() == ["en1", "es1", "fr1"]


def test_denoising_clips_are_what_their_names_say(model, store, items):
    way = enhancement.Degraded("pink", 0.0)
    clips = make_clips(model, store, items, [way])
    noisy, clean = clips.make("input|u08|pink 0 dB"), store.audio("u08")
    assert torch.equal(clips.make("recording|u08|clean"), clean)
    assert clips.measured["input|u08|pink 0 dB"]["si_sdr"][0] == pytest.approx(signal.si_sdr(noisy, clean))
    assert torch.equal(clips.make("gate|u08|pink 0 dB"), gate(noisy))
    own = clips.voices["u08"].own
    assert torch.equal(clips.make("vectok|u08|pink 0 dB"), model.convert(noisy, own))
    expected = signal.token_errors(model.encode(clean).tokens, model.encode(noisy).tokens)
    assert clips.measured["vectok|u08|pink 0 dB"]["token_errors"] == expected
    assert torch.equal(clips.make("vectok_gate|u08|pink 0 dB"), model.convert(gate(noisy), own))
    assert torch.equal(clips.make("resynthesis|u08|clean"), model.convert(clean, own))
    assert not torch.equal(clips.make("vectok_other|u08|pink 0 dB"), clips.make("vectok|u08|pink 0 dB"))


def test_clips_in_the_order_of_scoring_are_spoilt_gated_and_encoded_once(model, store, items, monkeypatch):
    ways = [enhancement.Degraded("pink", snr) for snr in (-5.0, 0.0, 10.0)]
    clips, counts = make_clips(model, store, items, ways), Counter()
    for name, of in (("encode", clips.model), ("noise", clips), ("gate", enhancement)):
        true = getattr(of, name)
        monkeypatch.setattr(of, name, lambda *a, true=true, name=name: (counts.update([name]), true(*a))[1])
    names = sorted((row.item, row.clip) for row in enhancement.rows_of(items, ways, enhancement.DENOISING))
    for _, name in names:
        clips.make(name)
    assert counts == {"noise": 3 * 3, "gate": 3 * 3, "encode": 3 * (1 + 2 * 3)}


def test_extension_clips_are_what_their_names_say(model, store, items):
    way = enhancement.Degraded("rate", 8000)
    clips, clean = make_clips(model, store, items, [way]), store.audio("u09")
    assert torch.equal(clips.make("input|u09|8000 Hz"), narrow(clean, 8000).clamp(-1, 1))
    assert torch.equal(clips.make("fold|u09|8000 Hz"), fold(clean, 8000))
    clips.make("vectok_spliced|u09|8000 Hz")
    lsd = {name.split("|")[0]: found["lsd_high"][0] for name, found in clips.measured.items()}
    assert lsd["fold"] < lsd["input"]  # of noise as flat as its mirror
    assert "lsd_high" not in clips.measured.get("recording|u09|clean", {})


def test_scores_come_from_what_models_said_and_what_was_measured(model, store, items):
    ways = [enhancement.Degraded("white", 0.0)]
    rows = enhancement.rows_of(items, ways, enhancement.DENOISING)
    assert len(rows) == 3 * (2 + 5)
    wants = frozenset({"transcript", "embedding", "dnsmos"})
    seconds = store.index.set_index("utterance")["seconds"].to_dict()
    requests = task_scores.requests_of(rows, seconds, wants, frozenset({"transcript"}))
    assert len(requests) == len({request.clip for request in requests}) == 3 * 7 + 4  # and four references
    values = pd.DataFrame({
        "clip": [request.clip for request in requests],
        "transcript": ["one too" if "white" in request.clip else "one two" for request in requests],
        "embedding": [[1.0, 0.0]] * len(requests), "distillmos": np.nan, "dnsmos": [{"ovrl": 3.0}] * len(requests),
    })  # fmt: skip
    measured = {rows[6].clip: {"stoi": (0.7, 1.0), "si_sdr": (float("nan"), 1.0)}}
    scores = task_scores.scores_of(rows, values, measured)
    table = task_tables.summarise(scores, {"cer": "toy"}, "list", n_draws=100)
    assert table.query("system == 'vectok' and metric == 'cer'")["value"].item() == pytest.approx(14.29, abs=0.01)
    assert table.query("system == 'recording' and metric == 'dcer'")["value"].item() == 0
    assert (table.query("metric == 'scs'")["value"] == 1).all() and set(table["metric"]) >= {"dnsmos_ovrl", "stoi"}
    assert "si_sdr" not in set(table["metric"])
    named = task_scores.models_of({}, {"transcript": "not run: no wheel"}, ("cer", "scs", "stoi"))
    assert named == {"cer": "not run: no wheel"}


def test_goals_are_read_off_the_tables():
    def row(system, condition, metric, value):
        return {"system": system, "condition": condition, "metric": metric, "value": value, "low": 0, "high": 1, "n": 2}

    table = pd.DataFrame(
        [row("vectok", f"{kind} 0 dB", "dnsmos_ovrl", value) for kind, value in (("pink", 3), ("hum", 3), ("white", 1))]
        + [row("input", f"{kind} 0 dB", "dnsmos_ovrl", 2) for kind in ("pink", "hum", "white")]
        + [row("vectok", "8000 Hz", "lsd_high", 9), row("fold", "8000 Hz", "lsd_high", 8)]
    )
    ways = [enhancement.Degraded(kind, 0.0) for kind in ("pink", "hum", "white")]
    assert list(task_goals.denoise_goals(table, ways).values()) == [True]
    assert list(task_goals.denoise_goals(table, ways[1:]).values()) == [False]
    assert list(task_goals.bandwidth_goals(table, [enhancement.Degraded("rate", 8000)]).values()) == [False]
