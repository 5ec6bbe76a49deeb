"""Teaching pairs across voices: the target is in the prompt's voice, frame by frame in step with somebody's tokens."""

import dataclasses

import numpy as np
import torch

from tests.test_codec import DATA, N_CLUSTERS, sources_and_codebook  # noqa: F401  (a fixture)
from vectok.codec_data import CodecBatches
from vectok.voice_pools import N_NEIGHBOURS, VoicePools


def test_a_moved_utterance_keeps_its_content_and_takes_the_mean_of_the_voice():
    content = torch.randn(6, 5)
    frames = content.repeat(N_NEIGHBOURS, 1)  # each content as often as neighbours are averaged
    voice = torch.randn(5) * 3
    pools = VoicePools({"b": [0]}, lambda _: frames - frames.mean(0) + voice, 1000, 0)
    source = content - content.mean(0) + 10.0
    moved = pools.move(source, source.mean(0), "b")
    assert torch.allclose(moved, content - content.mean(0) + voice, atol=1e-4)


def test_pool_is_seeded_bounded_and_of_the_voice_alone():
    parts = {"a": [torch.full((7, 2), float(i)) for i in range(9)], "b": [torch.full((7, 2), 100.0)]}
    pools = [
        VoicePools({v: list(range(len(p))) for v, p in parts.items()}, lambda i: parts["a"][i], 20, seed)
        for seed in (1, 1, 2)
    ]
    first, again, other = (each.pool("a") for each in pools)
    assert len(first.centred) == 20
    assert torch.equal(first.centred, again.centred) and torch.equal(first.mean, again.mean)
    assert not torch.equal(first.mean, other.mean)
    assert (first.centred + first.mean).max() < 9.0


def test_crossed_sequences_pair_one_speakers_tokens_with_anothers_voice(sources_and_codebook, monkeypatch):  # noqa: F811
    sources, _ = sources_and_codebook
    monkeypatch.setattr("vectok.codec_data._FEWEST_POOL_FRAMES", 10)  # toy voices last seconds
    config = dataclasses.replace(DATA, crossed_share=1.0, mask_rate=0.0, replace_rate=0.0)
    batches = CodecBatches(sources, N_CLUSTERS, config)
    n_crossed = 0
    for seed in range(40):
        drawn = batches._draw(np.random.default_rng(seed))
        assert drawn.crossed
        spoken, target, _, start = batches._read(drawn, 15, np.random.default_rng(seed))
        own = sources[drawn.target.source]
        assert torch.equal(spoken, own.tokens.tokens(drawn.target.utterance, start, len(spoken)))
        same = torch.equal(target, own.store.vectors(drawn.target.utterance, start, len(spoken)))
        assert same == (drawn.target.speaker == drawn.prompt.speaker)
        n_crossed += not same
    assert n_crossed > 20


def test_without_crossing_nothing_is_moved(sources_and_codebook):  # noqa: F811
    sources, _ = sources_and_codebook
    batches = CodecBatches(sources, N_CLUSTERS, DATA)
    assert not any(batches._draw(np.random.default_rng(seed)).crossed for seed in range(50))
