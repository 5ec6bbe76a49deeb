"""The three verbs and the release, on a system of tiny random parts."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import vectok
from tests.tiny_system import DIM, N_CLUSTERS, guided_system, make_parts, speech
from vectok import api, audio, release
from vectok.bitstream import systems
from vectok.codebook import load_codebook, save_codebook
from vectok.encoders import load_encoder
from vectok.layout import REPOSITORY, stage_folder
from vectok.tasks import voices

pytestmark = pytest.mark.usefixtures("toy_encoder")


@pytest.mark.parametrize("n_samples", [320, 321, 639, 640, 16_001])
def test_encode_gives_a_token_a_frame(model, n_samples):
    vectors, tokens, pieces = model.encode(speech(n_samples, 1))
    n_frames = -(-n_samples // 320)
    assert vectors.shape == (n_frames, DIM) and tokens.shape == (n_frames,)
    assert int(tokens.max()) < N_CLUSTERS
    assert torch.equal(model.tokenizer.decode(pieces), tokens)


@pytest.mark.parametrize("n_samples", [320, 321, 16_001, 400_000])
def test_convert_is_as_long_as_its_source_and_finite(model, n_samples):
    converted = model.convert(speech(n_samples, 1), speech(32_000, 2))
    assert converted.shape == (n_samples,) and converted.dtype == torch.float32
    assert torch.isfinite(converted).all() and float(converted.abs().max()) <= 1


def test_convert_is_encode_then_decode_and_deterministic(model):
    source, target = speech(16_001, 1), speech(32_000, 2)
    converted = model.convert(source, target)
    assert torch.equal(converted, model.convert(source, target))
    assert torch.equal(converted, model.decode(model.encode(source).tokens, target)[:16_001])
    assert torch.equal(converted, model.convert(source, model.prompt_vectors(target)))
    assert not torch.equal(converted, model.convert(source, speech(32_000, 9)))


def test_a_path_and_its_samples_give_the_same(model, recordings):
    samples = audio.read(recordings / "in" / "a.wav")
    for given in (recordings / "in" / "a.wav", str(recordings / "in" / "a.wav")):
        assert torch.equal(model.encode(given).tokens, model.encode(samples).tokens)
    by_path = model.convert(recordings / "in" / "a.wav", recordings / "target.wav")
    assert torch.equal(by_path, model.convert(samples, audio.read(recordings / "target.wav")))


def test_vectors_decode_without_a_prompt(model):
    vectors = model.encode(speech(16_000, 1)).vectors
    assert model.decode(vectors).shape == (16_000,)
    with pytest.raises(ValueError, match="leave the prompt out"):
        model.decode(vectors, speech(32_000, 2))


def test_decode_says_what_is_wrong(model):
    tokens, prompt = torch.tensor([0, 1, 2]), speech(32_000, 2)
    with pytest.raises(ValueError, match="give a prompt"):
        model.decode(tokens)
    with pytest.raises(ValueError, match="audio goes through encode or convert"):
        model.decode(speech(1000, 1), prompt)
    with pytest.raises(ValueError, match=r"tokens in \[0, 12\)"):
        model.decode(torch.tensor([0, 12]), prompt)
    with pytest.raises(ValueError, match="expected tokens"):
        model.decode(torch.tensor([], dtype=torch.int64), prompt)
    with pytest.raises(ValueError, match=rf"\[frames, {DIM}\]"):
        model.decode(torch.zeros(3, DIM + 1))


def test_guidance_is_a_dial_of_the_trained_model(model):
    guided, source, target = guided_system(model, 0.5), speech(16_001, 1), speech(32_000, 2)
    tokens, prompt, found = model.encode(source).tokens, model.prompt_vectors(target), {}
    own = guided.convert(source, target)
    for weight in (0.0, 1.0, 0.5):
        guided.guidance = weight
        assert guided.guidance == weight
        found[weight] = guided.codec.reconstruct(tokens, prompt)
    assert torch.equal(guided.convert(source, target), own)
    moved = found[0.5] - found[0.0]
    assert float(moved.abs().max()) > 1e-2
    torch.testing.assert_close(found[1.0], found[0.0] + 2 * moved, atol=1e-4, rtol=1e-4)
    for weight in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="0 or more"):
            guided.guidance = weight


def test_guidance_wants_a_model_that_was_trained_with_it(model):
    plain = guided_system(model, 0.0)
    plain.guidance = 0.0
    with pytest.raises(ValueError, match="trained without guidance"):
        plain.guidance = 0.25


def test_bad_audio_has_a_clear_line(model, tmp_path):
    with pytest.raises(ValueError, match="one frame"):
        model.encode(torch.zeros(319))
    with pytest.raises(ValueError, match="NaN"):
        model.encode(torch.full((1000,), torch.nan))
    with pytest.raises(ValueError, match="average the channels"):
        model.encode(torch.zeros(2, 1000))
    with pytest.raises(ValueError, match="average the channels"):
        model.convert(speech(1000, 1), torch.zeros(2, 32_000))
    with pytest.raises(ValueError, match="nothing.wav"):
        model.encode(tmp_path / "nothing.wav")


def test_prompts_are_long_enough_and_not_silent(model):
    assert len(model.prompt_vectors(speech(16_000, 1))) == 50
    with pytest.raises(ValueError, match="at least 1 s, got 0.98 s"):
        model.prompt_vectors(speech(15_680, 1))
    with pytest.raises(ValueError, match="at least 1 s, got 0.2 s"):
        model.prompt_vectors(torch.zeros(10, DIM))
    with pytest.raises(ValueError, match="silent"):
        model.prompt_vectors(torch.zeros(32_000))


def test_the_vectors_of_a_prompt_are_those_of_encode(model):
    prompt = speech(32_000, 2)
    assert torch.equal(model.prompt_vectors(prompt), model.encode(prompt).vectors)


def test_parts_of_different_runs_are_refused(parts, tmp_path):
    from vectok.kmeans import KMeansConfig

    config, own = KMeansConfig(n_clusters=12, n_fit_frames=100), load_codebook(parts.kmeans)
    save_codebook(tmp_path / "kmeans", own._replace(vectors=own.vectors + 1), config)
    with pytest.raises(ValueError, match="another codebook"):
        api.load_parts(parts._replace(kmeans=tmp_path / "kmeans"))
    smaller = own._replace(centroids=torch.zeros(9, DIM), vectors=torch.zeros(9, DIM))
    save_codebook(tmp_path / "kmeans", smaller, config)
    with pytest.raises(ValueError, match="n_clusters of the codec: expected 9, got 12"):
        api.load_parts(parts._replace(kmeans=tmp_path / "kmeans"))


def test_an_unknown_profile_and_a_missing_stage_are_named(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="embedded, paper"):
        vectok.load("embeded")
    with pytest.raises(ValueError, match="SHA256SUMS"):
        vectok.load(tmp_path)
    monkeypatch.setattr("vectok.parts.stage_folder", lambda profile, stage: tmp_path / profile / stage)
    with pytest.raises(ValueError, match="features, kmeans, bpe, codec, vocoder_tuning make: run `make repro`"):
        vectok.load("embedded")


def test_a_release_loads_and_converts_as_its_parts_do(model, packed):
    loaded = vectok.load(packed)
    source, target = speech(16_001, 1), speech(32_000, 2)
    assert torch.equal(loaded.convert(source, target), model.convert(source, target))
    names = {path.relative_to(packed).as_posix() for path in packed.rglob("*") if path.is_file()}
    assert names == {
        "README.md", "SHA256SUMS", "metrics.json", "encoder/config.json", "encoder/statistics.safetensors",
        "kmeans/config.json", "kmeans/codebook.safetensors", "bpe/config.json", "bpe/bpe.model",
        "codec/config.json", "codec/model.safetensors", "vocoder/config.json", "vocoder/model.safetensors",
        "bitstream/config.json", "bitstream/model.safetensors", "voices/config.json", "voices/voices.safetensors",
    }  # fmt: skip
    card = (packed / "README.md").read_text()
    assert "Allison Smith" in card and "consent" in card and "CC BY-SA 3.0" in card and "Apache-2.0" in card
    assert "| bitstream/ |" in card and "| voices/ | 4 pseudo voices" in card and "coder_of(model)" in card
    assert not packed.with_name(packed.name + ".partial").exists()


def test_a_release_without_what_it_can_do_without_says_so(tmp_path, monkeypatch, capsys):
    bare = make_parts(tmp_path / "smoke")
    monkeypatch.setattr(release, "parts_of_profile", lambda profile: bare)
    monkeypatch.setattr(release, "_metrics", lambda profile: {})
    monkeypatch.setattr(release, "_language_folders", lambda profile: {})
    folder = release.pack("smoke", tmp_path / "release")
    said = capsys.readouterr().err
    assert "without the coder of .vtok files" in said and "without voices" in said
    assert not (folder / "bitstream").exists() and not (folder / "voices").exists()
    assert "coder_of" not in (folder / "README.md").read_text()
    loaded = vectok.load(folder)
    with pytest.raises(ValueError, match="no model of pieces in .*bitstream: run the bitstream stage"):
        systems.coder_of(loaded)
    with pytest.raises(ValueError, match="holds no voices"):
        voices.of_home(loaded.home)


def test_a_release_has_the_coder_and_the_voices_of_its_profile(model, packed):
    loaded = vectok.load(packed)
    assert systems.coder_of(loaded).identity == systems.coder_of(model).identity
    published, own = voices.of_home(loaded.home), voices.of_home(model.home)
    assert list(published) == list(own) and len(own) == 4
    assert all(torch.equal(published[name], own[name]) for name in own)
    assert {name.split("~")[0] for name in own} == {"s0", "s1", "s2"} and {len(v) for v in own.values()} == {150}


def test_a_changed_release_is_refused(packed, tmp_path):
    packed = shutil.copytree(packed, tmp_path / "changed")
    with open(packed / "bitstream" / "model.safetensors", "ab") as file:
        file.write(b"more")
    with pytest.raises(ValueError, match="bitstream/model.safetensors: missing or not the published file"):
        vectok.load(packed)
    shutil.rmtree(packed / "bitstream")
    lines = (packed / "SHA256SUMS").read_text().splitlines(keepends=True)
    (packed / "SHA256SUMS").write_text("".join(line for line in lines if "bitstream" not in line))
    assert vectok.load(packed)
    weights = load_file(packed / "codec" / "model.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, packed / "codec" / "model.safetensors")
    with pytest.raises(ValueError, match="codec/model.safetensors: missing or not the published file"):
        vectok.load(packed)
    (packed / "codec" / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="codec/model.safetensors: missing"):
        vectok.load(packed)
    lines = (packed / "SHA256SUMS").read_text().splitlines(keepends=True)
    (packed / "SHA256SUMS").write_text("".join(line for line in lines if "codec/model" not in line))
    with pytest.raises(ValueError, match="does not name codec/model.safetensors"):
        vectok.load(packed)


def test_parameters_are_counted_from_the_header(tmp_path):
    save_file({"a": torch.zeros(3, 4), "b": torch.zeros(5)}, tmp_path / "w.safetensors")
    assert release.n_parameters(tmp_path / "w.safetensors") == 17


@pytest.mark.slow
def test_the_embedded_system_converts_a_sample(monkeypatch):
    monkeypatch.setattr("vectok.features.load_encoder", load_encoder)  # instead of the toy
    if not stage_folder("embedded", "vocoder_tuning").exists():
        pytest.skip("no embedded models here: make repro trains them")
    model = vectok.load("embedded")
    sample = sorted((REPOSITORY / "data" / "sample").rglob("*.g722"))
    longest = sorted(sample, key=lambda path: path.stat().st_size)[-2:]
    source, target = (audio.read(path) for path in longest)
    converted = model.convert(source, target)
    assert converted.shape == source.shape and 0.01 < float(converted.abs().max()) <= 1
    assert json.loads((release.parts_of_profile("embedded").kmeans / "config.json").read_text())["n_clusters"] == 300
