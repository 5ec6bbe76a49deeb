"""The parts of a system that .vtok files need, and the hashes that say which system that is."""

import hashlib

from jaxtyping import Float
from torch import Tensor

from vectok.bitstream.entropy import PieceModel
from vectok.bitstream.format import Identity
from vectok.bitstream.prompt import PROMPT_SECONDS, SpeakerPrompt, compact, expand
from vectok.bpe import PieceTokenizer
from vectok.codebook import Codebook, content_hash

SHORT_HASH_BYTES = 4


def pieces_hash(tokenizer: PieceTokenizer) -> str:
    """SHA-256 over the tokens that each piece stands for, which decides both encoding and decoding."""
    digest = hashlib.sha256()
    for piece in range(tokenizer.n_vocab):
        tokens = tokenizer.tokens_of_piece(piece)
        digest.update(len(tokens).to_bytes(4, "little") + tokens.numpy().astype("<u4").tobytes())
    return digest.hexdigest()


class Coder:
    """What turns tokens of one system into the payload of a file, and its name.

    Arguments:
        tokenizer: Tokens to pieces and back.
        model: The static model of these pieces.
        codebook: That the tokens are of.
        encoder_hash: SHA-256 of the encoder's weights, in hexadecimal digits.
        layer: Of the encoder, that the vectors are of.
    Raises:
        ValueError: A model of another number of pieces, or a BPE model of another codebook.
    """

    def __init__(
        self,
        tokenizer: PieceTokenizer,
        model: PieceModel,
        codebook: Codebook,
        encoder_hash: str,
        layer: int,
    ) -> None:
        if model.n_vocab != tokenizer.n_vocab or tokenizer.n_clusters != len(codebook.vectors):
            raise ValueError(
                f"expected a model of {tokenizer.n_vocab} pieces and a codebook of {tokenizer.n_clusters} tokens, got "
                f"{model.n_vocab} and {len(codebook.vectors)}: run the bitstream stage again (make repro)"
            )
        self.tokenizer, self.model, self.codebook = tokenizer, model, codebook
        hashes = (encoder_hash, content_hash(codebook), pieces_hash(tokenizer), model.content_hash)
        encoder, codebook, bpe, pieces = (bytes.fromhex(value)[:SHORT_HASH_BYTES] for value in hashes)
        self.identity = Identity(encoder, layer, codebook, bpe, pieces)

    def compact(self, vectors: Float[Tensor, "prompt dim"], seconds: float = PROMPT_SECONDS) -> SpeakerPrompt:
        """The compact prompt of some speech, given as standardised vectors."""
        return compact(vectors, self.codebook.vectors, seconds)

    def expand(self, prompt: SpeakerPrompt) -> Float[Tensor, "prompt dim"]:
        """Vectors to decode with."""
        return expand(prompt, self.codebook.vectors)
