"""Conformer blocks that padding cannot enter: attention, convolution and feed-forward layers over masked sequences.

Source: Gulati et al., Conformer, arXiv 2005.08100. *Deviation*: LayerNorm instead of BatchNorm after the depthwise
convolution, so that no utterance of a batch influences another; rotary positions (arXiv 2104.09864) instead of relative
ones; the convolution reads zeros in place of padding.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class ConformerConfig:
    """Sizes of a Conformer.

    Arguments:
        dim: Width of the residual stream.
        n_blocks: Number of blocks.
        n_heads: Attention heads; ``dim / n_heads`` must be even.
        ffn_dim: Inner width of the feed-forward layers.
        kernel_size: Frames that the depthwise convolution sees, odd.
        dropout: Probability of dropping, after each layer.
        macaron: Two half-step feed-forward layers around each block (the Conformer paper's) or one full step.
    Raises:
        ValueError: Sizes that do not fit together.
    """

    dim: int
    n_blocks: int
    n_heads: int
    ffn_dim: int
    kernel_size: int
    dropout: float
    macaron: bool

    def __post_init__(self) -> None:
        if self.dim % (2 * self.n_heads):
            raise ValueError(f"dim {self.dim} over {self.n_heads} heads: expected a multiple of twice the heads")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size {self.kernel_size}: expected an odd number of frames")


def rotary_angles(n_frames: int, head_dim: int, device: torch.device) -> Float[Tensor, "frames half"]:
    r"""Angles :math:`\theta_{t,i} = t \cdot 10000^{-2i/d}` of the rotary positions, in radians.

    Example:
        >>> rotary_angles(2, 4, torch.device("cpu"))
        tensor([[0.0000, 0.0000],
                [1.0000, 0.0100]])
    """
    rates = 10_000.0 ** (-torch.arange(0, head_dim, 2, device=device) / head_dim)
    return torch.arange(n_frames, device=device)[:, None] * rates


def rotate(
    heads: Float[Tensor, "batch heads frames dim"], angles: Float[Tensor, "frames half"]
) -> Float[Tensor, "batch heads frames dim"]:
    r"""Turns channel pairs :math:`(i, i + d/2)` of each frame by its angles; scalar products keep only distances."""
    first, second = heads.chunk(2, dim=-1)
    cos, sin = angles.cos().to(heads.dtype), angles.sin().to(heads.dtype)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class FeedForward(nn.Module):
    r"""A position-wise layer: :math:`W_2\, \mathrm{SiLU}(W_1\, \mathrm{LN}(x))`."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.dim)
        self.inner = nn.Linear(config.dim, config.ffn_dim)
        self.outer = nn.Linear(config.ffn_dim, config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Float[Tensor, "batch frames dim"]) -> Float[Tensor, "batch frames dim"]:
        """Each frame on its own."""
        return self.dropout(self.outer(functional.silu(self.inner(self.norm(hidden)))))


class SelfAttention(nn.Module):
    """Multi-head attention with rotary positions; masked frames are no keys."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.n_heads, self.dropout = config.n_heads, config.dropout
        self.norm = nn.LayerNorm(config.dim)
        self.inner = nn.Linear(config.dim, 3 * config.dim)
        self.outer = nn.Linear(config.dim, config.dim)

    def forward(
        self, hidden: Float[Tensor, "batch frames dim"], mask: Bool[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch frames dim"]:
        """Every frame looks at every valid frame."""
        n_batch, n_frames, dim = hidden.shape
        inner = self.inner(self.norm(hidden)).view(n_batch, n_frames, 3, self.n_heads, -1)
        query, key, value = inner.permute(2, 0, 3, 1, 4)
        angles = rotary_angles(n_frames, dim // self.n_heads, hidden.device)
        query, key = rotate(query, angles), rotate(key, angles)
        heads = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
        mixed = self.outer(heads.transpose(1, 2).reshape(n_batch, n_frames, dim))
        return functional.dropout(mixed, self.dropout, self.training)


class MaskedConvolution(nn.Module):
    r"""The convolution layer: :math:`W_2\,\mathrm{SiLU}\,\mathrm{LN}(k * (m \odot \mathrm{GLU}(W_1\,\mathrm{LN}(x))))`.

    The mask m stands directly in front of the depthwise convolution k, the only place where frames meet.
    """

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.dim)
        self.inner = nn.Linear(config.dim, 2 * config.dim)
        self.depthwise = nn.Conv1d(
            config.dim, config.dim, config.kernel_size, padding=config.kernel_size // 2, groups=config.dim
        )
        self.inner_norm = nn.LayerNorm(config.dim)
        self.outer = nn.Linear(config.dim, config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, hidden: Float[Tensor, "batch frames dim"], mask: Bool[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch frames dim"]:
        """Each frame sees ``kernel_size`` frames around it; padding counts as zero, as beyond the ends."""
        gated = functional.glu(self.inner(self.norm(hidden)), dim=-1) * mask[..., None]
        local = self.depthwise(gated.transpose(1, 2)).transpose(1, 2)
        return self.dropout(self.outer(functional.silu(self.inner_norm(local))))


class ConformerBlock(nn.Module):
    """[half feed-forward,] attention, convolution, [half] feed-forward, each around a skip, then LayerNorm."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.first = FeedForward(config) if config.macaron else None
        self.attention = SelfAttention(config)
        self.convolution = MaskedConvolution(config)
        self.last = FeedForward(config)
        self.norm = nn.LayerNorm(config.dim)

    def forward(
        self, hidden: Float[Tensor, "batch frames dim"], mask: Bool[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch frames dim"]:
        """One block."""
        step = 1.0 if self.first is None else 0.5
        if self.first is not None:
            hidden = hidden + step * self.first(hidden)
        hidden = hidden + self.attention(hidden, mask)
        hidden = hidden + self.convolution(hidden, mask)
        return self.norm(hidden + step * self.last(hidden))


class Conformer(nn.Module):
    """A stack of blocks over sequences with masked frames anywhere.

    Arguments:
        config: Sizes.
    """

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ConformerBlock(config) for _ in range(config.n_blocks))

    def forward(
        self, hidden: Float[Tensor, "batch frames dim"], mask: Bool[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch frames dim"]:
        """Same shape; the outputs of masked frames mean nothing, and their inputs change no other output.

        A gap of masked frames inside a sequence still counts as distance: see :func:`pack`.
        """
        hidden = hidden.masked_fill(~mask[..., None], 0.0)  # not a product: NaN times zero is NaN
        for block in self.blocks:
            hidden = block(hidden, mask)
        return hidden


def pack(mask: Bool[Tensor, "batch frames"]) -> Int[Tensor, "batch frames"]:
    """The order that moves each row's valid frames to its front and keeps their order; its ``argsort`` undoes it.

    Example:
        >>> pack(torch.tensor([[True, False, True]]))
        tensor([[0, 2, 1]])
    """
    return torch.argsort((~mask).to(torch.uint8), dim=1, stable=True)


def reorder(
    hidden: Float[Tensor, "batch frames dim"], order: Int[Tensor, "batch places"]
) -> Float[Tensor, "batch places dim"]:
    """Frames of each row in the given order, or a part of them."""
    return hidden.gather(1, order[..., None].expand(-1, -1, hidden.shape[-1]))


def sinusoids(places: Int[Tensor, "batch frames"], dim: int) -> Float[Tensor, "batch frames dim"]:
    r"""Sines, then cosines, of :math:`t \cdot 10000^{-i / (d/2 - 1)}`, as Whisper's encoder adds them to its input.

    Example:
        >>> sinusoids(torch.tensor([[0, 1]]), 4)
        tensor([[[0.0000e+00, 0.0000e+00, 1.0000e+00, 1.0000e+00],
                 [8.4147e-01, 1.0000e-04, 5.4030e-01, 1.0000e+00]]])
    """
    half = dim // 2
    rates = 10_000.0 ** (-torch.arange(half, device=places.device) / max(1, half - 1))
    angles = places[..., None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
