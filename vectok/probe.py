"""What each layer of an encoder holds: the sound, the content, the speaker.

The embedded layer was chosen by the first two.

Three questions, each answered on utterances that the map was not fitted on:

- ``acoustic_r2``: how much of the 80-band log-mel spectrum a ridge regression recovers, which bounds the vocoder;
- ``content_agreement``: whether a frame keeps its K-means token when the same words are said in another voice (pitch
  and formants moved, the same instants, one second later, for Whisper adds positions), as Cohen's kappa (0 by chance, 1
  always). It stands in for phone information, which needs alignments that these corpora do not have: what survives a
  change of voice is content;
- ``speaker_from_mean`` and ``speaker_from_residual``: accuracy of a linear classifier of the speaker, once on the
  utterance mean and once on the deviation of each channel around it, which is what a linear reader can still see when
  the mean is gone. The paper removes the mean to remove the speaker.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.metrics import cohen_kappa_score, r2_score
from torch import Tensor
from tqdm import tqdm

from vectok.augment import Voice
from vectok.encoders import SpeechEncoder
from vectok.encoders.whisper import log_mel, mel_filters
from vectok.extraction import Utterance
from vectok.frames import SAMPLES_PER_FRAME, frames_of_samples, samples_of_frames

N_MELS = 80
N_CLUSTERS = 100
RIDGE_PENALTY = 10.0
HELD_OUT_EVERY = 3  # every third utterance of a speaker
SHORTEST_SECONDS, LONGEST_SECONDS = 1.6, 6.0
FEWEST_SPEAKERS = 3
LATER_FRAMES = 50
OTHER_VOICES = ((0.7, 0.87), (1.35, 1.12))  # pitch and formant factors: a man's and a child's way from a woman's voice


class Spoken(NamedTuple):
    """Utterances with the vectors of all layers, standardised over all frames together, and what goes with them.

    Arguments:
        vectors: [layers, frames, dim] of each utterance.
        other_voice: The same with pitch and formants moved; empty where only the speaker is asked for.
        mels: [frames, 80] of each utterance; empty likewise.
        speakers: Of each utterance.
        held_out: Whether an utterance is kept from fitting.
    """

    vectors: list[Float[Tensor, "layers _frames dim"]]
    other_voice: list[Float[Tensor, "layers _frames dim"]]
    mels: list[Float[Tensor, "_frames mels"]]
    speakers: list[str]
    held_out: list[bool]


def _suitable(manifest: pd.DataFrame) -> pd.DataFrame:
    return manifest[manifest["seconds"].between(SHORTEST_SECONDS, LONGEST_SECONDS)]


def choose_for_content(manifest: pd.DataFrame, n_each: int, seed: int) -> pd.DataFrame:
    """Training utterances of 1.6 to 6 s, ``n_each`` of each speaker, shuffled within the speaker."""
    rows = _suitable(manifest[manifest["split"] == "train"]).sample(frac=1, random_state=seed)
    return rows.groupby("speaker").head(n_each).sort_values("speaker", kind="stable").reset_index(drop=True)


def choose_for_speakers(manifest: pd.DataFrame, n_each: int, seed: int) -> pd.DataFrame:
    """``n_each`` utterances of 1.6 to 6 s of every speaker who has them, of the language with the most such speakers.

    One language keeps the classifier from naming speakers by their language. A corpus with one speaker a language gives
    all of them instead.
    """
    rows = _suitable(manifest).sample(frac=1, random_state=seed)
    counts = rows.groupby(["language", "speaker"]).size().reset_index(name="count")
    counts = counts[counts["count"] >= min(n_each, counts["count"].max())]
    languages = counts["language"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    if languages.iloc[0] >= FEWEST_SPEAKERS:
        counts = counts[counts["language"] == languages.index[0]]
    rows = rows.merge(counts[["language", "speaker"]], on=["language", "speaker"])
    return rows.groupby("speaker").head(n_each).sort_values("speaker", kind="stable").reset_index(drop=True)


def collect(encoder: SpeechEncoder, utterances: Sequence[Utterance], with_content: bool, label: str) -> Spoken:
    """Encodes the probe's utterances at every layer, a third of each speaker's held out.

    Arguments:
        with_content: Also make log-mels, and encode every utterance in another voice.
        label: Stands before the progress bar.
    """
    layers, filters = range(encoder.n_layers + 1), mel_filters(N_MELS)
    spoken = Spoken([], [], [], [], [])
    for number, utterance in enumerate(tqdm(utterances, desc=label, mininterval=10)):
        audio = utterance.read()
        spoken.vectors.append(encoder.encode_layers(audio, layers))
        spoken.speakers.append(str(utterance.metadata["speaker"]))
        spoken.held_out.append(spoken.speakers.count(spoken.speakers[-1]) % HELD_OUT_EVERY == 0)
        if with_content:
            pitch, formant = OTHER_VOICES[number % len(OTHER_VOICES)]
            other = Voice(speaker="", pitch=pitch, formant=formant).apply(audio)
            later = torch.nn.functional.pad(other, (samples_of_frames(LATER_FRAMES), 0))
            spoken.other_voice.append(encoder.encode_layers(later, layers)[:, LATER_FRAMES:])
            spoken.mels.append(frame_mels(audio, filters))
    return _standardised(spoken)


def frame_mels(audio: Float[Tensor, " samples"], filters: Float[Tensor, "mels bins"]) -> Float[Tensor, "frames mels"]:
    """Log-mel spectrum with one row a frame: the mean of its two steps of 10 ms."""
    n_frames = frames_of_samples(len(audio))
    whole = torch.nn.functional.pad(audio, (0, n_frames * SAMPLES_PER_FRAME - len(audio)))
    return log_mel(whole, filters).T.reshape(n_frames, 2, -1).mean(1)


def _standardised(spoken: Spoken) -> Spoken:
    """Mean 0 and deviation 1 a channel and layer."""
    everything = torch.cat(spoken.vectors, dim=1)
    mean, std = everything.mean(1, keepdim=True), everything.std(1, keepdim=True).clamp(min=1e-4)
    own, other = ([(vectors - mean) / std for vectors in part] for part in (spoken.vectors, spoken.other_voice))
    return spoken._replace(vectors=own, other_voice=other)


def _joined(parts: Sequence[Tensor], held_out: Sequence[bool], wanted: bool) -> np.ndarray:
    """Frames of the utterances that are held out, or of the others."""
    return torch.cat([part for part, held in zip(parts, held_out, strict=True) if held == wanted]).numpy()


def acoustic_r2(spoken: Spoken, layer: int) -> float:
    """Share of the held-out log-mel variance that a ridge regression from the vectors explains."""
    vectors = [v[layer] for v in spoken.vectors]
    x, x_test = (_joined(vectors, spoken.held_out, held) for held in (False, True))
    y, y_test = (_joined(spoken.mels, spoken.held_out, held) for held in (False, True))
    predicted = Ridge(alpha=RIDGE_PENALTY).fit(x, y).predict(x_test)
    return float(r2_score(y_test, predicted, multioutput="variance_weighted"))


def content_agreement(spoken: Spoken, layer: int, seed: int) -> float:
    """Agreement (kappa) of the held-out frames' tokens in two voices; 100 clusters, utterance means off."""
    own, other = ([_residual(v[layer]) for v in part] for part in (spoken.vectors, spoken.other_voice))
    fit = _joined(own, spoken.held_out, False)
    kmeans = KMeans(min(N_CLUSTERS, max(2, len(fit) // 10)), n_init=1, max_iter=20, random_state=seed).fit(fit)
    first, second = (kmeans.predict(_joined(part, spoken.held_out, True)) for part in (own, other))
    return float(cohen_kappa_score(first, second))


def speaker_accuracy(spoken: Spoken, layer: int, residual: bool) -> float:
    """Share of held-out utterances whose speaker a linear discriminant names right.

    Arguments:
        residual: Judge the deviation of each channel around the utterance mean, and not the mean.
    """
    pooled = [v[layer].std(0, keepdim=True) if residual else v[layer].mean(0, keepdim=True) for v in spoken.vectors]
    fit, test = (_joined(pooled, spoken.held_out, held) for held in (False, True))
    labels, expected = (
        [speaker for speaker, held in zip(spoken.speakers, spoken.held_out, strict=True) if held == wanted]
        for wanted in (False, True)
    )
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(fit, labels)
    return float(np.mean(model.predict(test) == np.array(expected)))


def _residual(vectors: Float[Tensor, "frames dim"]) -> Float[Tensor, "frames dim"]:
    return vectors - vectors.mean(0)


def probe_layers(content: Spoken, speakers: Spoken, seed: int) -> pd.DataFrame:
    """All figures, one row a layer: acoustic_r2, content_agreement, speaker_from_mean, speaker_from_residual."""
    return pd.DataFrame(
        {
            "layer": layer,
            "acoustic_r2": acoustic_r2(content, layer),
            "content_agreement": content_agreement(content, layer, seed),
            "speaker_from_mean": speaker_accuracy(speakers, layer, residual=False),
            "speaker_from_residual": speaker_accuracy(speakers, layer, residual=True),
        }
        for layer in tqdm(range(len(content.vectors[0])), desc="layers", mininterval=10)
    )
