"""What a vocoder's training minimises: spectra first, then judges too. One objective for every kind of vocoder."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vectok.training import Objective
from vectok.vocoder.base import TrainingPass, Vocoder
from vectok.vocoder.discriminators import Discriminators
from vectok.vocoder.losses import (
    Spectra,
    SpectralConfig,
    deception_loss,
    discriminator_loss,
    feature_matching,
    spectral_distance,
    spectral_energy_distance,
)
from vectok.vocoder.pitch import Pitch


class VocoderBatch(NamedTuple):
    """Crops of one length: vectors and pitch with the vocoder's context on both sides, audio without it."""

    vectors: Float[Tensor, "batch frames dim"]
    pitch: Pitch
    audio: Float[Tensor, "batch samples"]


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Weights of the losses.

    Arguments:
        n_steps_before_adversarial: Spectral losses alone until then.
        judge_every_steps: Steps between two turns of the judges; 1 is HiFi-GAN's. Theirs is half the work of a step.
        mel_weight, linear_weight: Of the two spectral distances.
        repulsion: Of the spectral energy distance, where a generator gives two draws: 0 is the plain distance.
        feature_weight: Of feature matching.
        adversarial_weight: Of deceiving the judges.
    Raises:
        ValueError: ``judge_every_steps`` is less than one.
    """

    n_steps_before_adversarial: int
    judge_every_steps: int = 1
    mel_weight: float = 45.0
    linear_weight: float = 0.0
    repulsion: float = 1.0
    feature_weight: float = 2.0
    adversarial_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.judge_every_steps < 1:
            raise ValueError(f"expected judge_every_steps of 1 or more, got {self.judge_every_steps}")


class VocoderObjective(Objective[VocoderBatch]):
    """Adversarial training of a generator: players ``discriminator``, then ``generator``.

    Source: HiFi-GAN, section 2.4. *Deviation*: both turns of a step share one pass of the generator; in the embedded
    profile the judges learn in every second step (reports/LOG.md).
    """

    def __init__(
        self, vocoder: Vocoder, discriminators: Discriminators, config: ObjectiveConfig, spectral: SpectralConfig
    ) -> None:
        self.vocoder, self.discriminators, self.config = vocoder, discriminators, config
        self.spectra = Spectra(spectral)
        self._shared: tuple[int, TrainingPass] | None = None

    def players(self) -> dict[str, nn.Module]:
        """The judges move first, on the generator's audio of this step."""
        return {"discriminator": self.discriminators, "generator": self.vocoder}

    def losses(self, player: str, batch: VocoderBatch, step: int) -> dict[str, Tensor]:
        """Weighted losses of one player; the judges' turn is empty before their first step and when they sit out."""
        n_adversarial = step - self.config.n_steps_before_adversarial
        adversarial = n_adversarial >= 0
        if player == "discriminator":
            turn = adversarial and n_adversarial % self.config.judge_every_steps == 0
            return self._discriminator_losses(batch, step) if turn else {}
        generated = self._pass_of(batch, step)
        self._shared = None
        losses = self._spectral_losses(batch, generated) | generated.losses
        return losses | (self._deceptions(batch, generated) if adversarial else {})

    def _pass_of(self, batch: VocoderBatch, step: int) -> TrainingPass:
        """The generator's pass of this step, made once: its weights do not change between the two turns."""
        if self._shared is None or self._shared[0] != step:
            self._shared = (step, self.vocoder.training_pass(batch.vectors, batch.pitch))
        return self._shared[1]

    def _discriminator_losses(self, batch: VocoderBatch, step: int) -> dict[str, Tensor]:
        generated = self._pass_of(batch, step).audio.detach()
        self.discriminators.requires_grad_(True)
        # One pass over both: half the overhead of two.
        judged = self.discriminators(torch.cat([batch.audio, generated]))
        halves = [judgement.score.chunk(2) for judgement in judged]
        return {"discriminator": discriminator_loss([h[0] for h in halves], [h[1] for h in halves])}

    def _deceptions(self, batch: VocoderBatch, generated: TrainingPass) -> dict[str, Tensor]:
        self.discriminators.requires_grad_(False)
        with torch.no_grad():
            real = self.discriminators(batch.audio)
        judged = self.discriminators(generated.audio)
        match = feature_matching([j.features for j in real], [j.features for j in judged])
        return {
            "deception": self.config.adversarial_weight * deception_loss([j.score for j in judged]),
            "features": self.config.feature_weight * match,
        }

    def _spectral_losses(self, batch: VocoderBatch, generated: TrainingPass) -> dict[str, Tensor]:
        with torch.autocast(batch.audio.device.type, enabled=False):
            distances = self.distances(batch.audio, generated)
        weights = {"mel": self.config.mel_weight, "linear": self.config.linear_weight}
        return {kind: weights[kind] * distance for kind, distance in distances.items()}

    def distances(self, audio: Float[Tensor, "batch samples"], generated: TrainingPass) -> dict[str, Tensor]:
        """Unweighted spectral distances: of energy where there are two draws, else plain."""
        self.spectra.to(audio.device)
        target, first = self.spectra(audio), self.spectra(generated.audio.float())
        if generated.second is None:
            return spectral_distance(target, first)
        second = self.spectra(generated.second.float())
        return spectral_energy_distance(target, first, second, self.config.repulsion)
