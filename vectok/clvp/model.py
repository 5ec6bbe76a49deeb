"""CLVP: a tower over text symbols, a tower over BPE pieces, and one space in which what belongs together is near.

Source: Vec-Tok Speech ("BERT-style", 6 layers, 8 heads, width 512) and Tortoise's CLVP (masked mean, linear, L2 norm,
learned temperature). For speech-to-speech translation both sides are speech: the speech tower twice.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from vectok.conformer import ConformerConfig, FeedForward, SelfAttention
from vectok.lm import checkpoint
from vectok.lm.checkpoint import Checkpoint
from vectok.lm.vocabulary import Vocabulary

ROLES = ("text", "speech", "source", "target")  # source and target are speech in two languages
LENGTH_STEP = 16  # rows are padded to its multiples: few shapes, whose kernels are built and kept
GROUP_ROWS = 16  # rows of like lengths that are read together: the longest of a batch pads no more than these
GREATEST_SCALE = 100.0  # of the similarities before the softmax (CLIP, arXiv 2103.00020)
_FIRST_SCALE = 1 / 0.07


@dataclass(frozen=True, kw_only=True)
class ClvpConfig:
    """Sizes of each tower; the paper's are 6 layers, 8 heads, width 512: 38 M parameters in the blocks of both.

    Arguments:
        n_layers: Blocks.
        dim: Width, and dimension of the latents.
        n_heads: Of the attention.
        ffn_dim: Inner width of the feed-forward layers.
        dropout: Probability of dropping, behind each layer.
    """

    n_layers: int
    dim: int
    n_heads: int
    ffn_dim: int
    dropout: float = 0.0

    def block(self) -> ConformerConfig:
        """Attention and feed-forward layers of the Conformer; there is no convolution."""
        return ConformerConfig(
            dim=self.dim, n_blocks=self.n_layers, n_heads=self.n_heads, ffn_dim=self.ffn_dim, kernel_size=1,
            dropout=self.dropout, macaron=False,
        )  # fmt: skip


class Padded(NamedTuple):
    """Rows of ids, padded on the right; True in the mask is a real id."""

    ids: Int[Tensor, "batch places"]
    mask: Bool[Tensor, "batch places"]


def _places(longest: int) -> int:
    """Places for a row of so many ids: a multiple of 16."""
    return -(-longest // LENGTH_STEP) * LENGTH_STEP


def pad(rows: Sequence[Sequence[int]]) -> Padded:
    """Pads rows to a multiple of 16.

    Raises:
        ValueError: No row, or an empty one.
    """
    if not rows or not min(len(row) for row in rows):
        raise ValueError("expected rows of one id at least, got none: leave empty texts and utterances out")
    longest = _places(max(len(row) for row in rows))
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    return Padded(ids, torch.arange(longest) < lengths[:, None])


def _trimmed(padded: Padded, places: Int[Tensor, " rows"]) -> Padded:
    """Some of the rows, padded no longer than they need."""
    longest = _places(int(padded.mask[places].sum(1).max()))
    return Padded(padded.ids[places, :longest], padded.mask[places, :longest])


class Tower(nn.Module):
    r"""An encoder that looks both ways, and its mean: :math:`\sum_t m_t h_t / \sum_t m_t`.

    Source: BERT-style, as the paper says. *Deviation*: normalisation before each layer and rotary positions, which need
    no longest length.
    Arguments:
        n_ids: Size of what it reads.
        config: Sizes.
    """

    def __init__(self, n_ids: int, config: ClvpConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_ids, config.dim)
        nn.init.normal_(self.embedding.weight, std=0.02 * math.sqrt(512 / config.dim))
        block = config.block()
        self.attention = nn.ModuleList(SelfAttention(block) for _ in range(config.n_layers))
        self.feed_forward = nn.ModuleList(FeedForward(block) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, padded: Padded) -> Float[Tensor, "batch dim"]:
        """Mean of the normalised states; what stands in padding is never read."""
        hidden = self.embedding(padded.ids.masked_fill(~padded.mask, 0))
        for attention, feed_forward in zip(self.attention, self.feed_forward, strict=True):
            hidden = hidden + attention(hidden, padded.mask)
            hidden = hidden + feed_forward(hidden)
        kept = self.norm(hidden).masked_fill(~padded.mask[..., None], 0.0)
        return kept.sum(1) / padded.mask.sum(1, keepdim=True)


def scale_of(log_scale: Float[Tensor, ""]) -> Float[Tensor, ""]:
    r"""What cosines are multiplied by: :math:`\min(e^{s}, 100)`.

    Example:
        >>> scale_of(torch.tensor(9.0))
        tensor(100.)
    """
    return log_scale.exp().clamp(max=GREATEST_SCALE)


def similarity(
    left: Float[Tensor, "left dim"], right: Float[Tensor, "right dim"], log_scale: Float[Tensor, ""]
) -> Float[Tensor, "left right"]:
    r"""Scaled cosines: :math:`S_{ij} = \min(e^{s}, 100) \, a_i^\top b_j` of latents of length one.

    Arguments:
        left: Latents of texts (of source speech).
        right: Latents of speech (of target speech).
        log_scale: s, the logarithm of the inverse temperature.
    Example:
        >>> similarity(torch.eye(2), torch.eye(2), torch.tensor(2.0).log())
        tensor([[2., 0.],
                [0., 2.]])
    """
    with torch.autocast(left.device.type, enabled=False):  # bf16 would round scores of 100 to halves
        return scale_of(log_scale) * left @ right.T


class Clvp(nn.Module):
    r"""Latents :math:`\mathrm{norm}(W_r\, \mathrm{Tower}(x))` of texts and of speech; r is the role.

    Source: Vec-Tok Speech, CLVP; Tortoise. *Deviation*: speech that is compared with text, that is translated and that
    is a translation have projections of their own, over one tower.
    Arguments:
        config: Sizes.
        vocabulary: Numbers symbols and pieces.
    """

    def __init__(self, config: ClvpConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config, self.vocabulary = config, vocabulary
        self.text_tower = Tower(len(vocabulary.symbols), config)
        self.speech_tower = Tower(vocabulary.n_pieces, config)
        self.projections = nn.ModuleDict({role: nn.Linear(config.dim, config.dim, bias=False) for role in ROLES})
        self.log_scale = nn.Parameter(torch.tensor(math.log(_FIRST_SCALE)))

    @property
    def n_parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def temperature(self) -> float:
        r"""What similarities are divided by: :math:`\max(e^{-s}, 1/100)`."""
        return 1 / min(float(self.log_scale.detach().exp()), GREATEST_SCALE)

    def forward(self, padded: Padded, role: str) -> Float[Tensor, "batch dim"]:
        """Latents of length one; rows of like lengths are read together, and none depends on the others.

        Arguments:
            padded: Text symbols (:meth:`symbols`) for the role "text", BPE pieces for the others.
            role: One of :data:`ROLES`.
        """
        tower = self.text_tower if role == "text" else self.speech_tower
        order = padded.mask.sum(1).argsort(descending=True, stable=True)
        means = torch.cat([tower(_trimmed(padded, places)) for places in order.split(GROUP_ROWS)])
        return functional.normalize(self.projections[role](means[order.argsort()]).float(), dim=-1)

    def symbols(self, text: str) -> list[int]:
        """Places of a normalised text's characters among the symbols.

        Raises:
            ValueError: Unknown symbols; they are named.
        """
        return [number - self.vocabulary.first_symbol for number in self.vocabulary.encode_text(text)]

    def extra_repr(self) -> str:
        """The numbers that matter."""
        return f"{self.n_parameters / 1e6:.1f} M parameters, temperature {self.temperature:.3f}"

    def save(self, folder: Path) -> None:
        """Writes config.json, vocabulary.json and model.safetensors; the folder appears whole or not at all."""
        checkpoint.save(folder, Checkpoint(asdict(self.config), self.vocabulary, self.state_dict()))

    @classmethod
    def load(cls, folder: Path) -> "Clvp":
        """Reads what :meth:`save` wrote, ready for inference.

        Raises:
            ValueError: The folder holds no such model, or its weights belong to another vocabulary.
        """
        config, vocabulary, weights = checkpoint.load(folder, "CLVP", "clvp")
        model = cls(ClvpConfig(**config), vocabulary)
        model.load_state_dict(weights)
        return model.eval()
