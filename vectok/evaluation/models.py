"""What a scoring model is to the rest: a name, a version, and clips in, values out."""

from abc import ABC, abstractmethod
from pathlib import Path

from torch import Tensor


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
        raise ModelMissing(f"{package}: not installed; run make setup")
    path = Path(spec.origin).parent.joinpath(*parts)
    if not path.is_file():
        raise ModelMissing(f"{package}: {'/'.join(parts)} is missing; reinstall it")
    return path


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
