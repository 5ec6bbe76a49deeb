"""Reading and writing audio: every format, every kind of broken file."""

import struct

import numpy as np
import pytest
import soundfile
import torch

from vectok import audio
from vectok.layout import SAMPLE

SECOND = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000).astype(np.float32) / 2


def tone(rate_hz: int, hz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(rate_hz) / rate_hz)).astype(np.float32)


def test_round_trip_of_every_suffix(tmp_path):
    for suffix, tolerance in ((".wav", 1e-4), (".flac", 1e-4), (".ogg", 0.1)):
        path = tmp_path / f"tone{suffix}"
        audio.write(path, torch.from_numpy(SECOND))
        again = audio.read(path)
        assert len(again) == 16_000
        assert (again - torch.from_numpy(SECOND)).abs().max() < tolerance
    assert [path for path in tmp_path.iterdir() if "partial" in path.name] == []


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 44_100, 48_000])
def test_other_rates_become_16_khz(tmp_path, rate_hz):
    soundfile.write(tmp_path / "a.wav", tone(rate_hz), rate_hz)
    again = audio.read(tmp_path / "a.wav")
    assert abs(len(again) - 16_000) <= 1
    middle = slice(1_000, 15_000)
    assert (again[middle] - torch.from_numpy(SECOND)[middle]).abs().max() < 0.01


def test_stereo_becomes_the_mean_of_its_channels(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([SECOND, np.zeros_like(SECOND)], axis=1), 16_000)
    assert (audio.read(tmp_path / "a.wav") - torch.from_numpy(SECOND) / 2).abs().max() < 1e-3


def test_a_stretch_is_the_same_as_a_cut(tmp_path):
    audio.write(tmp_path / "a.wav", torch.from_numpy(SECOND))
    whole = audio.read(tmp_path / "a.wav")
    assert torch.equal(audio.read(tmp_path / "a.wav", 0.25, 0.75), whole[4_000:12_000])
    prompt = SAMPLE / "asterisk" / "en" / "vm-whichbox.g722"
    assert torch.equal(audio.read(prompt, 0.5, 1.5), audio.read(prompt)[8_000:24_000])


def test_g722_has_two_samples_a_byte():
    path = SAMPLE / "asterisk" / "fr" / "vm-whichbox.g722"
    assert abs(len(audio.read(path)) - 2 * path.stat().st_size) <= 64


def test_raw_eight_bits(tmp_path):
    (tmp_path / "VB1.ALS").write_bytes(bytes([128] * 11_025))
    silence = audio.read(tmp_path / "VB1.ALS")
    assert abs(len(silence) - 16_000) <= 1
    assert silence.abs().max() == 0
    (tmp_path / "VB2.als").write_bytes(bytes([0, 255] * 5_000))
    assert audio.decode(tmp_path / "VB2.als").samples[:2, 0].tolist() == [-1.0, 127 / 128]


def bad_files(folder) -> dict[str, object]:
    """A file of each kind that cannot be used, and what its error must say."""
    audio.write(folder / "whole.wav", torch.from_numpy(SECOND))
    audio.write(folder / "whole.flac", torch.from_numpy(SECOND))
    (folder / "empty.wav").touch()
    soundfile.write(folder / "zero.wav", np.zeros(0, np.float32), 16_000)
    soundfile.write(folder / "short.wav", SECOND[:319], 16_000)
    soundfile.write(folder / "nan.wav", np.where(np.arange(16_000) == 5, np.nan, SECOND), 16_000, "FLOAT")
    (folder / "truncated.wav").write_bytes((folder / "whole.wav").read_bytes()[:9_000])
    (folder / "truncated.flac").write_bytes((folder / "whole.flac").read_bytes()[:4_000])
    (folder / "text.wav").write_text("this is no audio\n" * 100)
    (folder / "text.mp3").write_text("neither is this\n" * 100)
    (folder / "header.wav").write_bytes(b"RIFF" + struct.pack("<I", 4) + b"WAVE")
    (folder / "folder.wav").mkdir()
    return {
        "missing.wav": "no such file",
        "folder.wav": "no such file",
        "empty.wav": "is empty",
        "zero.wav": "less than one frame",
        "short.wav": "319 samples are less than one frame",
        "nan.wav": "NaN",
        "truncated.wav": "truncated",
        "truncated.flac": "truncated|cannot be read",
        "text.wav": "cannot be read as audio",
        "text.mp3": "cannot be read as audio|holds no audio",
        "header.wav": "cannot be read as audio",
    }


def test_every_bad_file_has_one_clear_line(tmp_path):
    for name, says in bad_files(tmp_path).items():
        with pytest.raises(audio.AudioError, match=says) as error:
            audio.read(tmp_path / name)
        assert str(tmp_path / name) in str(error.value), "the file must be named"
        assert "\n" not in str(error.value)
        assert ":" in str(error.value).split(name)[1], "the remedy must be named"


def test_hours_are_refused_but_their_stretches_are_read(tmp_path):
    path = tmp_path / "long.als"
    path.write_bytes(b"\x80" * 11_025 * 1_801)
    with pytest.raises(audio.AudioError, match="longer than 30 min"):
        audio.read(path)
    path = tmp_path / "long.g722"
    path.write_bytes(bytes(range(256)) * 32 * 1_810)  # of 8,192 bytes a second, above 1,800 seconds
    with pytest.raises(audio.AudioError, match="longer than 30 min"):
        audio.read(path)
    assert len(audio.read(path, 1_820.0, 1_821.0)) == 16_000


def test_writing_refuses_what_is_no_audio_and_leaves_nothing(tmp_path):
    for name, samples, says in (
        ("a.mp3", torch.zeros(16_000), "cannot write"),
        ("a.wav", torch.full((16_000,), torch.nan), "finite samples"),
        ("a.wav", torch.zeros(0), "finite samples"),
    ):
        with pytest.raises(audio.AudioError, match=says):
            audio.write(tmp_path / name, samples)
    assert list(tmp_path.iterdir()) == []


def test_clipping_is_counted():
    assert audio.clipped_fraction(torch.tensor([1.0, -1.0, 0.0, 0.9])) == 0.5
