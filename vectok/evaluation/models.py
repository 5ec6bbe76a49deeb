"""What a scoring model is to the rest: a name, a version, and clips in, values out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from vectok.reproducibility import N_THREADS

Part, Result = TypeVar("Part"), TypeVar("Result")


class ModelMissing(RuntimeError):
    """A scoring model is not installed. Its metrics are reported as not run; no other model takes its place."""


def package_file(package: str, *parts: str) -> Path:
    """A data file inside an installed package, found without importing the package.

    Raises:
        ModelMissing: The package or the file is not there.
    """
    from importlib.util import find_spec

    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModelMissing(f"{package}: not installed; run make env")
    path = Path(spec.origin).parent.joinpath(*parts)
    if not path.is_file():
        raise ModelMissing(f"{package}: {'/'.join(parts)} is missing; reinstall it")
    return path


def side_by_side(work: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """Works on several parts at a time, a thread each, and gives the results in their order.

    Networks as small as these share no two cores well; one thread a part also keeps sums in one order.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(N_THREADS) as pool:
            return list(pool.map(work, parts))
    finally:
        torch.set_num_threads(n_threads)


class Scorer(ABC):
    """One scoring model. Evaluators are never a loss, a reward or a selection rule."""

    name: str
    uses_language: bool = False

    @property
    @abstractmethod
    def model(self) -> str:
        """Model, version and settings: the key of the cache, and what the tables print."""

    @abstractmethod
    def score(self, clips: list[Tensor], languages: list[str]) -> list:
        """One JSON value a clip (text, number, list or dict), in the order given."""
