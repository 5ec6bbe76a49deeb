"""Which ablations there are, and what every variant of one is trained with: overrides of keys of params.yaml.

params.yaml holds them under ``ablations``: the stage that an ablation varies, a sentence, and its variants, each a few
keys with other values. All else is the profile's own, with the sizes of the short trainings over it.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple, TypeVar

from vectok.config import read_params, stage_parameters

UPSTREAM = ("features", "kmeans", "bpe")  # stages whose keys a variant may override too
STATES = 3  # that a short training saves; the last one is that of its end, so that no variant is trained twice

Config = TypeVar("Config")


class Ablation(NamedTuple):
    """One ablation: the stage that it varies, what it asks, and the overrides of each variant by its name.

    ``baseline`` is the system that the others are compared with: a variant, or the one of ``<stage>_baseline``.
    """

    name: str
    stage: str
    question: str
    baseline: str
    variants: dict[str, dict[str, Any]]

    @property
    def borrows(self) -> bool:
        """Whether the baseline is another ablation's."""
        return self.baseline not in self.variants


def read_ablations(params: Mapping[str, Any] | None = None) -> dict[str, Ablation]:
    """All ablations of params.yaml by name."""
    params = read_params() if params is None else params
    return {
        name: Ablation(name, each["stage"], each["question"], each.get("baseline", "baseline"), each["variants"])
        for name, each in params["ablations"].items()
    }


def read_ablation(name: str, params: Mapping[str, Any] | None = None) -> Ablation:
    """One of them.

    Raises:
        ValueError: There is none of this name; those that there are are named.
    """
    every = read_ablations(params)
    if name not in every:
        raise ValueError(f"unknown ablation {name!r}: params.yaml has {', '.join(every)}")
    return every[name]


def variants(
    ablation: Ablation, profile: str, short: Mapping[str, Any], params: dict[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """All parameters of every variant: the profile's, the short training's over them, its own over these.

    Arguments:
        ablation: From :func:`read_ablation`.
        profile: A key of ``profiles``.
        short: Sizes of the short trainings and of their checks, which the notebook is given.
        params: What :func:`vectok.config.read_params` gives, read when it is not given.
    Returns: Parameters by variant, each with ``n_steps`` at its scale and the steps between two saved states.
    Raises:
        ValueError: A variant overrides a key that nothing has.
    """
    base = usual(ablation, profile, short, params)
    for name, overrides in ablation.variants.items():
        if unknown := sorted(set(overrides) - set(base)):
            raise ValueError(
                f"ablation {ablation.name}, {name}: {', '.join(unknown)} is no key of {', '.join(UPSTREAM)}, "
                f"{ablation.stage} or the notebook's own: take one of params.yaml"
            )
    return {name: _timed(base | overrides) for name, overrides in ablation.variants.items()}


def usual(
    ablation: Ablation, profile: str, short: Mapping[str, Any], params: dict[str, Any] | None = None
) -> dict[str, Any]:
    """All parameters of a variant that overrides nothing, before its steps are brought to scale.

    Arguments:
        ablation: From :func:`read_ablation`.
        profile: A key of ``profiles``.
        short: Sizes of the short trainings and of their checks.
        params: What :func:`vectok.config.read_params` gives, read when it is not given.
    """
    base: dict[str, Any] = {}
    for stage in (*UPSTREAM, ablation.stage):
        base |= stage_parameters(profile, stage, params)
    return {**base, **short}


def _timed(parameters: dict[str, Any]) -> dict[str, Any]:
    """Steps at their scale, rounded up so that the last saved state is the end of the training."""
    if "n_steps" not in parameters:
        return parameters
    share = parameters["scale"] * parameters.get("steps_share", 1.0)
    every = -(-round(share * parameters["n_steps"]) // STATES)
    return parameters | {"n_steps": STATES * every, "save_every_steps": max(1, every)}


def build(kind: type[Config], parameters: Mapping[str, Any]) -> Config:
    """A configuration from those parameters that bear the names of its fields.

    Example:
        >>> from vectok.kmeans import KMeansConfig
        >>> build(KMeansConfig, {"n_clusters": 3, "n_fit_frames": 9, "dim": 4}).n_clusters
        3
    """
    names = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in parameters.items() if name in names})


def slug(name: str) -> str:
    """A variant's name as a folder's.

    Example:
        >>> slug("no mask, 10 % replaced")
        'no_mask_10_replaced'
    """
    return "_".join("".join(letter if letter.isalnum() else " " for letter in name).split())
