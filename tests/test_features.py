"""Vectoriser and extraction: statistics, files, resuming, bad audio."""

import json
from functools import partial

import pytest
import torch

from tests.tiny_encoders import StubEncoder, save_whisper
from vectok.audio import AudioError
from vectok.encoders import load_encoder
from vectok.extraction import INDEX_COLUMNS, Utterance, extract, shards_of
from vectok.features import ChannelStatistics, Vectoriser, fit_statistics
from vectok.frames import frames_of_samples


def noise(n_samples: int, seed: int) -> torch.Tensor:
    return torch.randn(n_samples, generator=torch.Generator().manual_seed(seed)) / 10


def utterance(number: int, reads: list[int], bad: bool = False) -> Utterance:
    """Utterances of different lengths that note that they were read."""
    n_samples = 700 + 300 * (number * 7 % 5)

    def read() -> torch.Tensor:
        reads.append(number)
        if bad:
            raise AudioError(f"{number}.wav: is empty: remove it")
        return noise(n_samples, number)

    metadata = dict.fromkeys(INDEX_COLUMNS, "x") | {"seconds": n_samples / 16_000, "bandwidth_hz": 8000}
    return Utterance(name=f"u{number}", seconds=n_samples / 16_000, read=read, metadata=metadata)


@pytest.fixture
def vectoriser():
    return Vectoriser(StubEncoder(), 1, ChannelStatistics(torch.zeros(4), torch.ones(4)))


def test_statistics_standardise_what_they_were_taken_from():
    encoder, audios = StubEncoder(), [noise(n, n) + 0.3 for n in (32_000, 6400, 9600)]
    statistics = fit_statistics(encoder, [0, 2], iter(audios))[1]
    vectors = torch.cat(Vectoriser(encoder, 2, statistics).vectorise_batch(audios))
    torch.testing.assert_close(vectors.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(vectors.std(0, correction=0), torch.ones(4), atol=1e-4, rtol=0)


def test_a_constant_channel_does_not_divide_by_zero():
    statistics = fit_statistics(StubEncoder(), [0], [torch.zeros(3200)])[0]
    assert torch.isfinite(Vectoriser(StubEncoder(), 0, statistics).vectorise(torch.zeros(640))).all()


def test_statistics_of_nothing_are_refused():
    with pytest.raises(ValueError, match="at least one train utterance"):
        fit_statistics(StubEncoder(), [0], [])


def test_saved_and_loaded_vectoriser_is_the_same(tmp_path):
    encoder, audio = load_encoder(str(save_whisper(tmp_path / "whisper"))), noise(5000, 0)
    saved = Vectoriser(encoder, 1, fit_statistics(encoder, [1], [audio])[0])
    saved.save(tmp_path / "encoder")
    loaded = Vectoriser.load(tmp_path / "encoder")
    assert torch.equal(loaded.vectorise(audio), saved.vectorise(audio))
    assert sorted(path.name for path in (tmp_path / "encoder").iterdir()) == ["config.json", "statistics.safetensors"]
    assert not (tmp_path / "encoder.partial").exists()


def test_another_encoder_than_the_saved_one_is_refused(tmp_path, vectoriser):
    vectoriser.save(tmp_path / "encoder")
    config = json.loads((tmp_path / "encoder" / "config.json").read_text())
    (tmp_path / "encoder" / "config.json").write_text(json.dumps(config | {"content_hash": "1" * 64}))
    with pytest.raises(ValueError, match="use the same weights or run the features stage again"):
        Vectoriser.load(tmp_path / "encoder", StubEncoder())
    with pytest.raises(ValueError, match="run the features stage first"):
        Vectoriser.load(tmp_path / "nothing")


def test_statistics_of_another_dimension_are_refused():
    with pytest.raises(ValueError, match="expected statistics of 4 channels"):
        Vectoriser(StubEncoder(), 1, ChannelStatistics(torch.zeros(3), torch.ones(3)))
    with pytest.raises(ValueError, match="unknown layer 9"):
        Vectoriser(StubEncoder(), 9, ChannelStatistics(torch.zeros(4), torch.ones(4)))


def test_extraction_keeps_what_the_vectoriser_gives(tmp_path, vectoriser):
    utterances = [utterance(number, []) for number in range(12)]
    store, skipped = extract([vectoriser], utterances, tmp_path / "store", 0.3, "test")
    assert not skipped and set(store.index["utterance"]) == {u.name for u in utterances}
    assert store.index["shard"].nunique() > 2 and set(INDEX_COLUMNS) <= set(store.index)
    for u in utterances:
        audio = u.read()
        torch.testing.assert_close(store.vectors(u.name), vectoriser.vectorise(audio), atol=1e-3, rtol=1e-3)
        assert store.n_frames(u.name) == frames_of_samples(len(audio)) and len(store.audio(u.name)) == len(audio)


def test_bad_audio_is_named_and_the_rest_goes_on(tmp_path, vectoriser, capsys):
    utterances = [utterance(number, [], bad=number in (0, 5)) for number in range(8)]
    store, skipped = extract([vectoriser], utterances, tmp_path / "store", 0.15, "test")
    assert skipped == {"u0": "0.wav: is empty: remove it", "u5": "5.wav: is empty: remove it"}
    assert len(store) == 6 and "left out u5: 5.wav: is empty" in capsys.readouterr().out


def test_when_nothing_can_be_read_it_is_said(tmp_path, vectoriser):
    with pytest.raises(ValueError, match="no utterance could be read.*0.wav"):
        extract([vectoriser], [utterance(0, [], bad=True)], tmp_path / "store", 1.0, "test")


def test_an_interrupted_extraction_goes_on_where_it_was(tmp_path, vectoriser):
    reads: list[int] = []
    utterances = [utterance(number, reads) for number in range(8)]
    last = shards_of(utterances, 0.15)[-1][0]
    broken = [u if u is not last else Utterance(**(vars(u) | {"read": partial(_kill, 0)})) for u in utterances]
    with pytest.raises(KeyboardInterrupt):
        extract([vectoriser], broken, tmp_path / "store", 0.15, "test")
    n_before, _ = len(reads), reads.clear()
    store, _ = extract([vectoriser], utterances, tmp_path / "store", 0.15, "test")
    assert n_before >= 5 and len(reads) <= 3 and len(store) == 8
    reads.clear()
    assert len(extract([vectoriser], utterances, tmp_path / "store", 0.15, "test").store) == 8 and not reads


def test_what_another_vectoriser_left_is_not_used(tmp_path, vectoriser):
    utterances = [utterance(number, []) for number in range(3)]
    extract([vectoriser], utterances, tmp_path / "store", 1.0, "test")
    other = Vectoriser(StubEncoder(), 2, vectoriser.statistics)
    store, _ = extract([other], utterances, tmp_path / "store", 1.0, "test")
    torch.testing.assert_close(store.vectors("u0"), other.vectorise(utterances[0].read()), atol=1e-3, rtol=1e-3)


def test_a_store_of_two_layers_is_one_run_and_keeps_what_each_layer_alone_gives(tmp_path, vectoriser):
    other = Vectoriser(StubEncoder(), 2, ChannelStatistics(torch.ones(4), torch.full((4,), 2.0)))
    reads: list[int] = []
    utterances = [utterance(number, reads) for number in range(5)]
    store, _ = extract([vectoriser, other], utterances, tmp_path / "both", 0.2, "test")
    assert sorted(reads) == [0, 1, 2, 3, 4] and store.layers == [1, 2]
    view = store.at_layer(2)
    for name, audio in ((u.name, u.read()) for u in utterances):
        torch.testing.assert_close(store.vectors(name), vectoriser.vectorise(audio), atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(view.vectors(name), other.vectorise(audio), atol=1e-3, rtol=1e-3)
        assert torch.equal(view.audio(name), store.audio(name))
    changed = Vectoriser(StubEncoder(), 2, ChannelStatistics(torch.zeros(4), torch.full((4,), 2.0)))
    again, _ = extract([vectoriser, changed], utterances, tmp_path / "both", 0.2, "test")
    assert not torch.equal(again.at_layer(2).vectors("u0"), view.vectors("u0")), "other statistics, another store"


def test_names_are_unique(tmp_path, vectoriser):
    with pytest.raises(ValueError, match="'u1' occurs twice"):
        extract([vectoriser], [utterance(1, []), utterance(1, [])], tmp_path, 1.0, "test")


def test_shards_hold_everything_once_sorted_by_length():
    utterances = [utterance(number, []) for number in range(11)]
    shards = shards_of(utterances, 0.2)
    assert sorted(u.name for shard in shards for u in shard) == sorted(u.name for u in utterances)
    assert all([u.seconds for u in shard] == sorted(u.seconds for u in shard) for shard in shards)


def _kill(number: int) -> torch.Tensor:
    raise KeyboardInterrupt
