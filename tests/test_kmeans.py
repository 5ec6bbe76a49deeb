"""K-means: assignment, fitting in memory and as a stream, health, codebook files."""

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from tests.synthetic import make_store, utterances_of
from vectok import kmeans
from vectok.kmeans import KMeansConfig

CONFIG = KMeansConfig(n_clusters=8, n_fit_frames=400, seed=3)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("kmeans") / "store")


@pytest.fixture(scope="module")
def train(store):
    return utterances_of(store, "train")


def test_tokens_do_not_change_when_a_constant_is_added_to_an_utterance(store):
    vectors, centroids = store.vectors("toy/000"), torch.randn(8, store.dim, generator=torch.Generator().manual_seed(0))
    shift = torch.linspace(-4, 4, store.dim)
    assert torch.equal(kmeans.assign(vectors, centroids), kmeans.assign(vectors + shift, centroids))
    assert not torch.equal(kmeans.assign(vectors, centroids), kmeans.nearest(vectors, centroids).tokens)


def test_chunks_give_the_same_tokens_as_the_whole(monkeypatch):
    generator = torch.Generator().manual_seed(1)
    vectors, centroids = torch.randn(1000, 6, generator=generator), torch.randn(20, 6, generator=generator)
    whole = kmeans.nearest_centred(vectors, centroids)
    monkeypatch.setattr(kmeans, "CHUNK_FRAMES", 7)
    chunked = kmeans.nearest_centred(vectors, centroids)
    assert torch.equal(whole.tokens, chunked.tokens)
    torch.testing.assert_close(whole.squared_distances, chunked.squared_distances)
    direct = torch.cdist(kmeans.centre(vectors), centroids).square().min(1)
    assert torch.equal(whole.tokens, direct.indices)
    torch.testing.assert_close(whole.squared_distances, direct.values, rtol=1e-3, atol=1e-4)


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(1, 9))
def test_no_other_centroid_is_nearer(seed, n_frames, n_clusters):
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(n_frames, 3, generator=generator, dtype=torch.float64)
    centroids = torch.randn(n_clusters, 3, generator=generator, dtype=torch.float64)
    tokens = kmeans.assign(vectors, centroids)
    distances = torch.cdist(vectors - vectors.mean(0), centroids)
    chosen = distances.gather(1, tokens[:, None])
    assert bool((chosen <= distances + 1e-6).all())


def test_assignment_refuses_an_empty_utterance_and_another_dim(monkeypatch):
    # Outside the tests nobody checks the annotations: the message must come from the function itself.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match="at least one frame"):
        kmeans.assign(torch.zeros(0, 4), torch.zeros(3, 4))
    with pytest.raises(ValueError, match="dim 4 as in the codebook, got 5"):
        kmeans.assign(torch.zeros(2, 5), torch.zeros(3, 4))


def test_a_single_frame_and_a_constant_utterance_have_tokens():
    centroids = torch.tensor([[5.0], [0.1]])
    assert kmeans.assign(torch.tensor([[7.0]]), centroids).tolist() == [1]
    assert kmeans.assign(torch.full((4, 1), -3.0), centroids).tolist() == [1, 1, 1, 1]


def test_the_sample_is_seeded_without_replacement_and_centred_on_whole_utterances(store, train):
    once = torch.cat(list(kmeans.sample_frames(store, train, 100, 0)))
    again = torch.cat(list(kmeans.sample_frames(store, train, 100, 0)))
    other = torch.cat(list(kmeans.sample_frames(store, train, 100, 1)))
    assert len(once) == 100 and torch.equal(once, again) and not torch.equal(once, other)
    assert len(once.unique(dim=0)) == 100
    everything = torch.cat(list(kmeans.sample_frames(store, train, 10**9, 0)))
    expected = torch.cat([kmeans.centre(store.vectors(utterance)) for utterance in train])
    assert torch.equal(everything.sort(0).values, expected.sort(0).values)


def test_it_agrees_with_scikit_learn(store, train):
    fit = kmeans.fit(store, train, CONFIG)
    frames = torch.cat(list(kmeans.sample_frames(store, train, CONFIG.n_fit_frames, CONFIG.seed))).numpy()
    with threadpool_limits(1):
        reference = KMeans(8, n_init=1, max_iter=100, tol=1e-4, random_state=3).fit(frames)
    np.testing.assert_array_equal(fit.centroids.numpy(), reference.cluster_centers_)
    tokens = kmeans.nearest(torch.from_numpy(frames), fit.centroids)
    np.testing.assert_array_equal(tokens.tokens.numpy(), reference.predict(frames))
    assert fit.inertia_per_frame == pytest.approx(reference.inertia_ / len(frames), rel=1e-6)
    assert float(tokens.squared_distances.mean()) == pytest.approx(fit.inertia_per_frame, rel=1e-3)


def test_inertia_never_rises_with_the_iterations(store, train):
    def inertia(n_iterations):
        config = KMeansConfig(n_clusters=8, n_fit_frames=400, n_iterations=n_iterations, tolerance=0.0, seed=3)
        frames = torch.cat(list(kmeans.sample_frames(store, train, 400, 3)))
        # scikit-learn warns when an iteration limit stops it early: here that is the point.
        return kmeans.fit_in_memory(frames, config).inertia_per_frame

    found = [inertia(n) for n in (1, 2, 3, 5, 20)]
    assert all(later <= earlier + 1e-6 for earlier, later in zip(found, found[1:], strict=False)), found
    assert found[-1] < found[0]


def test_fitting_twice_gives_the_same_bits(store, train):
    streamed = KMeansConfig(n_clusters=8, n_fit_frames=400, n_iterations=3, max_frames_in_memory=64, seed=3)
    for config in (CONFIG, streamed):
        assert torch.equal(kmeans.fit(store, train, config).centroids, kmeans.fit(store, train, config).centroids)


def test_the_stream_is_nearly_as_good_as_memory(store, train):
    streamed = KMeansConfig(n_clusters=8, n_fit_frames=400, n_iterations=10, max_frames_in_memory=64, seed=3)
    fit = kmeans.fit(store, train, streamed)
    frames = torch.cat(list(kmeans.sample_frames(store, train, 400, 3)))
    best = kmeans.fit_in_memory(frames, CONFIG).inertia_per_frame
    spread = float(frames.var(0).sum())
    assert best <= fit.inertia_per_frame * 1.001
    assert fit.inertia_per_frame < 0.35 * spread, (fit.inertia_per_frame, spread)


def test_the_stream_holds_no_more_than_it_may(store, train):
    stretches = kmeans.sample_frames(store, train, 10**9, 0)
    sizes = [len(batch) for batch in kmeans._batches(stretches, 50)]
    assert set(sizes[:-1]) == {50} and 0 < sizes[-1] <= 50
    assert sum(sizes) == sum(store.n_frames(utterance) for utterance in train)


def test_fitting_says_what_is_missing(store, train):
    with pytest.raises(ValueError, match="train utterances, got none"):
        kmeans.fit(store, [], CONFIG)
    with pytest.raises(ValueError, match="at least 8 frames"):
        kmeans.fit(store, train, KMeansConfig(n_clusters=8, n_fit_frames=7))
    with pytest.raises(ValueError, match="max_frames_in_memory"):
        kmeans.fit(store, train, KMeansConfig(n_clusters=8, n_fit_frames=70, max_frames_in_memory=5))


def test_health_of_a_uniform_and_of_a_dead_codebook():
    uniform = kmeans.health(torch.arange(16).repeat(5), 16)
    assert uniform["entropy_bits"] == 4 and uniform["perplexity"] == 16 and uniform["n_dead"] == 0
    dead = kmeans.health(torch.zeros(10, dtype=torch.int64), 4)
    assert dead["n_dead"] == 3 and dead["use"] == 0.25 and dead["perplexity"] == 1 and dead["largest_share"] == 1


def test_health_by_language_counts_every_frame_once():
    import pandas as pd

    index = pd.DataFrame({"language": ["en", "fr", "en"], "n_frames": [2, 3, 1], "squared_distance": [2.0, 9.0, 4.0]})
    found = kmeans.health_by_language(index, torch.tensor([0, 0, 1, 1, 1, 1]), 2).set_index("language")
    assert found["n_frames"].to_dict() == {"all": 6, "en": 3, "fr": 3}
    assert found["n_dead"].to_dict() == {"all": 0, "en": 0, "fr": 1}
    assert found["inertia_per_frame"].to_dict() == {"all": 2.5, "en": 2.0, "fr": 3.0}
