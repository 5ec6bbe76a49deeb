"""The bytes of a .vtok file: a header and chunks, each with its checksum.

==========  ==========  ================================================================================
header      4 bytes     ``VTOK``
            1           version
            4, 1        first bytes of the encoder's SHA-256, its layer
            4, 4, 4     first bytes of the SHA-256 of codebook, BPE pieces and model of pieces
            4           samples of the recording at 16 kHz; 0 while a stream does not know yet
            1, n        length of the language's code, and the code
            4           CRC-32 of all that
chunk       1           1 = speech, 2 = prompt; 128 is added to the last one's
            1 to 3      number of pieces, seven bits a byte, the lowest first
            1 to 3      number of levels of a prompt's mean, in the same way: 0 in chunks of speech
            1 to 3      bytes of the payload, in the same way
            n           payload
            2           CRC-16 (CCITT) of the tokens, two bytes each
            4           CRC-32 of the chunk so far, begun with the CRC-32 of what stands before the chunk
==========  ==========  ================================================================================

All numbers are little-endian, but for the words of the payload. Since every checksum begins with the one before, no
chunk can be taken out, doubled or moved.
"""

import binascii
import re
import struct
import zlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from vectok.bitstream.errors import VtokError
from vectok.frames import frames_of_samples

MAGIC, VERSION = b"VTOK", 1
SPEECH, PROMPT, LAST = 1, 2, 128
MAX_PIECES = 4096  # of a chunk: what a damaged number can make a reader do
MAX_LEVELS = 8192
MAX_PAYLOAD = 32_768  # bytes: more than 4096 pieces and 8192 levels can take
MAX_SAMPLES = 2**32 - 1
_FIXED = struct.Struct("<4sB4sB4s4s4sIB")
_CODE = re.compile(rb"([a-z]{2,3}(-[a-z0-9]{2,8})?)?")
HASHED = {"encoder": "encoder", "layer": "layer of the encoder", "codebook": "codebook", "bpe": "BPE model",
          "model": "model of pieces"}  # fmt: skip


class Identity(NamedTuple):
    """What a file's tokens belong to: the first four bytes of each SHA-256, and the layer."""

    encoder: bytes
    layer: int
    codebook: bytes
    bpe: bytes
    model: bytes


class Header(NamedTuple):
    """What stands before the chunks. ``n_samples`` is 0 when a stream did not know it; ``language`` "" when unknown."""

    identity: Identity
    n_samples: int
    language: str

    @property
    def n_frames(self) -> int:
        """Frames of the recording, 0 when unknown."""
        return frames_of_samples(self.n_samples)


class Chunk(NamedTuple):
    """One chunk as it stands in the file, its checksum seen to be right."""

    is_prompt: bool
    is_last: bool
    n_pieces: int
    n_levels: int
    payload: bytes
    token_check: int


class Read(NamedTuple):
    """Something read: itself, where the next one begins, and the checksum that the next one starts from."""

    value: Header | Chunk
    end: int
    checksum: int


def write_header(header: Header) -> bytes:
    """Bytes of a header.

    Raises:
        ValueError: More samples than 32 bits hold, or a language that is no code such as "en" or "pt-br".
    """
    code = header.language.encode("ascii", "replace")
    if not 0 <= header.n_samples <= MAX_SAMPLES or not _CODE.fullmatch(code):
        raise ValueError(
            f"expected at most {MAX_SAMPLES} samples and a language code such as en, or an empty one, got "
            f"{header.n_samples} and {header.language!r}: cut the recording, or leave the language out"
        )
    i = header.identity
    fixed = _FIXED.pack(MAGIC, VERSION, i.encoder, i.layer, i.codebook, i.bpe, i.model, header.n_samples, len(code))
    return fixed + code + struct.pack("<I", zlib.crc32(fixed + code))


def read_header(data: bytes) -> Read | None:
    """The header at the start of some bytes, None when they end inside it.

    Raises:
        VtokError: It is no .vtok file, of another version, or damaged.
    """
    if data[:4] != MAGIC[: len(data)]:
        raise VtokError(f"expected a .vtok file, got one that begins with {data[:4]!r}: write it with `vectok encode`")
    if len(data) > 4 and data[4] != VERSION:
        raise VtokError(f"expected .vtok version {VERSION}, got {data[4]}: use the vectok that wrote it")
    if len(data) < _FIXED.size:
        return None
    _, _, encoder, layer, codebook, bpe, model, n_samples, n_code = _FIXED.unpack_from(data)
    end = _FIXED.size + n_code + 4
    if len(data) < end:
        return None
    checksum = _checked(data[: end - 4], data[end - 4 : end], 0, "the header")
    code = data[_FIXED.size : end - 4]
    if not _CODE.fullmatch(code):
        raise VtokError(f"expected a language code such as en, got {code!r}: the file was not written by vectok")
    return Read(Header(Identity(encoder, layer, codebook, bpe, model), n_samples, code.decode()), end, checksum)


def _checked(content: bytes, stated: bytes, start: int, name: str) -> int:
    """CRC-32 of some bytes, when it is the stated one."""
    checksum = zlib.crc32(content, start)
    if checksum != int.from_bytes(stated, "little"):
        raise VtokError(f"{name} does not have the checksum that the file states: it is damaged, fetch it again")
    return checksum


def write_chunk(chunk: Chunk, checksum: int) -> bytes:
    """Bytes of a chunk.

    Arguments:
        chunk: What it holds.
        checksum: The last four bytes of what stands before it, as a number.
    """
    kind = (PROMPT if chunk.is_prompt else SPEECH) + LAST * chunk.is_last
    numbers = (chunk.n_pieces, chunk.n_levels, len(chunk.payload))
    content = bytes([kind]) + b"".join(map(_varint, numbers)) + chunk.payload + struct.pack("<H", chunk.token_check)
    return content + struct.pack("<I", zlib.crc32(content, checksum))


def read_chunk(data: bytes, start: int, checksum: int, number: int) -> Read | None:
    """The chunk that begins at ``start``, None when the bytes end inside it.

    Arguments:
        data: Bytes of a file, perhaps not all.
        start: Where the chunk begins.
        checksum: Of what stands before it.
        number: Of the chunk, from 1, for errors.
    Raises:
        VtokError: It is damaged.
    """
    if start >= len(data):
        return None
    kind, position, numbers = data[start] & 127, start + 1, []
    if kind not in (SPEECH, PROMPT):
        raise VtokError(f"chunk {number} is of unknown kind {kind}: the file is damaged, fetch it again")
    for name, limit in (("pieces", MAX_PIECES), ("levels", MAX_LEVELS), ("bytes", MAX_PAYLOAD)):
        found = _read_varint(data, position)
        if found is None:
            return None
        value, position = found
        if value > limit:
            raise VtokError(f"chunk {number} states {value} {name}, {limit} are the most: the file is damaged")
        numbers.append(value)
    end = position + numbers[2] + 6
    if len(data) < end:
        return None
    checksum = _checked(data[start : end - 4], data[end - 4 : end], checksum, f"chunk {number}")
    payload, token_check = data[position : end - 6], int.from_bytes(data[end - 6 : end - 4], "little")
    return Read(Chunk(kind == PROMPT, data[start] >= LAST, *numbers[:2], payload, token_check), end, checksum)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth bit says that more follow.

    Example:
        >>> _varint(5), _varint(300)
        (b'\\x05', b'\\xac\\x02')
    """
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes(found + bytes([number]))


def _read_varint(data: bytes, start: int) -> tuple[int, int] | None:
    """The number at a place and where it ends, None when the bytes end inside it; three bytes are the most."""
    for length in range(1, 4):
        if start + length > len(data):
            return None
        if data[start + length - 1] < 128:
            return sum((byte & 127) << (7 * place) for place, byte in enumerate(data[start : start + length])), (
                start + length
            )
    raise VtokError("a number in a chunk is too long: the file is damaged, fetch it again")


def token_check(tokens: Int[np.ndarray, " frames"]) -> int:
    """CRC-16 (CCITT) of tokens as two bytes each: tells when a payload was decoded into other tokens than it holds.

    Example:
        >>> token_check(np.array([0, 299]))
        20221
    """
    return binascii.crc_hqx(tokens.astype("<u2").tobytes(), 0xFFFF)


def check_identity(found: Identity, expected: Identity) -> None:
    """Refuses a file whose tokens belong to another system, naming every part that differs.

    Raises:
        VtokError: A part differs.
    """
    differing = [
        f"{name} {_shown(ours)}, got {_shown(theirs)}"
        for name, ours, theirs in zip(HASHED.values(), expected, found, strict=True)
        if ours != theirs
    ]
    if differing:
        raise VtokError(f"expected {'; '.join(differing)}: decode with the system that encoded it, or encode again")


def _shown(part: bytes | int) -> str:
    return part.hex() if isinstance(part, bytes) else str(part)
