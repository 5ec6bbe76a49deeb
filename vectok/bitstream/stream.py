"""Tokens to the bytes of a .vtok stream and back, a chunk at a time.

Pieces never reach over a chunk's end, and the first piece of a chunk is coded after the last of the one before: a chunk
can be decoded once those before it have been.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from vectok.bitstream import format as layout
from vectok.bitstream.coder import Coder
from vectok.bitstream.errors import VtokError
from vectok.bitstream.prompt import SpeakerPrompt
from vectok.frames import SAMPLES_PER_FRAME, seconds_of_frames


class Content(NamedTuple):
    """What a file says: tokens, samples of the recording at 16 kHz, language ("" when unknown), prompt if any."""

    tokens: Int[Tensor, " frames"]
    n_samples: int
    language: str = ""
    prompt: SpeakerPrompt | None = None


class Writer:
    """Writes a stream: :meth:`start` once, then :meth:`add` for each stretch of tokens, the last one marked.

    Arguments:
        coder: Of the system.
        language: "" when unknown.
        prompt: To speak with; the reader then needs no other recording.
        n_samples: Of the whole recording; 0 when not known yet: the reader then counts 320 a token.
    """

    def __init__(
        self, coder: Coder, language: str = "", prompt: SpeakerPrompt | None = None, n_samples: int = 0
    ) -> None:
        self.coder, self.prompt = coder, prompt
        self.header = layout.Header(coder.identity, n_samples, language)
        self._context, self._checksum = coder.model.start, 0

    def start(self) -> bytes:
        """Header, and the prompt's chunk if there is a prompt."""
        head = layout.write_header(self.header)
        self._checksum = int.from_bytes(head[-4:], "little")
        if self.prompt is None:
            return head
        chunk = self._chunk(self.prompt.tokens, is_last=False, levels=self.prompt.levels.numpy())
        self._context = self.coder.model.start
        return head + chunk

    def add(self, tokens: Int[Tensor, " frames"], is_last: bool = False) -> bytes:
        """One chunk of speech; only the last one may be empty.

        Raises:
            ValueError: Tokens outside the codebook, more than a chunk holds, or none.
        """
        if len(tokens) > layout.MAX_PIECES or not (len(tokens) or is_last):
            raise ValueError(f"expected 1 to {layout.MAX_PIECES} tokens a chunk, got {len(tokens)}: split them")
        return self._chunk(tokens, is_last)

    def _chunk(self, tokens: Tensor, is_last: bool, levels: Int[np.ndarray, " dim"] | None = None) -> bytes:
        pieces = self.coder.tokenizer.encode(tokens.long()).numpy()
        payload = self.coder.model.encode(pieces, self._context, levels)
        check = layout.token_check(tokens.numpy())
        n_levels = 0 if levels is None else len(levels)
        chunk = layout.Chunk(n_levels > 0, is_last, len(pieces), n_levels, payload, check)
        self._context = int(pieces[-1]) if len(pieces) else self._context
        data = layout.write_chunk(chunk, self._checksum)
        self._checksum = int.from_bytes(data[-4:], "little")
        return data


class Reader:
    """Reads a stream as it comes: :meth:`feed` gives the tokens of every chunk that is complete.

    ``header`` and ``prompt`` are there as soon as they have been read; ``is_finished`` once the last chunk has.

    Arguments:
        coder: Of the system.
    """

    def __init__(self, coder: Coder) -> None:
        self.coder = coder
        self.header: layout.Header | None = None
        self.prompt: SpeakerPrompt | None = None
        self.is_finished = False
        self.n_frames = self.n_payload = self.n_prompt = 0
        self._data, self._context = b"", coder.model.start
        self._checksum = self._n_chunks = 0

    def feed(self, data: bytes) -> list[Int[Tensor, " _frames"]]:
        """Tokens of each chunk of speech that the bytes so far complete.

        Raises:
            VtokError: The stream is damaged, foreign, or goes on after its last chunk.
        """
        self._data, found = self._data + data, []
        while (read := self._next()) is not None:
            self._data, self._checksum = self._data[read.end :], read.checksum
            if isinstance(read.value, layout.Header):
                layout.check_identity(read.value.identity, self.coder.identity)
                self.header = read.value
            elif (tokens := self._decode(read.value, read.end)) is not None:
                found.append(tokens)
        return found

    def _next(self) -> layout.Read | None:
        if self.header is None:
            return layout.read_header(self._data) if self._data else None
        if self.is_finished and self._data:
            raise VtokError(f"{len(self._data)} bytes follow the last chunk: the file is damaged, fetch it again")
        return layout.read_chunk(self._data, 0, self._checksum, self._n_chunks + 1)

    def _decode(self, chunk: layout.Chunk, n_bytes: int) -> Int[Tensor, " frames"] | None:
        """Tokens of a chunk of speech; keeps a prompt and gives nothing for it."""
        self._n_chunks += 1
        self._check_place(chunk)
        decoded = self.coder.model.decode(chunk.payload, chunk.n_pieces, self._context, chunk.n_levels)
        pieces = torch.from_numpy(decoded.pieces)
        tokens = self.coder.tokenizer.decode(pieces)
        if layout.token_check(tokens.numpy()) != chunk.token_check:
            raise VtokError(f"chunk {self._n_chunks} decodes to other tokens than were written: use that constriction")
        if not torch.equal(self.coder.tokenizer.encode(tokens), pieces):
            raise VtokError(f"chunk {self._n_chunks}: its pieces are not the BPE model's own: not written by vectok")
        if chunk.is_prompt:
            self.prompt, self.n_prompt = SpeakerPrompt(torch.from_numpy(decoded.levels), tokens), n_bytes
            return None
        self._context = int(pieces[-1]) if len(pieces) else self._context
        self.is_finished, self.n_frames = chunk.is_last, self.n_frames + len(tokens)
        self.n_payload += len(chunk.payload)
        self._check_length()
        return tokens

    def _check_place(self, chunk: layout.Chunk) -> None:
        """Refuses a prompt that is not first, or of another dimension, levels in speech, and chunks without pieces."""
        dim = self.coder.codebook.vectors.shape[1]
        if chunk.is_prompt:
            is_wrong = self._n_chunks > 1 or chunk.is_last or chunk.n_levels != dim or not chunk.n_pieces
        else:
            is_wrong = chunk.n_levels or not (chunk.n_pieces or chunk.is_last)
        if is_wrong:
            raise VtokError(f"chunk {self._n_chunks} is not one that vectok writes there: the file is damaged")

    def _check_length(self) -> None:
        stated = self.header.n_frames
        if stated and (self.n_frames > stated or (self.is_finished and self.n_frames != stated)):
            raise VtokError(f"expected {stated} frames as the header says, got {self.n_frames}: the file is damaged")

    def finish(self, tokens: list[Int[Tensor, " _frames"]]) -> Content:
        """The whole content, once the last chunk has been read.

        Arguments:
            tokens: All that :meth:`feed` gave.
        Raises:
            VtokError: The stream ended early, or says nothing.
        """
        if self.header is None or not self.is_finished:
            read = f"{seconds_of_frames(self.n_frames):g} s of speech" if self.header else "not even its header"
            raise VtokError(f"the file is truncated ({read} could be read): fetch it again")
        joined = torch.cat(tokens) if tokens else torch.zeros(0, dtype=torch.int64)
        if not len(joined):
            raise VtokError("the file holds no speech: encode the recording again")
        n_samples = self.header.n_samples or SAMPLES_PER_FRAME * len(joined)
        return Content(joined, n_samples, self.header.language, self.prompt)
