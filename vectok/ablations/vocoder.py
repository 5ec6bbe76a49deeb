"""Short tunings of the pipeline's vocoder: on true vectors, on reconstructed ones, or on both."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from vectok.ablations.settings import build
from vectok.codec import InverseKMeans
from vectok.evaluation.task_tables import SCORE_COLUMNS
from vectok.frames import frames_of_seconds
from vectok.reproducibility import seed_everything
from vectok.store import PARTS, open_parts
from vectok.tokens import TokenTable, tokens_file
from vectok.training import TrainingConfig, fit
from vectok.vocoder import base
from vectok.vocoder.batches import CropConfig, CropSampler, Source, spread, utterances_of
from vectok.vocoder.checks import held_out
from vectok.vocoder.discriminators import load_discriminators
from vectok.vocoder.losses import Spectra, SpectralConfig
from vectok.vocoder.objective import ObjectiveConfig, VocoderObjective
from vectok.vocoder.pitch import PitchConfig
from vectok.vocoder.reconstruction import promptable, reconstruct

METRICS = ("mel", "linear", "f0_rmse_cents", "f0_gross_share", "voicing_error")


class Material(NamedTuple):
    """What every variant is tuned and judged on: each part of the features, true and reconstructed; dev likewise."""

    true: list[Source]
    reconstructed: list[Source]
    dev: dict[str, Source]


def material(data: Path, parameters: Mapping[str, Any]) -> Material:
    """Reconstructs training and dev utterances once for all variants.

    Arguments:
        data: The profile's data folder.
        parameters: ``n_reconstructed``, ``prompt_seconds``, ``crop_frames``, ``dev_per_language``, ``seed``.
    """
    generator = torch.Generator().manual_seed(parameters["seed"])
    codec, n_prompt = InverseKMeans.load(data / "codec"), frames_of_seconds(parameters["prompt_seconds"])
    true, reconstructed, seed = [], [], parameters["seed"]
    parts = open_parts(data / "features")
    tables = {part: TokenTable(store, tokens_file(data / "kmeans", part)) for part, store in parts.items()}
    for part, store in parts.items():
        train = promptable(store, utterances_of(store, PARTS[part], min_frames=parameters["crop_frames"]))
        order = torch.randperm(len(train), generator=generator).tolist()[: parameters["n_reconstructed"]]
        chosen = [train[place] for place in order]
        true.append(Source(store, chosen).track(PitchConfig()))
        reconstructed.append(Source(store, chosen, reconstruct(codec, store, tables[part], chosen, n_prompt, seed)))
        reconstructed[-1].pitches = true[-1].pitches
    recordings = parts["store"]
    dev = spread(recordings, utterances_of(recordings, "dev", min_frames=50), parameters["dev_per_language"])
    given_back = reconstruct(codec, recordings, tables["store"], dev, n_prompt, seed + 1)
    sources = {"true vectors": Source(recordings, dev), "reconstructed vectors": Source(recordings, dev, given_back)}
    return Material(true, reconstructed, sources)


def shares_of_voices(parameters: Mapping[str, Any], n_parts: int) -> tuple[float, ...]:
    """Shares of the crops in real, pseudo and lent voices; where there are no lent ones, theirs is the real ones'."""
    pseudo, lent = parameters["augmented_share"], parameters["voices_share"] if n_parts > 2 else 0.0
    return (1 - pseudo - lent, pseudo, lent)[:n_parts]


def tune(data: Path, given: Material, parameters: Mapping[str, Any], state: Path, label: str) -> base.Vocoder:
    """Tunes the pipeline's vocoder as one variant does; with no steps it stays as it is.

    Arguments:
        data: The profile's data folder.
        given: From :func:`material`.
        parameters: Of the variant, by the names of params.yaml.
        state: Its own folder of saved states.
        label: Stands before the progress bar.
    """
    seed_everything(parameters["seed"])
    vocoder = base.load(data / "vocoder")
    if not parameters["n_steps"]:
        return vocoder
    judges = load_discriminators(data / "vocoder")
    of_voices = shares_of_voices(parameters, len(given.true))
    of_vectors = (1 - parameters["reconstructed_share"], parameters["reconstructed_share"])
    crops = CropConfig(
        n_frames=parameters["crop_frames"],
        batch_size=parameters["batch_size"],
        context_frames=vocoder.context_frames,
        shares=tuple(vectors * voices for vectors in of_vectors for voices in of_voices),
        seed=parameters["seed"],
    )
    batches = CropSampler([*given.true, *given.reconstructed], crops)
    weights = build(ObjectiveConfig, {**parameters, "n_steps_before_adversarial": 0})
    spectral = SpectralConfig(n_ffts=tuple(parameters["n_ffts"]))
    betas = (parameters["first_beta"], parameters["second_beta"])
    training = build(TrainingConfig, {**parameters, "betas": betas})
    fit(VocoderObjective(vocoder, judges, weights, spectral), batches, training, state, label)
    return vocoder


def score(vocoder: base.Vocoder, given: Material, parameters: Mapping[str, Any], system: str) -> pd.DataFrame:
    """Spectral distances and pitch errors of dev utterances; true and reconstructed vectors are the conditions.

    Arguments:
        vocoder: Tuned or not.
        given: From :func:`material`.
        parameters: Of the variant.
        system: Its name.
    """
    spectra, rows = Spectra(SpectralConfig(n_ffts=tuple(parameters["n_ffts"]))), []
    for condition, source in given.dev.items():
        index = source.store.index.set_index("utterance")
        for row in held_out(vocoder, source, spectra, system).to_dict("records"):
            key = (row["utterance"], index.at[row["utterance"], "speaker"], str(index.at[row["utterance"], "group"]))
            values = {name: float(row[name]) for name in METRICS}
            rows += [(system, condition, *key, name, value, 1.0) for name, value in values.items() if value == value]
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))
