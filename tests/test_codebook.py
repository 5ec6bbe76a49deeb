"""The codebook and the layer that tokens are read off: files, mean vectors, two layers in one run."""

import json

import pytest
import torch

from tests.synthetic import plain_codebook, utterances_of
from tests.tiny_system import LAYER, TOKEN_LAYER, ToyEncoder, make_parts, speech, toy_encoders
from vectok import api, codebook, kmeans
from vectok.features import Vectoriser, fit_statistics
from vectok.store import Item, StoreWriter

CONFIG = kmeans.KMeansConfig(n_clusters=8, n_fit_frames=100)


def vectoriser_of(layer):
    encoder = ToyEncoder()
    return Vectoriser(encoder, layer, fit_statistics(encoder, [layer], [speech(32_000, 0)])[0])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Utterances out of the order of their lengths, two of them training."""
    writer, vectoriser = StoreWriter(tmp_path_factory.mktemp("layers") / "store", 16), vectoriser_of(LAYER)
    audios = {name: speech(n_samples, n_samples) for name, n_samples in (("b", 9_000), ("c", 3_201), ("a", 6_400))}
    items = [
        Item(utterance=name, vectors=vectoriser.vectorise(audio), audio=audio,
             metadata={"split": "train" if name in "bc" else "dev", "seconds": len(audio) / 16_000, "speaker": "007"})
        for name, audio in audios.items()
    ]  # fmt: skip
    writer.write(0, items)
    return writer.close(1)


def test_the_codebook_comes_back_and_a_changed_one_is_refused(tmp_path):
    made = plain_codebook(torch.randn(8, 5, generator=torch.Generator().manual_seed(0)), layer=4)
    codebook.save_codebook(tmp_path / "kmeans", made, CONFIG)
    again = codebook.load_codebook(tmp_path / "kmeans")
    assert (
        again.layer == 4 and torch.equal(again.centroids, made.centroids) and torch.equal(again.vectors, made.vectors)
    )
    assert all(map(torch.equal, again.statistics, made.statistics))
    config = json.loads((tmp_path / "kmeans" / "config.json").read_text())
    assert config["n_clusters"] == 8 and config["dim"] == 5 and config["sha256"] == codebook.content_hash(made)
    codebook.save_codebook(tmp_path / "other", made._replace(vectors=made.vectors + 1), CONFIG)
    (tmp_path / "other" / "codebook.safetensors").rename(tmp_path / "kmeans" / "codebook.safetensors")
    with pytest.raises(ValueError, match="expected a codebook of hash"):
        codebook.load_codebook(tmp_path / "kmeans")
    with pytest.raises(ValueError, match="run the kmeans stage"):
        codebook.load_codebook(tmp_path / "nothing")


def test_whatever_changes_a_token_or_its_sound_changes_the_hash():
    made = plain_codebook(torch.ones(3, 2))
    wider = made.statistics._replace(std=torch.full((2,), 2.0))
    moved = {"layer": 2, "centroids": made.centroids + 1, "vectors": made.vectors - 1, "statistics": wider}
    others = [made._replace(**{name: value}) for name, value in moved.items()]
    assert len({codebook.content_hash(each) for each in (made, *others)}) == 5


def test_mean_vectors_are_means_of_what_each_token_covers(store):
    names = utterances_of(store, "train")
    tokens = [torch.arange(store.n_frames(name)) % 3 for name in names]
    found = codebook.mean_vectors(store, names, tokens, 4)
    centred, said = torch.cat([kmeans.centre(store.vectors(name)) for name in names]), torch.cat(tokens)
    for token in range(3):
        torch.testing.assert_close(found[token], centred[said == token].mean(0))
    assert torch.equal(found[3], torch.zeros(16)), "a token that never occurs is the centre"


def test_mean_vectors_of_converged_kmeans_are_its_centroids(store):
    names = utterances_of(store, "train")
    frames = torch.cat([kmeans.centre(store.vectors(name)) for name in names])
    config = kmeans.KMeansConfig(n_clusters=4, n_fit_frames=100, tolerance=0.0)
    centroids = kmeans.fit_in_memory(frames.clone(), config).centroids
    tokens = [kmeans.assign(store.vectors(name), centroids) for name in names]
    torch.testing.assert_close(codebook.mean_vectors(store, names, tokens, 4), centroids, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("n_samples", [320, 321, 16_001, 700_000])
def test_one_run_gives_what_two_runs_give(n_samples):
    vectoriser, reader, audio = vectoriser_of(LAYER), vectoriser_of(TOKEN_LAYER), speech(n_samples, 1)
    vectors, frames = codebook.read_both(vectoriser, reader, audio)
    torch.testing.assert_close(vectors, vectoriser.vectorise(audio))
    torch.testing.assert_close(frames, reader.vectorise(audio))


def test_the_systems_tokens_are_of_the_token_layer_and_its_vectors_of_the_other(tmp_path):
    parts = make_parts(tmp_path)
    with toy_encoders():
        model = api.load_parts(parts)
    audio, found = speech(16_000, 5), codebook.load_codebook(parts.kmeans)
    encoding = model.encode(audio)
    frames = found.reader(ToyEncoder()).vectorise(audio)
    assert torch.equal(encoding.tokens, kmeans.assign(frames, found.centroids))
    assert not torch.equal(encoding.tokens, kmeans.assign(encoding.vectors, found.centroids))
    torch.testing.assert_close(encoding.vectors, model.vectoriser.vectorise(audio))
    prompt = speech(32_000, 6)
    expected = model.decode(encoding.tokens, prompt)
    assert torch.equal(model.convert(audio, prompt), expected), "convert reads the same tokens as encode"
