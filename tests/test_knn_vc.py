"""kNN-VC against brute force."""

import jaxtyping
import pytest
import torch

from vectok import knn_vc


@pytest.mark.parametrize("k", [1, 4, 8, 16])
def test_equals_brute_force(k):
    source, pool = torch.randn(40, 12), torch.randn(60, 12)
    converted = knn_vc.convert(source, pool, k)
    for frame, vector in zip(source, converted, strict=True):
        cosines = torch.stack([torch.dot(frame, p) / (frame.norm() * p.norm()) for p in pool])
        nearest = sorted(range(60), key=lambda j: -cosines[j])[:k]
        torch.testing.assert_close(vector, torch.stack([pool[j] for j in nearest]).mean(0))


def test_chunks_change_nothing(monkeypatch):
    source, pool = torch.randn(50, 8), torch.randn(30, 8)
    whole = knn_vc.convert(source, pool, 4)
    monkeypatch.setattr(knn_vc, "_CHUNK_FRAMES", 7)
    torch.testing.assert_close(knn_vc.convert(source, pool, 4), whole)


def test_an_utterance_among_its_own_pool_is_itself():
    source = torch.randn(20, 8)
    torch.testing.assert_close(knn_vc.convert(source, torch.cat([torch.randn(5, 8), source]), 1), source)


def test_loudness_of_the_source_does_not_matter():
    source, pool = torch.randn(20, 8), torch.randn(30, 8)
    torch.testing.assert_close(knn_vc.convert(3 * source, pool, 4), knn_vc.convert(source, pool, 4))


@pytest.mark.parametrize(
    ("source", "pool", "k"), [((5, 8), (3, 8), 4), ((5, 8), (9, 7), 4), ((0, 8), (9, 8), 4), ((5, 8), (9, 8), 0)]
)
def test_bad_input_is_named(source, pool, k):
    with pytest.raises((ValueError, jaxtyping.TypeCheckError), match="(?i)expected"):
        knn_vc.convert(torch.randn(source), torch.randn(pool), k)


def test_batched_averages_are_those_of_each_pool_alone():
    sources, lengths = torch.randn(12, 6), (9, 4, 3, 1)
    pools = torch.full((4, 9, 6), torch.nan)
    mask = torch.arange(9) < torch.tensor(lengths)[:, None]
    pools[mask] = torch.randn(sum(lengths), 6)
    found = knn_vc.averages(sources, pools, mask)
    for row, length in enumerate(lengths):
        expected = knn_vc.convert(sources, pools[row, :length], min(4, length))
        torch.testing.assert_close(found[row], expected)


def test_a_pool_without_frames_averages_to_zero():
    mask = torch.tensor([[True, True, False], [False, False, False]])
    found = knn_vc.averages(torch.randn(4, 2), torch.randn(2, 3, 2), mask)
    assert torch.equal(found[1], torch.zeros(4, 2)) and torch.isfinite(found).all() and found[0].any()
