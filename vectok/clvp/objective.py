"""What CLVP minimises: symmetric cross-entropy over the similarities of a batch."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vectok.clvp.batches import ClvpBatch
from vectok.clvp.model import Clvp, scale_of, similarity
from vectok.lm.measured import MeasuredObjective


def contrastive_loss(
    similarities: Float[Tensor, "batch batch"], spoilt: Float[Tensor, "batch spoilt"] | None = None
) -> Float[Tensor, ""]:
    r"""Mean of both directions: which speech belongs to the text, which text to the speech?

    .. math:: \tfrac12 \big(\mathrm{CE}([S, N]_{i\cdot}, i) + \mathrm{CE}(S^\top_{i\cdot}, i)\big)

    in nats, :math:`\ln n` for n pairs that all look alike.

    Source: CLIP, arXiv 2103.00020, as in Tortoise's CLVP. *Deviation*: N, similarities of each text to spoilt copies of
    its own speech, because the model has to choose among candidates for one text.
    Arguments:
        similarities: S, row i a text, column j an utterance; what belongs together stands on the diagonal.
        spoilt: N, or nothing.
    Example:
        >>> contrastive_loss(torch.zeros(4, 4))
        tensor(1.3863)
    """
    own = torch.arange(len(similarities), device=similarities.device)
    among = similarities if spoilt is None else torch.cat([similarities, spoilt], dim=1)
    return (cross_entropy(among, own) + cross_entropy(similarities.T, own)) / 2


class ClvpObjective(MeasuredObjective[Clvp, ClvpBatch]):
    """Trains a :class:`Clvp`, and measures it on the way."""

    def players(self) -> dict[str, nn.Module]:
        """The model alone."""
        return {"clvp": self.model}

    def losses(self, player: str, batch: ClvpBatch, step: int) -> dict[str, Tensor]:
        """The loss of text and speech or of speech and its translation, and what is measured at this step."""
        measured = self.measured(step, batch.left.ids.device)
        roles = ("text", "speech") if batch.of_text else ("source", "target")
        left, right = (self.model(part, role) for part, role in zip((batch.left, batch.right), roles, strict=True))
        true, scale = right[: len(left)], self.model.log_scale
        spoilt = right[len(left) :].view(-1, *left.shape)  # one copy of each utterance, then the next of each
        near = scale_of(scale) * (left * spoilt).sum(-1).T if len(spoilt) else None
        return {f"{roles[0]}_nats": contrastive_loss(similarity(left, true, scale), near), **measured}
