"""Times a loaded system, component by component, and counts its parameters."""

import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vectok.api import VecTok
from vectok.evaluation.cost import N_REPEATS
from vectok.frames import SAMPLE_RATE_HZ
from vectok.kmeans import assign


class Timing(NamedTuple):
    """Median, least and greatest of the repeats, in seconds."""

    median: float
    least: float
    greatest: float


def timed(work: Callable[[], object], n_repeats: int = N_REPEATS) -> Timing:
    """Runs something once to warm up and then a few times."""
    work()
    seconds = []
    for _ in range(n_repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return Timing(median(seconds), min(seconds), max(seconds))


def device_name() -> str:
    """The processor that was timed, and how many threads it had."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads, fp32"


@torch.inference_mode()
def measure(model: VecTok, source: Float[Tensor, " samples"], target: Float[Tensor, " samples"]) -> dict:
    """Times each component of a conversion and counts its parameters.

    Arguments:
        model: A loaded system.
        source: About ten seconds of speech.
        target: A prompt of about three seconds.
    Returns: ``device``, ``audio_seconds``, ``rtf`` (component -> median, least, greatest) and ``n_parameters``.
    """
    encoding, prompt = model.encode(source), model.prompt_vectors(target)
    vectors, frames = model.codec.reconstruct(encoding.tokens, prompt), model.reader.vectorise(source)
    steps = {
        "encoder": lambda: model.reader.vectorise(source),
        "kmeans": lambda: assign(frames, model.codebook.centroids),
        "codec": lambda: model.codec.reconstruct(encoding.tokens, prompt),
        "vocoder": lambda: model.vocoder.synthesize(vectors),
        "convert": lambda: model.convert(source, target=target),
    }
    seconds = len(source) / SAMPLE_RATE_HZ
    parts = {"encoder": model.vectoriser.encoder, "codec": model.codec, "vocoder": model.vocoder}
    return {
        "device": device_name(),
        "audio_seconds": seconds,
        "rtf": {name: [value / seconds for value in timed(work)] for name, work in steps.items()},
        "n_parameters": {name: n_parameters(part) for name, part in parts.items()}
        | {"kmeans": model.codebook.centroids.numel()},
    }


def n_parameters(part: object) -> int:
    """Number of weights of a module, or of the modules that an encoder holds, blocks above its layer included."""
    modules = [part] if isinstance(part, nn.Module) else [m for m in vars(part).values() if isinstance(m, nn.Module)]
    return sum(parameter.numel() for module in modules for parameter in module.parameters())
