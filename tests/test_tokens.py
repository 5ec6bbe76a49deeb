"""Tokens of a whole store, and the rates that they cost."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.synthetic import make_store, utterances_of
from vectok import bpe, kmeans, rates, tokens

N_CLUSTERS = 8


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("tokens") / "store")


@pytest.fixture(scope="module")
def centroids(store):
    config = kmeans.KMeansConfig(n_clusters=N_CLUSTERS, n_fit_frames=400)
    return kmeans.fit(store, utterances_of(store, "train"), config).centroids


@pytest.fixture(scope="module")
def table(store, centroids):
    path = store.folder.parent / "tokens.npy"
    tokens.save_tokens(path, tokens.tokenise_store(store, centroids).tokens)
    return tokens.TokenTable(store, path)


def test_the_table_gives_what_assign_gives(store, centroids, table):
    for utterance in store.index["utterance"]:
        assert torch.equal(table.tokens(utterance), kmeans.assign(store.vectors(utterance), centroids))
    assert torch.equal(table.tokens("toy/003", 2, 5), table.tokens("toy/003")[2:7])
    assert torch.equal(table.tokens("toy/003", 4, 10**6), table.tokens("toy/003")[4:])


def test_another_utterance_cannot_change_the_tokens(store, centroids, tmp_path):
    alone = make_store(tmp_path / "store", n_utterances=5)
    few, many = tokens.tokenise_store(alone, centroids), tokens.tokenise_store(store, centroids)
    assert torch.equal(few.tokens, many.tokens[: len(few.tokens)])


def test_tokens_are_written_small_and_flat(store, table):
    written = np.load(store.folder.parent / "tokens.npy", allow_pickle=False)
    assert written.dtype == np.uint16 and len(written) == store.index["n_frames"].sum()
    assert not list(store.folder.parent.glob("*.partial"))


def test_a_missing_or_wrong_table_is_refused(store, tmp_path):
    with pytest.raises(ValueError, match="run the kmeans stage"):
        tokens.TokenTable(store, tmp_path / "tokens.npy")
    tokens.save_tokens(tmp_path / "tokens.npy", torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="got 3"):
        tokens.TokenTable(store, tmp_path / "tokens.npy")


def test_an_unknown_utterance_is_named(table):
    with pytest.raises(ValueError, match="toy/999"):
        table.tokens("toy/999")


def test_unigram_bits_are_a_probability_and_no_symbol_is_impossible():
    bits = rates.unigram_bits(torch.tensor([0, 0, 1]), 5, 0.5)
    assert float((2**-bits).sum()) == pytest.approx(1)
    assert torch.isfinite(bits).all() and bits[0] < bits[1] < bits[2]


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 5), max_size=30))
def test_deduplicated_tokens_have_no_repetition_and_lose_no_change(values):
    found = rates.deduplicate(torch.tensor(values, dtype=torch.int64))
    assert bool((found[1:] != found[:-1]).all())
    assert len(found) == sum(a != b for a, b in zip([-1, *values], values, strict=False))


def test_rates_are_exact_sums(store, table):
    train, test = utterances_of(store, "train"), store.index[store.index["split"] == "test"]
    config = bpe.BPEConfig(n_vocab=20, n_clusters=N_CLUSTERS)
    tokenizer = bpe.PieceTokenizer(bpe.train([table.tokens(utterance) for utterance in train], config))
    rows = rates.utterance_rates(test, table, tokenizer, rates.fit_unigrams(table, train, tokenizer, 1.0))
    found = rates.summarise(rows, N_CLUSTERS, tokenizer.n_vocab).set_index(["language", "unit"])
    assert found.loc[("all", "raw"), "tokens_per_second"] == 50
    assert found.loc[("all", "raw"), "bits_per_second"] == 50 * 3
    n_pieces = sum(len(tokenizer.encode(table.tokens(utterance))) for utterance in test["utterance"])
    assert found.loc[("all", "bpe"), "tokens_per_second"] == round(n_pieces / (test["n_frames"].sum() / 50), 3)
    for language in ("all", "en", "fr"):
        by_unit = found.loc[language]["tokens_per_second"]
        assert by_unit["bpe"] < by_unit["raw"] and by_unit["deduplicated"] < by_unit["raw"]
        entropy = found.loc[(language, "raw")]
        assert 0 < entropy["entropy_bits_per_second"] < 1.2 * entropy["bits_per_second"]
    assert np.isnan(found.loc[("all", "deduplicated"), "entropy_bits_per_second"])
