"""HiFi-GAN V1 on speech vectors: the vocoder of the paper preset."""

from dataclasses import dataclass
from math import prod

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import leaky_relu
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from vectok.frames import SAMPLES_PER_FRAME
from vectok.vocoder.base import Vocoder

SLOPE = 0.1


@dataclass(frozen=True, kw_only=True)
class HifiganConfig:
    """Sizes of the generator. Defaults: V1, with the upsampling that 320 samples a frame want (as in kNN-VC).

    Arguments:
        dim: Dimension of the speech vectors; a linear layer takes them to ``width``.
        width: Channels before the first upsampling; each upsampling halves them.
        upsample_rates, upsample_kernels: Of the transposed convolutions; the rates multiply to 320.
        kernels, dilations: Of the residual blocks after each upsampling.
    """

    dim: int = 1024
    width: int = 512
    upsample_rates: tuple[int, ...] = (10, 8, 2, 2)
    upsample_kernels: tuple[int, ...] = (20, 16, 4, 4)
    kernels: tuple[int, ...] = (3, 7, 11)
    dilations: tuple[int, ...] = (1, 3, 5)

    def __post_init__(self) -> None:
        if prod(self.upsample_rates) != SAMPLES_PER_FRAME:
            raise ValueError(f"upsample_rates {self.upsample_rates}: expected a product of {SAMPLES_PER_FRAME}")
        for rate, kernel in zip(self.upsample_rates, self.upsample_kernels, strict=True):
            if kernel < rate or (kernel - rate) % 2:
                raise ValueError(
                    f"kernel {kernel} at rate {rate}: expected rate plus an even number, for exact lengths"
                )


def _convolution(channels: int, kernel: int, dilation: int) -> nn.Module:
    """Weight-normalised convolution that keeps channels and length."""
    layer = nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2)
    nn.init.normal_(layer.weight, 0.0, 0.01)
    return weight_norm(layer)


class ResidualBlock(nn.Module):
    """For each dilation: a dilated and a plain convolution, and a residual. Source: HiFi-GAN, ResBlock1."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.dilated = nn.ModuleList(_convolution(channels, kernel, dilation) for dilation in dilations)
        self.plain = nn.ModuleList(_convolution(channels, kernel, 1) for _ in dilations)

    def forward(self, hidden: Float[Tensor, "batch width samples"]) -> Float[Tensor, "batch width samples"]:
        for dilated, plain in zip(self.dilated, self.plain, strict=True):
            hidden = hidden + plain(leaky_relu(dilated(leaky_relu(hidden, SLOPE)), SLOPE))
        return hidden


class Hifigan(Vocoder):
    """HiFi-GAN V1 generator.

    Source: Kong et al., "HiFi-GAN", 2020; on vectors of 20 ms as in Baas et al., "Voice conversion with just nearest
    neighbors", 2023.
    """

    kind = "hifigan"

    def __init__(self, config: HifiganConfig) -> None:
        super().__init__()
        self.config, width = config, config.width
        self.enter = nn.Linear(config.dim, width)
        self.first = weight_norm(nn.Conv1d(width, width, 7, padding=3))
        self.upsamplings, self.blocks = nn.ModuleList(), nn.ModuleList()
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernels, strict=True):
            layer = nn.ConvTranspose1d(width, width // 2, kernel, rate, padding=(kernel - rate) // 2)
            nn.init.normal_(layer.weight, 0.0, 0.01)
            self.upsamplings.append(weight_norm(layer))
            width //= 2
            self.blocks.append(
                nn.ModuleList(ResidualBlock(width, kernel, config.dilations) for kernel in config.kernels)
            )
        self.last = weight_norm(nn.Conv1d(width, 1, 7, padding=3))

    def extra_repr(self) -> str:
        return f"width={self.config.width}, n_parameters={sum(p.numel() for p in self.parameters())}"

    def forward(self, vectors: Float[Tensor, "batch frames dim"]) -> Float[Tensor, "batch samples"]:
        hidden = self.first(self.enter(vectors).mT)
        for upsampling, blocks in zip(self.upsamplings, self.blocks, strict=True):
            hidden = upsampling(leaky_relu(hidden, SLOPE))
            hidden = sum(block(hidden) for block in blocks) / len(blocks)
        return self.last(leaky_relu(hidden)).tanh()[:, 0]

    def fold_weight_norm(self) -> "Hifigan":
        """Replaces each direction and gain by their product, for faster inference. Such a model is not saved."""
        for module in self.modules():
            if is_parametrized(module, "weight"):
                remove_parametrizations(module, "weight")
        return self
