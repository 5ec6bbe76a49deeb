"""Objectives of one model that is measured on held-out speech while it is trained."""

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from vectok.training import Batch, Objective

Model = TypeVar("Model", bound=nn.Module)


class MeasuredObjective(Objective[Batch], Generic[Model, Batch]):
    """Trains one model, and measures it on the way.

    Arguments:
        model: Trained in place.
        measure: Numbers of the model on held-out speech, by name; they enter the history of the training.
        every_steps: Steps between two measurements; the first is at step 0.
    """

    def __init__(self, model: Model, measure: Callable[[Model], dict[str, float]], every_steps: int) -> None:
        self.model, self.measure, self.every_steps = model, measure, every_steps

    def measured(self, step: int, device: torch.device) -> dict[str, Tensor]:
        """What is measured at this step, if anything: constants, so that they have no gradient but a history."""
        if step % self.every_steps:
            return {}
        self.model.eval()
        found = self.measure(self.model)
        self.model.train()
        return {name: torch.tensor(value, device=device) for name, value in found.items()}
