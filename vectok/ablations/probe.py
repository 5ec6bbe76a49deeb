"""Where the speaker sits: mean normalisation on and off, by layer and by size of the codebook, of several encoders."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from vectok.ablations import speaker, units
from vectok.ablations.tables import row_of, wide
from vectok.alignment import Alignments
from vectok.encoders import SpeechEncoder
from vectok.evaluation.statistics import Interval, interval
from vectok.evaluation.tables import COLUMNS, Draws
from vectok.kmeans import KMeansConfig, fit_in_memory, nearest
from vectok.probe import choose_for_speakers
from vectok.store import FeatureStore

REMOVED, KEPT = "mean removed", "mean kept"
BATCH_UTTERANCES = 16  # encoded at once


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Sizes of the probe.

    Arguments:
        n_speaker_utterances: Of each speaker.
        n_content_utterances: Aligned recordings of each language, and as many renditions in pseudo voices.
        n_triples: ABX triples of each language, within and across voices.
        n_fit_frames: Frames that a codebook is fitted on, at most.
        n_iterations: Lloyd iterations, at most.
        n_draws: Bootstrap draws.
        n_eer_draws: Of each equal error rate.
        seed: Of everything.
    """

    n_speaker_utterances: int
    n_content_utterances: int
    n_triples: int
    n_fit_frames: int
    n_iterations: int
    n_draws: int
    n_eer_draws: int
    seed: int


class Material(NamedTuple):
    """Utterances of the probe: for speakers, for content (recordings and renditions), and the triples of ABX.

    ``origin`` names the recording whose alignment a rendition has.
    """

    speakers: pd.DataFrame
    content: pd.DataFrame
    alignments: Alignments
    triples: dict[str, list[units.Triple]]


class Layer(NamedTuple):
    """Standardised vectors of one layer, by utterance."""

    speakers: dict[str, Float[np.ndarray, "_frames dim"]]
    content: dict[str, Float[np.ndarray, "_frames dim"]]


def _aligned(store: FeatureStore, alignments: Alignments, config: ProbeConfig) -> pd.DataFrame:
    """Aligned training utterances of a store, so many of each language."""
    index = store.index[store.index["split"] == "train"]
    source = "source_utterance" if "source_utterance" in index else "utterance"
    index = index.assign(origin=index[source], pseudo=source == "source_utterance")
    index = index[[name in alignments for name in index["origin"]]].sample(frac=1, random_state=config.seed)
    return index.groupby("language").head(config.n_content_utterances).sort_values("utterance")


def material(real: FeatureStore, pseudo: FeatureStore, alignments: Alignments, config: ProbeConfig) -> Material:
    """Chooses the utterances, and draws the triples once for all representations.

    Arguments:
        real: Recordings.
        pseudo: Renditions in pseudo voices.
        alignments: Of the recordings.
        config: Sizes.
    """
    content = pd.concat([_aligned(store, alignments, config) for store in (real, pseudo)], ignore_index=True)
    words: dict[bool, dict[str, list]] = {False: {}, True: {}}
    for row in content.itertuples():
        found = units.suitable_words(row.utterance, alignments.words(row.origin))
        words[row.pseudo].setdefault(row.language, []).extend(found)
    triples = {
        "within a voice": units.draw_triples(words[False], words[False], config.n_triples, config.seed),
        "across voices": units.draw_triples(words[False], words[True], config.n_triples, config.seed),
    }
    chosen = choose_for_speakers(real.index, config.n_speaker_utterances, config.seed)
    return Material(chosen, content, alignments, triples)


def layers_of(
    encoder: SpeechEncoder, real: FeatureStore, pseudo: FeatureStore, given: Material
) -> Iterator[tuple[int, Layer]]:
    """Every layer's vectors of the probe's utterances, standardised over the recordings' content frames."""
    every, encoded, waiting = range(encoder.n_layers + 1), {}, {}
    stores = dict.fromkeys(given.speakers["utterance"], real)
    stores |= {row.utterance: pseudo if row.pseudo else real for row in given.content.itertuples()}
    for name in tqdm(stores, encoder.name, mininterval=10):
        waiting[name] = stores[name].audio(name)
        if len(waiting) == BATCH_UTTERANCES or len(waiting) + len(encoded) == len(stores):
            found = encoder.encode_batch(list(waiting.values()), every)
            encoded |= {each: vectors.half() for each, vectors in zip(waiting, found, strict=True)}
            waiting = {}
    reference = given.content.loc[~given.content["pseudo"], "utterance"]
    for layer in every:
        frames = torch.cat([encoded[name][layer] for name in reference]).float()
        mean, std = frames.mean(0), frames.std(0).clamp(min=1e-4)

        def standard(names: Sequence[str], layer: int = layer, mean: Tensor = mean, std: Tensor = std) -> dict:
            return {name: ((encoded[name][layer].float() - mean) / std).numpy() for name in names}

        yield layer, Layer(*(standard(part["utterance"].tolist()) for part in (given.speakers, given.content)))


def _normalised(vectors: Mapping[str, np.ndarray], removed: bool) -> dict[str, np.ndarray]:
    return {name: each - each.mean(0) if removed else each for name, each in vectors.items()}


def _interval(values: np.ndarray, speakers: Sequence, groups: Sequence, config: ProbeConfig) -> Interval:
    clips = pd.DataFrame({"speaker": speakers, "group": groups, "value": values.astype(float), "weight": 1.0})
    return interval(clips, Draws("probe", config.n_draws, config.seed).of(clips))


def speaker_rows(
    features: Float[np.ndarray, "utterances dim"], given: Material, system: str, condition: str, config: ProbeConfig
) -> list[dict]:
    """Accuracy and equal error rate of one representation."""
    rows = given.speakers
    found = speaker.judge(features, rows["speaker"].tolist(), config.n_eer_draws, config.seed)
    tried = rows[speaker.held_out(rows["speaker"].tolist())]
    accuracy = _interval(found.right, tried["speaker"].tolist(), tried["group"].astype(str).tolist(), config)
    name = f"{len(rows)} utterances of {rows['speaker'].nunique()} speakers"
    return [
        row_of(system, condition, "speaker_accuracy", name, accuracy),
        row_of(system, condition, "eer", name, found.eer),
    ]


def abx_rows(
    content: Mapping[str, np.ndarray], given: Material, system: str, condition: str, config: ProbeConfig
) -> list[dict]:
    """ABX errors within a voice and across voices."""
    rows = []
    for kind, triples in given.triples.items():
        if triples:
            errors = units.abx_errors(triples, content)
            languages, words = zip(*((triple.language, triple.word) for triple in triples), strict=True)
            found = _interval(errors, languages, words, config)
            metric = "abx_within" if kind == "within a voice" else "abx_across"
            rows.append(row_of(system, condition, metric, f"{len(triples)} triples {kind}", found))
    return rows


def pnmi_row(tokens: Mapping[str, np.ndarray], n_clusters: int, given: Material, system: str, condition: str) -> dict:
    """PNMI of the recordings' tokens over the characters of the alignment."""
    counts: dict[tuple[str, str], np.ndarray] = {}
    own = given.content[~given.content["pseudo"]]
    labels = {row.utterance: units.frame_characters(given.alignments.words(row.origin)) for row in own.itertuples()}
    for language, part in own.groupby("language"):
        letters = sorted({letter for name in part["utterance"] for letter in labels[name]})
        numbers = {letter: number for number, letter in enumerate(letters)}
        for row in part.itertuples():
            ids = [numbers[letter] for letter in labels[row.utterance]]
            table = units.table_of(ids, tokens[row.utterance], (len(letters), n_clusters))
            key = (str(language), str(row.group))
            counts[key] = counts.get(key, 0) + table
    return row_of(system, condition, "pnmi", f"{len(own)} utterances, characters", units.pnmi_interval(counts))


def codebook(vectors: Mapping[str, np.ndarray], names: Sequence[str], n_clusters: int, config: ProbeConfig) -> Tensor:
    """K-means on some utterances' frames as they stand, evenly spaced."""
    frames = np.concatenate([vectors[name] for name in names])
    frames = np.ascontiguousarray(frames[:: max(1, -(-len(frames) // config.n_fit_frames))])
    sizes = KMeansConfig(
        n_clusters=n_clusters, n_fit_frames=len(frames), n_iterations=config.n_iterations, seed=config.seed
    )
    return fit_in_memory(torch.from_numpy(frames), sizes).centroids


def token_rows(layer: Layer, given: Material, removed: bool, n_clusters: int, system: str, config: ProbeConfig) -> list:
    """All figures of the tokens of one layer, codebook size and kind of normalisation."""
    content, people = (_normalised(part, removed) for part in (layer.content, layer.speakers))
    recordings = given.content.loc[~given.content["pseudo"], "utterance"].tolist()
    centroids = codebook(content, recordings, n_clusters, config)
    said, spoken = (
        {name: nearest(torch.from_numpy(each), centroids).tokens.numpy() for name, each in part.items()}
        for part in (content, people)
    )
    condition = f"tokens, K {n_clusters}, {REMOVED if removed else KEPT}"
    shares = np.stack([speaker.histogram(spoken[name], n_clusters) for name in given.speakers["utterance"]])
    return [
        *speaker_rows(shares, given, system, condition, config),
        pnmi_row(said, n_clusters, given, system, condition),
        *abx_rows(said, given, system, condition, config),
    ]


def vector_rows(layer: Layer, given: Material, system: str, config: ProbeConfig) -> list[dict]:
    """Figures of the vectors of one layer: the speaker in the mean and around it, ABX with and without the mean."""
    rows = []
    for residual, name in ((False, "utterance mean"), (True, "residual, deviation by channel")):
        shown = np.stack([speaker.summary(layer.speakers[each], residual) for each in given.speakers["utterance"]])
        rows += speaker_rows(shown, given, system, name, config)
    for removed in (True, False):
        condition = f"vectors, {REMOVED if removed else KEPT}"
        rows += abx_rows(_normalised(layer.content, removed), given, system, condition, config)
    return rows


def probe(
    encoder: SpeechEncoder,
    real: FeatureStore,
    pseudo: FeatureStore,
    given: Material,
    clusters: Sequence[int],
    config: ProbeConfig,
) -> pd.DataFrame:
    """The whole grid of one encoder in tidy form, systems named ``<encoder>, layer <n>``.

    Arguments:
        encoder: Any.
        real: Recordings.
        pseudo: Renditions in pseudo voices.
        given: From :func:`material`.
        clusters: Sizes of the codebook.
        config: Sizes.
    """
    rows = []
    for number, layer in layers_of(encoder, real, pseudo, given):
        system = f"{encoder.name}, layer {number}"
        rows += vector_rows(layer, given, system, config)
        for n_clusters in tqdm(clusters, system, mininterval=10):
            for removed in (True, False):
                rows += token_rows(layer, given, removed, n_clusters, system, config)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def not_run(reasons: Mapping[str, str]) -> pd.DataFrame:
    """One row for each encoder whose weights are not installed, empty but for the reason."""
    nothing = Interval(np.nan, np.nan, np.nan, 0)
    rows = [
        row_of(name, "all", "pnmi", "none", nothing) | {"model": f"not run: {text}"} for name, text in reasons.items()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def page(table: pd.DataFrame, given: Material, config: ProbeConfig) -> str:
    """The table as a Markdown page."""
    run, left_out = table[table["n"] > 0], table[table["n"] == 0]
    people, sizes = given.speakers, {kind: len(triples) for kind, triples in given.triples.items()}
    note = (
        f"Speakers: {people['speaker'].nunique()}, language {', '.join(sorted(people['language'].unique()))}, "
        f"{len(people)} utterances, every third held out; named by a linear discriminant, verified by cosine (eer). "
        "PNMI over the characters, ABX over the words of the alignment stage: they stand in for phones, of which no "
        f"corpus here has alignments. ABX triples: {sizes}; across voices, X is a pseudo voice. Codebooks of up to "
        f"{config.n_fit_frames:,} frames of recordings. Brackets: 95 %; bootstrap of {config.n_draws:,} draws "
        f"({config.n_eer_draws:,} for eer, over speakers and their trials); of pnmi the jackknife over prompt groups. "
        "Conditional on these speakers where they are fewer than ten."
    )
    lines = [f"- {row.system}: {row.model}" for row in left_out.itertuples()]
    return "\n\n".join(["### Where the speaker sits", note, wide(run), *lines]) + "\n"
