"""The language model: transformers' LLaMA over the joint vocabulary, with its vocabulary beside its weights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import linear
from torch.nn.utils import parametrize
from transformers import LlamaConfig, LlamaForCausalLM

from vectok.lm import checkpoint
from vectok.lm.checkpoint import Checkpoint
from vectok.lm.vocabulary import Vocabulary

LONGEST_DENSE_IDS = 640


@dataclass(frozen=True, kw_only=True)
class LanguageModelConfig:
    """Sizes; the paper's are 12 layers, 12 heads, width 1536, feed-forward 6144, untied: about 480 M parameters.

    Arguments:
        n_layers: Transformer blocks.
        dim: Width.
        n_heads: Of the attention.
        n_kv_heads: Of keys and values, each shared by as many heads (arXiv 2305.13245); None: as many as heads.
        ffn_dim: Inner width of the SwiGLU feed-forward layers.
        tied: One matrix embeds ids and predicts them, or two.
        dropout: Of the embeddings and of both branches of every block, in training.
        max_positions: Longest sequence that is foreseen; rotary positions need no table, so no hard limit.
        interleaved: Form of the sequences that it is trained on (:mod:`vectok.lm.sequences`).
        asr_delay: Frames of speech behind a character before it is written, where interleaved.
        tasks: That it is trained on.
    """

    n_layers: int
    dim: int
    n_heads: int
    ffn_dim: int
    tied: bool
    n_kv_heads: int | None = None
    dropout: float = 0.0
    max_positions: int = 4096
    interleaved: bool = True
    asr_delay: int = 16
    tasks: tuple[str, ...] = ()


def _llama_config(config: LanguageModelConfig, vocabulary: Vocabulary) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocabulary.n_ids,
        hidden_size=config.dim,
        intermediate_size=config.ffn_dim,
        num_hidden_layers=config.n_layers,
        num_attention_heads=config.n_heads,
        num_key_value_heads=config.n_kv_heads or config.n_heads,
        max_position_embeddings=config.max_positions,
        tie_word_embeddings=config.tied,
        pad_token_id=vocabulary.tag("pad"),
        bos_token_id=None,
        eos_token_id=vocabulary.tag("end"),
        attn_implementation="sdpa",
    )


def dropout(values: Float[Tensor, "*shape"], probability: float) -> Float[Tensor, "*shape"]:
    """Zeroes each value with a probability, of which 1/256 are told apart, and scales the others up.

    On a CPU ``torch.nn.functional.dropout`` draws a float for each value, a tenth of a training step; eight values
    share one draw of 64 bits here.
    """
    threshold = round(probability * 256)
    draws = torch.empty(-(-values.numel() // 8), dtype=torch.int64, device=values.device).random_(-(2**63), None)
    kept = draws.view(torch.uint8)[: values.numel()].view(values.shape) >= threshold
    return values * (kept.to(values.dtype) * (256 / (256 - threshold)))


def _drop(module: nn.Module, inputs: tuple, output: Tensor | tuple):
    """Forward hook: dropout of what a branch adds to the residual stream."""
    if not module.training:
        return output
    first, *rest = output if isinstance(output, tuple) else (output,)
    dropped = dropout(first, module.branch_dropout)
    return (dropped, *rest) if isinstance(output, tuple) else dropped


@contextmanager
def _short_attention(ids: Int[Tensor, "batch ids"]) -> Iterator[None]:
    """On a CPU, attention by plain matrix products in the precision at hand, for sequences of some hundred ids.

    The fused kernel is two to four times slower there; it is the better one for long sequences and on GPUs.
    """
    if ids.device.type != "cpu" or ids.shape[1] > LONGEST_DENSE_IDS:
        yield
        return
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)  # rules the CPU's plain products too
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)


class Composition(nn.Module):
    r"""Vectors of ids, where a piece of several tokens has the mean of their vectors beside its own.

    .. math:: e_p = w_p + \frac{1}{n_p} \sum_{t \in p} w_t \quad (n_p > 1)

    *Deviation*: the paper has speech enough to learn 8,192 pieces one by one. Here a piece is heard some dozen times,
    and its tokens thousands of times.
    Arguments:
        pieces: Tokens of each piece; each token is a piece by itself too.
        first_piece: Id of piece 0; all ids behind it are pieces.
    """

    def __init__(self, pieces: Sequence[Int[Tensor, " _tokens"]], first_piece: int) -> None:
        super().__init__()
        single = {int(tokens): place for place, tokens in enumerate(pieces) if len(tokens) == 1}
        column = {token: number for number, token in enumerate(single)}
        shares = torch.zeros(len(pieces), len(single))
        for place, tokens in enumerate(pieces):
            for token in tokens.tolist() if len(tokens) > 1 else ():
                shares[place, column[token]] += 1 / len(tokens)
        self.first_piece = first_piece
        self.register_buffer("shares", shares, persistent=False)
        self.register_buffer("singles", torch.tensor(list(single.values())) + first_piece, persistent=False)

    def forward(self, own: Float[Tensor, "ids dim"]) -> Float[Tensor, "ids dim"]:
        """All ids' vectors from their own parts."""
        with torch.autocast(own.device.type, enabled=False):
            tags, pieces = own[: self.first_piece], own[self.first_piece :]
            return torch.cat([tags, pieces + self.shares @ own[self.singles]])


class LanguageModel(nn.Module):
    r"""LLaMA: :math:`p(x_i \mid x_{<i})` over the ids of a :class:`Vocabulary`.

    Source: Vec-Tok Speech, section on the language model (Eq. 10, 11). *Deviation*: dropout on embeddings and branches
    (by hooks on a stock ``LlamaForCausalLM``), because two hours of speech are seen a dozen times.
    Arguments:
        config: Sizes.
        vocabulary: What the ids mean.
    Shape:
        ``llama`` is a stock ``LlamaForCausalLM`` with SDPA attention; sequences are padded on the right, which a causal
        model needs no mask for.
    """

    def __init__(self, config: LanguageModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config, self.vocabulary = config, vocabulary
        self.llama = LlamaForCausalLM(_llama_config(config, vocabulary))
        layers = self.llama.model.layers
        for branch in [
            self.llama.model.embed_tokens,
            *(part for layer in layers for part in (layer.self_attn, layer.mlp)),
        ]:
            branch.branch_dropout = config.dropout
            if config.dropout:
                branch.register_forward_hook(_drop)

    def compose(self, pieces: Sequence[Int[Tensor, " _tokens"]]) -> None:
        """Lets pieces learn from their tokens in training (:class:`Composition`); :meth:`save` writes plain vectors.

        Arguments:
            pieces: Tokens of each piece of the vocabulary.
        """
        composition = Composition(pieces, self.vocabulary.first_piece)
        for part in (self.llama.model.embed_tokens, *(() if self.config.tied else (self.llama.lm_head,))):
            parametrize.register_parametrization(part, "weight", composition, unsafe=True)

    @property
    def n_parameters(self) -> int:
        """Number of weights; a tied matrix counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def hidden(self, ids: Int[Tensor, "batch ids"]) -> Float[Tensor, "batch ids dim"]:
        """Normalised states before the head: the state at i knows ids[: i + 1] and predicts ids[i + 1]."""
        with _short_attention(ids):
            return self.llama.model(input_ids=ids, use_cache=False).last_hidden_state

    def logits(self, hidden: Float[Tensor, "*places dim"]) -> Float[Tensor, "*places vocab"]:
        """Scores of the next id, from states of chosen places (the head is a third of the work)."""
        head = self.llama.model.embed_tokens if self.config.tied else self.llama.lm_head
        return linear(hidden, head.weight)

    def forward(self, ids: Int[Tensor, "batch ids"]) -> Float[Tensor, "batch ids vocab"]:
        """Scores of the next id at every place.

        Arguments:
            ids: Right-padded with ``<pad>``; what stands behind a place cannot change its scores.
        """
        return self.logits(self.hidden(ids))

    def extra_repr(self) -> str:
        """The numbers that matter."""
        return f"{self.n_parameters / 1e6:.1f} M parameters, {self.vocabulary.n_ids} ids"

    def save(self, folder: Path) -> None:
        """Writes config.json, vocabulary.json and model.safetensors; the folder appears whole or not at all."""
        weights = {name: value for name, value in self.llama.state_dict().items() if "parametrizations" not in name}
        weights["model.embed_tokens.weight"] = self.llama.model.embed_tokens.weight.detach()
        weights["lm_head.weight"] = self.llama.lm_head.weight.detach()
        if self.config.tied:
            del weights["lm_head.weight"]
        checkpoint.save(folder, Checkpoint(asdict(self.config), self.vocabulary, weights))

    @classmethod
    def load(cls, folder: Path) -> "LanguageModel":
        """Reads what :meth:`save` wrote, ready for inference.

        Raises:
            ValueError: The folder holds no such model, or its weights belong to another vocabulary.
        """
        config, vocabulary, weights = checkpoint.load(folder, "language model", "lm")
        model = cls(LanguageModelConfig(**{**config, "tasks": tuple(config["tasks"])}), vocabulary)
        if model.config.tied:
            weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
        model.llama.load_state_dict(weights)
        return model.eval()
