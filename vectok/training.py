"""The one training loop, for plain and for adversarial objectives alike.

A batch is a pure function of (seed, index), so that a killed run goes on exactly where it was: the state that it saves
every few steps holds weights, optimisers, the random state and the history, and nothing else is needed. On several
processes each takes its own indices and the gradients are averaged before every step.
"""

import hashlib
import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor, nn
from tqdm import tqdm

from vectok.muon import Muon

Batch = TypeVar("Batch")
Optimisers = dict[str, list[torch.optim.Optimizer]]  # of every player


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How long and how an objective is trained.

    Arguments:
        n_steps: Optimiser steps of every player.
        learning_rate: Peak, reached after the warm-up.
        n_warmup_steps: Linear rise from zero.
        final_rate: Share of the peak that the cosine ends at.
        betas: Adam's two decay rates.
        weight_decay: Of both optimisers, times the rate.
        muon_rate: Share of the rate that Muon takes for the matrices of stacked layers; 0 leaves all to AdamW.
        muon_iterations: Of Newton and Schulz, that Muon finds orthogonal factors by.
        max_gradient_norm: Gradients are clipped to it.
        precision: "bf16" or "no", as Accelerate names them, or "fastest" of the two (:func:`fastest_precision`).
        save_every_steps: Steps between two saved states.
        seed: Of weights, batches and dropout.
    """

    n_steps: int
    learning_rate: float
    n_warmup_steps: int = 0
    final_rate: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    muon_rate: float = 0.0
    muon_iterations: int = 5
    max_gradient_norm: float = 1.0
    precision: str = "bf16"
    save_every_steps: int = 200
    seed: int = 0


def _seconds_of_product(dtype: torch.dtype) -> float:
    """The shortest of several products of matrices as long as a batch and as wide as a feed-forward layer."""
    left, right, seconds = torch.ones(2048, 256, dtype=dtype), torch.ones(256, 1024, dtype=dtype), []
    for _ in range(10):
        started = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - started)
    return min(seconds)


@cache
def fastest_precision() -> str:
    """The precision that this machine multiplies faster in: "bf16" on a GPU, on a CPU what a measurement says.

    Processors with the same instructions differ: of two kinds with AVX-512 and bfloat16 one multiplies it faster than
    float32, the other half as fast (reports/LOG.md). A machine finds the same again: neither is near to equal.
    """
    if torch.cuda.is_available():
        return "bf16"
    return "bf16" if _seconds_of_product(torch.bfloat16) < _seconds_of_product(torch.float32) else "no"


class Objective(ABC, Generic[Batch]):
    """What a training minimises: players that take turns, each with its modules and its losses.

    A plain model has one player. A vocoder has two, ``discriminator`` and ``generator``, in that order.
    """

    @abstractmethod
    def players(self) -> dict[str, nn.Module]:
        """The module that each player optimises, in the order of their turns."""

    @abstractmethod
    def losses(self, player: str, batch: Batch, step: int) -> dict[str, Tensor]:
        """Named losses of one player, already weighted; the loop minimises their sum.

        An empty dict skips that player's turn (discriminators before their first step).
        """


def rate_at(step: int, config: TrainingConfig) -> float:
    r"""Learning rate: linear warm-up, then :math:`\eta (r + (1 - r) (1 + \cos \pi p) / 2)` at progress p.

    Example:
        >>> rate_at(0, TrainingConfig(n_steps=10, learning_rate=1.0, n_warmup_steps=2))
        0.5
    """
    if step < config.n_warmup_steps:
        return config.learning_rate * (step + 1) / config.n_warmup_steps
    progress = (step - config.n_warmup_steps) / max(1, config.n_steps - config.n_warmup_steps)
    cosine = 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * progress))))
    return config.learning_rate * (config.final_rate + (1 - config.final_rate) * cosine)


def _save(path: Path, fingerprint: str, step: int, players: dict, optimisers: Optimisers, history: list[dict]) -> None:
    """Writes the state beside its place and moves it there, so that no half-written state is ever read."""
    state = {
        "fingerprint": fingerprint,
        "step": step,
        "players": {name: module.state_dict() for name, module in players.items()},
        "optimisers": {name: [each.state_dict() for each in own] for name, own in optimisers.items()},
        "random": torch.get_rng_state(),
        "history": json.dumps(history),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path.with_suffix(".partial"))
    os.replace(path.with_suffix(".partial"), path)


def _fingerprint(config: TrainingConfig, players: dict[str, nn.Module], batch: object) -> str:
    """Hash of what a state belongs to: the configuration, the shapes of the weights, and the data, by a first batch."""
    digest = hashlib.sha256(repr(config).encode())
    for name, module in players.items():
        digest.update(repr([(name, key, tuple(value.shape)) for key, value in module.state_dict().items()]).encode())

    def add(part: object) -> None:
        if isinstance(part, Tensor):
            digest.update(part.detach().cpu().contiguous().numpy().tobytes())
        elif isinstance(part, dict):
            add(tuple(part.items()))
        elif isinstance(part, (tuple, list)):
            for inner in part:
                add(inner)
        else:
            digest.update(repr(part).encode())

    add(batch)
    return digest.hexdigest()


def _resume(path: Path, fingerprint: str, players: dict, optimisers: Optimisers) -> tuple[int, list[dict]]:
    """Loads the state when there is one of the same training: the next step and the history so far."""
    if not path.exists():
        return 0, []
    state = torch.load(path, weights_only=True)
    if state.get("fingerprint") != fingerprint:
        print(f"{path}: left by another configuration, model or data, starting afresh")
        return 0, []
    for name, module in players.items():
        module.load_state_dict(state["players"][name])
        for optimiser, saved in zip(optimisers[name], state["optimisers"][name], strict=True):
            optimiser.load_state_dict(saved)
    torch.set_rng_state(state["random"])
    return state["step"], json.loads(state["history"])


def _turn(
    accelerator: Accelerator,
    losses: dict[str, Tensor],
    module: nn.Module,
    optimisers: list[torch.optim.Optimizer],
    limit: float,
) -> dict[str, float]:
    """One step of one player's optimisers. Fails on a loss that is not finite."""
    total = sum(losses.values())
    values = {name: float(loss.detach()) for name, loss in losses.items()}
    if not torch.isfinite(total):
        raise FloatingPointError(f"a loss is not finite: {values}")
    module.zero_grad(set_to_none=True)
    accelerator.backward(total)
    if accelerator.num_processes > 1:
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.grad = accelerator.reduce(parameter.grad, "mean")
    accelerator.clip_grad_norm_(module.parameters(), limit)
    for optimiser in optimisers:
        optimiser.step()
    return values


def hidden_matrices(module: nn.Module) -> list[nn.Parameter]:
    """Matrices of stacked layers, those in a ``ModuleList``: neither embeddings nor what reads inputs or predicts."""
    stacks = [part for part in module.modules() if isinstance(part, nn.ModuleList)]
    stacked = (each for stack in stacks for each in stack.parameters())
    return list({id(each): each for each in stacked if each.ndim == 2 and each.requires_grad}.values())


def _optimisers(module: nn.Module, config: TrainingConfig) -> list[torch.optim.Optimizer]:
    """AdamW over what the module lets train; where Muon has a rate, Muon over its hidden matrices.

    *Deviation*: Muon takes about half the steps of AdamW here, each a sixth longer (reports/LOG.md).
    """
    hidden = hidden_matrices(module) if config.muon_rate else []
    taken = set(map(id, hidden))
    others = [each for each in module.parameters() if each.requires_grad and id(each) not in taken]
    adam = torch.optim.AdamW([{"params": others, "share": 1.0}], betas=config.betas, weight_decay=config.weight_decay)
    if not hidden:
        return [adam]
    group = {"params": hidden, "share": config.muon_rate}
    return [adam, Muon([group], config.weight_decay, config.muon_iterations)]


def _set_rate(optimisers: list[torch.optim.Optimizer], rate: float) -> None:
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate * group["share"]


def finish(state_folder: Path) -> None:
    """Clears the saved state, once the trained model is in its place."""
    (state_folder / "state.pt").unlink(missing_ok=True)


def fit(
    objective: Objective[Batch],
    batch_at: Callable[[int], Batch],
    config: TrainingConfig,
    state_folder: Path,
    label: str,
) -> pd.DataFrame:
    """Trains an objective for exactly ``config.n_steps`` steps, going on from a saved state when there is one.

    Arguments:
        objective: Players and their losses. Its modules are trained in place and end in evaluation mode.
        batch_at: The batch of an index; the same index always gives the same batch.
        config: Steps, rates and precision.
        state_folder: Holds ``state.pt`` while the training runs; :func:`finish` clears it.
        label: Stands before the progress bar.
    Returns: One row a step: ``step``, ``learning_rate``, and each named loss.
    Raises:
        FloatingPointError: A loss became NaN or infinite.
    """
    precision = fastest_precision() if config.precision == "fastest" else config.precision
    accelerator = Accelerator(mixed_precision=precision, cpu=not torch.cuda.is_available())
    accelerator.print(f"{label}: trained in {'fp32' if precision == 'no' else precision}")
    players = {name: module.to(accelerator.device).train() for name, module in objective.players().items()}
    optimisers = {name: _optimisers(module, config) for name, module in players.items()}
    state = state_folder / "state.pt"
    fingerprint = _fingerprint(config, players, batch_at(0))
    start, history = _resume(state, fingerprint, players, optimisers)
    bar = tqdm(range(start, config.n_steps), initial=start, total=config.n_steps, desc=label, mininterval=10)
    for step in bar:
        index = step * accelerator.num_processes + accelerator.process_index
        batch = send_to_device(batch_at(index), accelerator.device)
        row = {"step": step, "learning_rate": rate_at(step, config)}
        for name, module in players.items():
            _set_rate(optimisers[name], row["learning_rate"])
            with accelerator.autocast():
                losses = objective.losses(name, batch, step)
            row |= _turn(accelerator, losses, module, optimisers[name], config.max_gradient_norm) if losses else {}
        history.append(row)
        bar.set_postfix({k: f"{v:.3f}" for k, v in row.items() if k not in ("step", "learning_rate")}, refresh=False)
        if (step + 1) % config.save_every_steps == 0 and accelerator.is_main_process:
            _save(state, fingerprint, step + 1, players, optimisers, history)
    for module in players.values():
        module.eval()
    return pd.DataFrame(history)
