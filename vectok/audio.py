"""Reads any recording as 16 kHz mono samples, and writes 16-bit files.

Inside the project audio is a float32 tensor in [-1, 1] at 16,000 samples per second. WAV, FLAC and OGG go through
libsndfile, everything else through ffmpeg (PyAV); ``.als`` is headerless unsigned 8-bit at 11,025 Hz, as the game
Drascula keeps its voices. Whatever cannot be used is an :class:`AudioError` of one line: the file, what is wrong, what
to do.
"""

import math
import os
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vectok.frames import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

LONGEST_SECONDS = 1800.0
RAW_SUFFIX, RAW_RATE_HZ = ".als", 11_025
WRITERS = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}
CLIPPED_LEVEL = 0.999


class AudioError(ValueError):
    """A recording that cannot be used: names the file, the fault and the remedy."""


class Recording(NamedTuple):
    """Samples as the file has them: [samples, channels] float32 at the file's own rate."""

    samples: np.ndarray
    rate_hz: int


def read(path: Path | str, start_seconds: float = 0.0, end_seconds: float | None = None) -> Float[Tensor, " samples"]:
    """Reads a recording, or a stretch of it, as 16 kHz mono.

    Channels are averaged; other rates are resampled (soxr, HQ).

    Arguments:
        path: Any audio file.
        start_seconds: Where to begin.
        end_seconds: Where to stop; the end of the file when it is not given.
    Returns: float32 in [-1, 1], at least one frame (320 samples) long.
    Raises:
        AudioError: No file, no audio, a truncated file, NaN, less than one frame, or longer than half an hour.
    Example:
        >>> read("data/sample/asterisk/en/vm-whichbox.g722").dtype
        torch.float32
    """
    path = Path(path)
    return to_mono(decode(path, start_seconds, end_seconds), path)


def to_mono(recording: Recording, path: Path) -> Float[Tensor, " samples"]:
    """Averages the channels, resamples to 16 kHz, and refuses what no encoder can use.

    Arguments:
        recording: What :func:`decode` gave.
        path: The file it came from, for the error.
    Raises:
        AudioError: NaN, or less than one frame.
    """
    import soxr

    samples = recording.samples.mean(axis=1, dtype=np.float32)
    if not np.isfinite(samples).all():
        raise AudioError(f"{path}: holds NaN or infinite samples: export it again or remove it")
    if recording.rate_hz != SAMPLE_RATE_HZ:
        samples = soxr.resample(samples, recording.rate_hz, SAMPLE_RATE_HZ)
    if len(samples) < SAMPLES_PER_FRAME:
        raise AudioError(f"{path}: {len(samples)} samples are less than one frame of 320: remove it or record longer")
    return torch.from_numpy(np.clip(samples, -1.0, 1.0).astype(np.float32))


def decode(path: Path, start_seconds: float = 0.0, end_seconds: float | None = None) -> Recording:
    """Decodes a file, or a stretch of it, at its own rate and with its own channels.

    Raises:
        AudioError: As :func:`read`, but for NaN and short files.
    """
    if not path.is_file():
        raise AudioError(f"{path}: no such file: check the path")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: is empty (0 bytes): remove it or fetch it again")
    suffix = path.suffix.lower()
    if suffix == RAW_SUFFIX:
        return _cut(_decode_raw(path), start_seconds, end_seconds)
    if suffix in {".wav", ".flac", ".ogg", ".aif", ".aiff"}:
        return _decode_soundfile(path, start_seconds, end_seconds)
    return _decode_av(path, start_seconds, end_seconds)


def write(path: Path | str, audio: Float[Tensor, " samples"]) -> None:
    """Writes 16 kHz audio as 16-bit WAV or FLAC or as Vorbis, by suffix; the file appears whole or not at all.

    Raises:
        AudioError: An unknown suffix, NaN, or audio that is not one row of samples.
    """
    import soundfile

    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise AudioError(f"{path}: cannot write {path.suffix!r}: use one of {', '.join(WRITERS)}")
    if audio.dim() != 1 or len(audio) == 0 or not bool(torch.isfinite(audio).all()):
        raise AudioError(f"{path}: expected finite samples of shape [samples], got {tuple(audio.shape)}: not written")
    container, subtype = WRITERS[path.suffix.lower()]
    samples = audio.detach().to("cpu", torch.float32).clamp(-1, 1).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with soundfile.SoundFile(partial, "w", SAMPLE_RATE_HZ, 1, subtype, format=container) as file:
            # Vorbis overflows libsndfile's stack when it gets minutes at once.
            for start in range(0, len(samples), SAMPLE_RATE_HZ):
                file.write(samples[start : start + SAMPLE_RATE_HZ])
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def clipped_fraction(audio: Float[Tensor, " samples"]) -> float:
    """Fraction of samples at full scale; above 0.001 a recording is audibly clipped.

    Example:
        >>> clipped_fraction(torch.tensor([0.0, 1.0, -1.0, 0.5]))
        0.5
    """
    return float((audio.abs() >= CLIPPED_LEVEL).float().mean())


def _cut(recording: Recording, start_seconds: float, end_seconds: float | None) -> Recording:
    """A stretch of what was decoded whole."""
    stop = None if end_seconds is None else round(end_seconds * recording.rate_hz)
    return Recording(recording.samples[round(start_seconds * recording.rate_hz) : stop], recording.rate_hz)


def _decode_raw(path: Path) -> Recording:
    """Headerless unsigned 8-bit mono: (x - 128) / 128."""
    _refuse_longer(path, path.stat().st_size / RAW_RATE_HZ)
    data = np.frombuffer(path.read_bytes(), np.uint8)
    return Recording(((data.astype(np.float32) - 128.0) / 128.0)[:, None], RAW_RATE_HZ)


def _decode_soundfile(path: Path, start_seconds: float, end_seconds: float | None) -> Recording:
    import soundfile

    _refuse_short_riff(path)
    try:
        with soundfile.SoundFile(path) as file:
            start = min(round(start_seconds * file.samplerate), file.frames)
            stop = file.frames if end_seconds is None else min(round(end_seconds * file.samplerate), file.frames)
            _refuse_longer(path, (stop - start) / file.samplerate)
            file.seek(start)
            samples = file.read(stop - start, dtype="float32", always_2d=True)
            rate_hz = file.samplerate
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise AudioError(f"{path}: cannot be read as audio ({error}): fetch it again or remove it") from None
    if len(samples) < stop - start:
        raise AudioError(f"{path}: is truncated, {len(samples)} of {stop - start} samples: fetch it again")
    return Recording(samples, rate_hz)


def _refuse_short_riff(path: Path) -> None:
    """A WAV file names its own length, and libsndfile reads a shorter one without a word."""
    with open(path, "rb") as file:
        header = file.read(12)
    if len(header) < 12 or header[:4] != b"RIFF":
        return
    (stated,) = struct.unpack("<I", header[4:8])
    present = path.stat().st_size - 8
    # 0 and 2^32 - 1 (or close to it) mean that a stream had no length to name.
    if stated < 0xFFFFFF00 and stated > present + 1:
        raise AudioError(f"{path}: is truncated, {present} of {stated} bytes: fetch it again")


def _decode_av(path: Path, start_seconds: float, end_seconds: float | None) -> Recording:
    import av

    name = "g722" if path.suffix.lower() == ".g722" else None  # G.722 has no header to know it by
    try:
        with av.open(str(path), format=name) as container:
            if not container.streams.audio:
                raise AudioError(f"{path}: holds no audio: remove it or name an audio file")
            return _decode_stream(path, container, start_seconds, end_seconds)
    except (av.FFmpegError, OSError) as error:
        raise AudioError(f"{path}: cannot be read as audio ({error}): fetch it again or remove it") from None


def _decode_stream(path: Path, container: object, start_seconds: float, end_seconds: float | None) -> Recording:
    """The first audio stream of an open container; what lies before the start is decoded and dropped."""
    import av

    stream = container.streams.audio[0]
    resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)  # only the sample format
    start = round(start_seconds * stream.rate)
    stop = math.inf if end_seconds is None else round(end_seconds * stream.rate)
    blocks, first, position = [], 0, 0
    for frame in container.decode(stream):
        position += frame.samples
        if position <= start:
            first = position
            continue
        blocks += [block.to_ndarray() for block in resampler.resample(frame)]
        _refuse_longer(path, (position - first) / stream.rate)
        if position >= stop:
            break
    if not blocks:
        raise AudioError(f"{path}: holds no samples there: check the stretch, or remove the file")
    samples = np.concatenate(blocks, axis=1).T[start - first :]
    return Recording(samples if end_seconds is None else samples[: stop - start], stream.rate)


def _refuse_longer(path: Path, seconds: float) -> None:
    """Keeps an hours-long file from filling the memory."""
    if seconds > LONGEST_SECONDS:
        raise AudioError(
            f"{path}: {seconds / 3600:.1f} h is longer than {LONGEST_SECONDS / 60:.0f} min: "
            "cut it into files, or read it in stretches with start_seconds and end_seconds"
        )
