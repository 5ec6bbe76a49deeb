"""Reads params.yaml: what each stage of each profile is given.

params.yaml holds ``run_profiles`` (what plain ``dvc repro`` builds), ``common`` (the same in every profile) and
``profiles``. Below both, a key is a stage's name and its value holds that stage's parameters. A parameter stands
either in ``common`` or in every profile, never in both.
"""

from pathlib import Path
from typing import Any

import yaml

from vectok.layout import REPOSITORY

PARAMS_FILE = REPOSITORY / "params.yaml"


def read_params(path: Path = PARAMS_FILE) -> dict[str, Any]:
    """The whole of params.yaml."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def stage_parameters(profile: str, stage: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Parameters of one stage in one profile: the stage's own, ``seed``, ``scale`` and ``profile``.

    Arguments:
        profile: A key of ``profiles``.
        stage: A stage that has a section in ``common`` or in the profile.
        params: What :func:`read_params` gives, read when it is not given.
    Raises:
        ValueError: Unknown profile or stage, or a parameter that is both common and the profile's own.
    """
    params = read_params() if params is None else params
    profiles = params["profiles"]
    if profile not in profiles:
        raise ValueError(f"unknown profile {profile!r}: params.yaml has {', '.join(profiles)}")
    common, own = params["common"].get(stage, {}), profiles[profile].get(stage, {})
    if stage not in params["common"] and stage not in profiles[profile]:
        raise ValueError(f"unknown stage {stage!r}: profile {profile} has {', '.join(profiles[profile])}")
    if twice := sorted(common.keys() & own.keys()):
        raise ValueError(f"params.yaml: {', '.join(twice)} of stage {stage} stand in common and in {profile}: keep one")
    shared = {"profile": profile, "seed": params["common"]["seed"], "scale": params["common"]["scale"]}
    return {**shared, **common, **own}
