"""What the inverse K-means model minimises: MSE and 1 - SSIM on standardised vectors (Eq. 9 of the paper)."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vectok.codec import InverseKMeans
from vectok.training import Objective

# SSIM's constants and window are those of Wang et al. 2004; the range is that of +-3 standard deviations.
DATA_RANGE = 6.0
_STABILITY = (0.01, 0.03)
_WINDOW_SIGMA_FRAMES = 1.5
_WINDOW_RADIUS_FRAMES = 5


class CodecBatch(NamedTuple):
    """Padded sequences. True in a mask is a real frame; what stands in padding is never read.

    ``starts`` are the places of the first frames in their utterances.
    """

    tokens: Int[Tensor, "batch frames"]
    token_mask: Bool[Tensor, "batch frames"]
    target: Float[Tensor, "batch frames dim"]
    prompt: Float[Tensor, "batch prompt dim"]
    prompt_mask: Bool[Tensor, "batch prompt"]
    starts: Int[Tensor, " batch"]


def masked_mse(
    predicted: Float[Tensor, "batch frames dim"],
    target: Float[Tensor, "batch frames dim"],
    mask: Bool[Tensor, "batch frames"],
) -> Float[Tensor, ""]:
    r"""Mean squared error over valid frames: :math:`\sum_{t,d} m_t (\hat x_{td} - x_{td})^2 / (D \sum_t m_t)`."""
    error = (predicted - target).masked_fill(~mask[..., None], 0.0)
    return error.square().sum() / (mask.sum() * target.shape[-1])


def _window(mask: Bool[Tensor, "batch frames"]) -> Float[Tensor, "batch frames frames"]:
    """Gaussian weights around each frame, of valid frames only, that add up to one."""
    distance = torch.arange(mask.shape[1], device=mask.device)
    distance = (distance[:, None] - distance).abs()
    gaussian = torch.exp(-0.5 * (distance / _WINDOW_SIGMA_FRAMES) ** 2) * (distance <= _WINDOW_RADIUS_FRAMES)
    weights = gaussian * mask[:, None, :]
    return weights / weights.sum(-1, keepdim=True).clamp(min=1e-12)


def ssim(
    predicted: Float[Tensor, "batch frames dim"],
    target: Float[Tensor, "batch frames dim"],
    mask: Bool[Tensor, "batch frames"],
) -> Float[Tensor, ""]:
    r"""Structural similarity of two vector sequences, 1 for equal ones: a similarity, so minimise 1 - SSIM.

    .. math:: \frac{2 \mu_x \mu_y + C_1}{\mu_x^2 + \mu_y^2 + C_1}
        \cdot \frac{2 \sigma_{xy} + C_2}{\sigma_x^2 + \sigma_y^2 + C_2}

    with local moments under a Gaussian window, averaged over valid frames and channels,
    :math:`C_1 = (0.01 L)^2, C_2 = (0.03 L)^2, L = 6`.

    Source: Eq. 9; Wang et al., Image quality assessment, 2004. *Deviation*: the window runs over time alone, channel by
    channel, because the order of the channels has no geometry; it weighs valid frames only, so there is no border; and
    x and y are the vectors plus L / 2, since SSIM is made for intensities in [0, L]: where means may be negative, two
    wrong signs make a similarity, and the opposite of a sequence would be much like it.
    Arguments:
        predicted: Standardised vectors.
        target: Standardised vectors.
        mask: True where a frame is real.
    """
    with torch.autocast(predicted.device.type, enabled=False):  # variances as differences need float32
        x, y = (part.float().masked_fill(~mask[..., None], 0.0) + DATA_RANGE / 2 for part in (predicted, target))
        moments = _window(mask) @ torch.cat([x, y, x * x + y * y, x * y], dim=-1)
        mean_x, mean_y, power, product = moments.chunk(4, dim=-1)
        c1, c2 = ((constant * DATA_RANGE) ** 2 for constant in _STABILITY)
        means = mean_x.square() + mean_y.square()
        level = (2 * mean_x * mean_y + c1) / (means + c1)
        structure = (2 * (product - mean_x * mean_y) + c2) / (power - means + c2)
        similarity = (level * structure).masked_fill(~mask[..., None], 0.0)
        return similarity.sum() / (mask.sum() * target.shape[-1])


class CodecObjective(Objective[CodecBatch]):
    r"""Trains an :class:`InverseKMeans`: :math:`\mathrm{MSE} + \lambda (1 - \mathrm{SSIM})`.

    Arguments:
        model: Trained in place.
        ssim_weight: :math:`\lambda`; the paper gives none, 1 is assumed.
    """

    def __init__(self, model: InverseKMeans, ssim_weight: float) -> None:
        self.model, self.ssim_weight = model, ssim_weight

    def players(self) -> dict[str, nn.Module]:
        """The model alone."""
        return {"codec": self.model}

    def losses(self, player: str, batch: CodecBatch, step: int) -> dict[str, Tensor]:
        """``mse`` and ``ssim`` (that is, 1 - SSIM), weighted."""
        predicted = self.model(batch.tokens, batch.token_mask, batch.prompt, batch.prompt_mask, batch.starts)
        return {
            "mse": masked_mse(predicted, batch.target, batch.token_mask),
            "ssim": self.ssim_weight * (1 - ssim(predicted, batch.target, batch.token_mask)),
        }
