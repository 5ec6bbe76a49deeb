"""The feature store: what goes in comes out, a killed run goes on, memory stays constant, wrong lengths are refused."""

import numpy as np
import pytest
import torch

from tests.synthetic import make_items, make_store
from vectok.store import FeatureStore, Item, StoreWriter


def item(n_samples: int, n_frames: int, **metadata: object) -> Item:
    vectors = torch.randn(n_frames, 4)
    return Item(utterance="a/b", vectors=vectors, audio=torch.rand(n_samples) - 0.5, metadata=metadata)


def test_round_trip(tmp_path):
    items, store = make_items(30, 6, 0, 12), make_store(tmp_path)
    assert list(store.index["utterance"]) == [i.utterance for i in items] and len(store) == 30
    for made in items:
        torch.testing.assert_close(store.vectors(made.utterance), made.vectors, atol=0, rtol=1e-3)
        assert store.n_frames(made.utterance) == len(made.vectors)
    row = store.index.iloc[3]
    assert {name: row[name] for name in items[3].metadata} == items[3].metadata


def test_audio_comes_back_without_its_padding_to_half_a_step(tmp_path):
    made = item(1000, 4)
    writer = StoreWriter(tmp_path, 4)
    writer.write(0, [made])
    store = writer.close(1)
    assert len(store.audio("a/b")) == 1000 and len(store.audio("a/b", 1, 3)) == 960
    assert float((store.audio("a/b") - made.audio).abs().max()) <= 0.5 / 32767 + 1e-7
    assert torch.equal(store.audio("a/b", 1, 2), store.audio("a/b")[320:960])


def test_stretches_are_those_of_the_whole(tmp_path):
    store = make_store(tmp_path)
    name = store.index["utterance"].iloc[-1]
    assert torch.equal(store.vectors(name, 3, 5), store.vectors(name)[3:8])
    assert torch.equal(store.vectors(name, 3), store.vectors(name)[3:])


@pytest.mark.parametrize(("n_samples", "n_frames"), [(320, 2), (321, 1), (0, 1)])
def test_wrong_lengths_are_refused(tmp_path, n_samples, n_frames):
    with pytest.raises(ValueError, match=f"{n_samples} samples make"):
        StoreWriter(tmp_path, 4).write(0, [item(n_samples, n_frames)])


def test_a_killed_run_keeps_whole_shards_only(tmp_path):
    items, writer = make_items(4, 6, 0, 12), StoreWriter(tmp_path, 6)

    def killed():
        yield items[2]
        raise KeyboardInterrupt

    writer.write(0, items[:2])
    with pytest.raises(KeyboardInterrupt):
        writer.write(1, killed())
    again = StoreWriter(tmp_path, 6)
    assert again.has(0) and not again.has(1)
    with pytest.raises(ValueError, match="run the features stage first"):
        FeatureStore(tmp_path)
    again.write(1, items[2:])
    store = again.close(2)
    torch.testing.assert_close(store.vectors(items[3].utterance), items[3].vectors, atol=0, rtol=1e-3)


def test_shards_are_mapped_and_not_loaded(tmp_path):
    store = make_store(tmp_path)
    store.vectors("toy/000")
    assert all(isinstance(part.base, np.memmap) for shard in store._shards.values() for part in shard)


@pytest.mark.parametrize("text", ["null", "NA", "", "None"])
def test_texts_come_back_as_they_were(tmp_path, text):
    writer = StoreWriter(tmp_path, 4)
    writer.write(0, [item(320, 1, text=text, group="x")])
    assert writer.close(1).index["text"].tolist() == [text]


def test_a_shard_without_utterances_is_no_obstacle(tmp_path):
    writer = StoreWriter(tmp_path, 4)
    writer.write(0, [])
    writer.write(1, [item(320, 1)])
    assert len(writer.close(2)) == 1


def test_a_layer_beside_the_vectors_is_a_view_and_one_that_is_not_kept_is_named(tmp_path):
    vectors, frames = torch.randn(2, 4), torch.randn(2, 4)
    writer = StoreWriter(tmp_path, 4, [3, 5])
    writer.write(0, [Item(utterance="a", vectors=vectors, audio=torch.zeros(640), metadata={}, others=[frames])])
    store = writer.close(1)
    torch.testing.assert_close(store.vectors("a"), vectors, atol=0, rtol=1e-3)
    torch.testing.assert_close(store.at_layer(5).vectors("a"), frames, atol=0, rtol=1e-3)
    torch.testing.assert_close(store.at_layer(3).vectors("a"), store.vectors("a"))
    assert (store.layer, store.at_layer(5).layer, FeatureStore(tmp_path).layers) == (3, 5, [3, 5])
    with pytest.raises(ValueError, match=r"keeps layers \[3, 5\], got 4: name it in other_layers"):
        store.at_layer(4)


def test_every_item_has_frames_of_every_layer(tmp_path):
    with pytest.raises(ValueError, match="shorter"):
        StoreWriter(tmp_path, 4, [3, 5]).write(0, [item(320, 1)])


def test_an_unknown_utterance_is_named(tmp_path):
    with pytest.raises(ValueError, match="no utterance 'nobody'"):
        make_store(tmp_path).vectors("nobody")
