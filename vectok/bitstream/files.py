"""Whole .vtok files: tokens to bytes, bytes to tokens, and where the bytes go."""

import os
from pathlib import Path
from typing import NamedTuple

from vectok.bitstream.coder import Coder
from vectok.bitstream.errors import VtokError
from vectok.bitstream.format import MAX_PIECES
from vectok.bitstream.stream import Content, Reader, Writer
from vectok.frames import frames_of_samples, frames_of_seconds, seconds_of_frames

SUFFIX = ".vtok"
CHUNK_SECONDS = 10.0


class Sizes(NamedTuple):
    """Bytes of a file: range-coded speech, the prompt's chunk, and all else (header, heads of chunks, checksums)."""

    payload: int
    prompt: int
    overhead: int


def pack(coder: Coder, content: Content, chunk_seconds: float = CHUNK_SECONDS) -> bytes:
    """The bytes of a file: the same content always gives the same bytes.

    Arguments:
        coder: Of the system that made the tokens.
        content: Tokens, samples, language and prompt.
        chunk_seconds: Of speech in a chunk, 82 at most.
    Raises:
        ValueError: No tokens, tokens outside the codebook, or a number of samples that does not fit them.
    """
    if not len(content.tokens) or frames_of_samples(content.n_samples) != len(content.tokens):
        raise ValueError(
            f"expected a token for each 320 samples, got {len(content.tokens)} tokens and {content.n_samples} samples: "
            "give the recording's own number of samples"
        )
    n_frames = frames_of_seconds(chunk_seconds)
    if not 1 <= n_frames <= MAX_PIECES:
        longest = seconds_of_frames(MAX_PIECES)
        raise ValueError(f"expected chunks of 0.02 to {longest:g} s, got {chunk_seconds:g} s: choose within that")
    writer = Writer(coder, content.language, content.prompt, content.n_samples)
    stretches = content.tokens.split(n_frames)
    chunks = (writer.add(part, number == len(stretches)) for number, part in enumerate(stretches, 1))
    return b"".join([writer.start(), *chunks])


def unpack(coder: Coder, data: bytes) -> Content:
    """Inverse of :func:`pack`.

    Raises:
        VtokError: The bytes are no whole, undamaged file of this system and version; the reason is named.
    """
    reader = Reader(coder)
    return reader.finish(reader.feed(data))


def sizes(coder: Coder, data: bytes) -> Sizes:
    """Where the bytes of a file go.

    Raises:
        VtokError: As :func:`unpack`.
    """
    reader = Reader(coder)
    reader.finish(reader.feed(data))
    return Sizes(reader.n_payload, reader.n_prompt, len(data) - reader.n_payload - reader.n_prompt)


def write(path: Path | str, coder: Coder, content: Content) -> None:
    """Writes a file, which appears whole or not at all.

    Raises:
        ValueError: As :func:`pack`.
    """
    write_bytes(Path(path), pack(coder, content))


def write_bytes(path: Path, data: bytes) -> None:
    """Writes bytes beside their place, then moves them there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read(path: Path | str, coder: Coder) -> Content:
    """Reads a file.

    Raises:
        VtokError: There is none, or :func:`unpack` refuses it; the file is named.
    """
    try:
        return unpack(coder, Path(path).read_bytes())
    except OSError as error:
        raise VtokError(f"{path}: cannot be read ({error.strerror}): check the path") from error
    except VtokError as error:
        raise VtokError(f"{path}: {error}") from None
