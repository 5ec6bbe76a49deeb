"""What a vocoder does to held-out utterances: spectral distances, and the pitch of what it says."""

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from vectok.frames import samples_of_frames
from vectok.vocoder.base import Vocoder
from vectok.vocoder.batches import Source
from vectok.vocoder.losses import Spectra, spectral_distance
from vectok.vocoder.pitch import Pitch, PitchConfig, cents_error, track

GROSS_CENTS = 200.0  # a pitch further off is counted as gross, and left out of the fine error


def pitch_scores(spoken: Pitch, recorded: Pitch) -> dict[str, float]:
    """Fine error in cents (RMSE), share of gross errors on jointly voiced frames, and share of voicing errors."""
    cents = cents_error(spoken.f0_hz, recorded.f0_hz, spoken.voiced & recorded.voiced)
    fine = cents[cents.abs() <= GROSS_CENTS]
    return {
        "f0_rmse_cents": float(fine.square().mean().sqrt()) if len(fine) else float("nan"),
        "f0_gross_share": float((cents.abs() > GROSS_CENTS).float().mean()) if len(cents) else float("nan"),
        "voicing_error": float((spoken.voiced != recorded.voiced).float().mean()),
    }


@torch.inference_mode()
def scores_of(
    vocoder: Vocoder, vectors: Float[Tensor, "frames dim"], audio: Float[Tensor, " samples"], spectra: Spectra
) -> dict[str, float]:
    """Distances between what is synthesised from ``vectors`` and the recording ``audio`` of the same frames."""
    whole = pad(audio, (0, samples_of_frames(len(vectors)) - len(audio)))[None]
    spoken = vocoder.synthesize(vectors)[None]
    distances = spectral_distance(spectra(whole), spectra(spoken))
    config = PitchConfig()
    return {name: float(value) for name, value in distances.items()} | pitch_scores(
        track(spoken, config), track(whole, config)
    )


def held_out(vocoder: Vocoder, source: Source, spectra: Spectra, system: str) -> pd.DataFrame:
    """Scores of every utterance of a source, one row each, under the name ``system``."""
    rows = []
    for utterance in source.utterances:
        scores = scores_of(vocoder, source.vectors(utterance), source.store.audio(utterance), spectra)
        rows.append({"system": system, "utterance": utterance, **scores})
    languages = source.store.index.set_index("utterance")["language"]
    return pd.DataFrame(rows).assign(language=lambda frame: frame["utterance"].map(languages))
