"""What the language model minimises: weighted cross-entropy, the head computed only where a weight is not zero."""

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vectok.lm.batches import LMBatch
from vectok.lm.measured import MeasuredObjective
from vectok.lm.model import LanguageModel


def predicted(weights: Float[Tensor, "batch ids"]) -> Bool[Tensor, "batch places"]:
    """Places whose state predicts an id that counts: place i predicts id i + 1."""
    return weights[:, 1:] != 0


def weighted_cross_entropy(
    logits: Float[Tensor, "targets vocab"], targets: Int[Tensor, " targets"], weights: Float[Tensor, " targets"]
) -> Float[Tensor, ""]:
    r"""Mean loss in nats: :math:`-\sum_i w_i \ln p(x_i \mid x_{<i}) / \sum_i w_i`.

    Source: Eq. 10 and 11 of Vec-Tok Speech. *Deviation*: weights, for prompts and sources count less than targets.
    """
    nats = cross_entropy(logits.float(), targets, reduction="none")
    return (nats * weights).sum() / weights.sum()


class LMObjective(MeasuredObjective[LanguageModel, LMBatch]):
    """Trains a :class:`LanguageModel`, and measures it on the way."""

    def players(self) -> dict[str, nn.Module]:
        """The model alone."""
        return {"lm": self.model}

    def losses(self, player: str, batch: LMBatch, step: int) -> dict[str, Tensor]:
        """``nats`` of the ids, given what is read in their place, and what is measured at this step."""
        measured = self.measured(step, batch.ids.device)
        places = predicted(batch.weights)
        logits = self.model.logits(self.model.hidden(batch.read)[:, :-1][places])
        nats = weighted_cross_entropy(logits, batch.ids[:, 1:][places], batch.weights[:, 1:][places])
        return {"nats": nats, **measured}
