"""Short trainings of the inverse K-means model, and what they are judged by: without ASR, on dev and on voices never
seen.

Every score is free of any evaluator's network, so that choices may be made on it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from vectok.ablations import tokens
from vectok.ablations.settings import build, slug
from vectok.codebook import load_codebook
from vectok.codec import InverseKMeans, InverseKMeansConfig
from vectok.codec_check import POOL_FRAMES, compare, distance, first_frames, prompt_of
from vectok.codec_data import CodecBatches, CodecDataConfig, TokenisedStore
from vectok.codec_training import CodecObjective
from vectok.evaluation.task_tables import SCORE_COLUMNS
from vectok.frames import frames_of_seconds
from vectok.kmeans import assign
from vectok.reproducibility import seed_everything
from vectok.store import FeatureStore
from vectok.training import TrainingConfig, fit

UNSEEN = "unseen"
PROMPT_FRAMES = 600  # of a voice never seen that are kept for prompts, 12 s


class Voice(NamedTuple):
    """A target voice: a prompt of it, and other frames of it."""

    name: str
    prompt: Float[Tensor, "prompt dim"]
    pool: Float[Tensor, "pool dim"]


class Judge(NamedTuple):
    """What every variant is judged on.

    Arguments:
        store: All recordings.
        dev: Rows of its index.
        seen: Voices of training, by whom dev is converted.
        unseen: Voices never seen, likewise.
        centroids: Mean vectors of the pipeline's tokens; the nearest one tells whether an output still says the same.
        n_prompt: Frames of a prompt.
    """

    store: FeatureStore
    dev: pd.DataFrame
    seen: list[Voice]
    unseen: list[Voice]
    centroids: Float[Tensor, "clusters dim"]
    n_prompt: int


def limited(source: TokenisedStore, n_speakers: int, n_voices: int) -> TokenisedStore:
    """A source with fewer training voices: the first real speakers by name, of each so many pseudo voices.

    Arguments:
        source: Recordings, or renditions, whose speakers are named ``<real speaker>~<factors>``.
        n_speakers: Real speakers that train; 0 for all.
        n_voices: Pseudo voices of each, the ones with the most utterances; at most.
    """
    index = source.store.index
    real, pseudo = index["speaker"].str.split("~").str[0], index["speaker"].str.contains("~")
    kept = sorted(real[index["split"] == "train"].unique())[: n_speakers or None]
    sizes = index[pseudo].groupby([real, "speaker"]).size().sort_values(ascending=False, kind="stable")
    voices = sizes.groupby(level=0).head(n_voices).index.get_level_values(1)
    rows = (index["split"] != "train") | (real.isin(kept) & (~pseudo | index["speaker"].isin(voices)))
    return TokenisedStore(tokens.only(source.store, rows.to_numpy()), source.tokens)


def train(found: tokens.Tokenised, parameters: Mapping[str, Any], state: Path, label: str) -> InverseKMeans:
    """Trains one variant, going on where an interrupted run stopped.

    Arguments:
        found: Stores, tokens and centroids.
        parameters: Of the variant, by the names of params.yaml.
        state: Its own folder of saved states.
        label: Stands before the progress bar.
    """
    seed_everything(parameters["seed"])
    limits = (parameters["n_speakers"], parameters["n_voices"])
    sources = [limited(each, *limits) for each in found.sources.values()]
    sources = [each for each in sources if len(each.store)]
    n_clusters, vector_dim = found.centroids.shape
    sizes = build(InverseKMeansConfig, {**parameters, "n_clusters": n_clusters, "vector_dim": vector_dim})
    model = InverseKMeans(sizes, found.centroids)
    batches = CodecBatches(sources, n_clusters, build(CodecDataConfig, parameters))
    fit(CodecObjective(model, parameters["ssim_weight"]), batches, build(TrainingConfig, parameters), state, label)
    return model


def seen_voices(store: FeatureStore, speakers: Sequence[str], n_prompt: int) -> list[Voice]:
    """Voices of training, prompted as the codec's own check prompts them, with frames of their last utterances."""
    train = store.index[store.index["split"] == "train"]
    own = {speaker: train.loc[train["speaker"] == speaker, "utterance"].tolist()[::-1] for speaker in speakers}
    return [
        Voice(name, prompt_of(store, name, n_prompt), first_frames(store, of, POOL_FRAMES)) for name, of in own.items()
    ]


def unseen_voices(store: FeatureStore, n_voices: int, n_prompt: int, seed: int) -> list[Voice]:
    """Voices that no training heard: a prompt of joined utterances, and frames of others.

    Arguments:
        store: All recordings.
        n_voices: At most, of those with speech enough, spread over their names.
        n_prompt: Frames of a prompt; whatever it is, the voices and the frames to compare with stay the same.
        seed: Which utterances.
    """
    index = store.index[store.index["split"] == UNSEEN].sample(frac=1, random_state=seed)
    sizes, voices = index.groupby("speaker")["n_frames"].sum(), []
    enough = sizes[sizes >= min(PROMPT_FRAMES + POOL_FRAMES, sizes.max())]
    for speaker in enough.index[:: max(1, len(enough) // max(1, n_voices))]:
        own = index[index["speaker"] == speaker]
        n_prompts = int((own["n_frames"].cumsum() < min(PROMPT_FRAMES, sizes[speaker] // 2)).sum()) + 1
        rest = own["utterance"].tolist()[n_prompts:]
        if rest:
            prompt = torch.cat([store.vectors(name) for name in own["utterance"][:n_prompts]])[:n_prompt]
            voices.append(Voice(speaker, prompt, first_frames(store, rest, POOL_FRAMES)))
    return voices[:n_voices]


def _errors(vectors: Float[Tensor, "frames dim"], said: Int[Tensor, " frames"], judge: Judge) -> tuple[float, float]:
    """Frames nearest to another of the pipeline's mean vectors than the recording's, and all frames."""
    return float((assign(vectors, judge.centroids) != said).sum()), float(len(said))


def judge_of(
    store: FeatureStore, centroids: Tensor, dev: pd.DataFrame, parameters: Mapping[str, Any], seed: int
) -> Judge:
    """What all variants of an ablation are judged on.

    Arguments:
        store: All recordings.
        centroids: The pipeline's mean vectors of its tokens.
        dev: Rows of :func:`vectok.codec_check.dev_utterances`.
        parameters: ``dev_prompt_seconds``, and ``n_unseen`` voices never seen.
        seed: Of the ablation, the same for all its variants.
    """
    n_prompt = frames_of_seconds(parameters["dev_prompt_seconds"])
    trained = set(store.index.loc[store.index["split"] == "train", "speaker"])
    seen = seen_voices(store, sorted(trained & set(dev["speaker"])), n_prompt)
    unseen = unseen_voices(store, parameters["n_unseen"], n_prompt, seed)
    return Judge(store, dev, seen, unseen, centroids, n_prompt)


def score(model: InverseKMeans, source: TokenisedStore, judge: Judge, system: str) -> pd.DataFrame:
    """Scores of dev utterances in their own voice and in others.

    Conditions ``own voice`` (``mse``, ``ssim``, ``cosine`` to the true vectors), ``seen voices`` and ``unseen voices``
    (``to_target`` and ``to_source``: :func:`vectok.codec_check.distance` of the output to frames of both voices;
    ``margin``: their difference, above zero where the conversion won); ``token_errors`` in all three: frames nearest to
    another of the mean vectors of the pipeline's tokens than the recording's own.

    Arguments:
        model: Trained.
        source: Tokens of the dev utterances, of the kind that the model was trained on.
        judge: Utterances and voices.
        system: Name of the variant.
    """
    rows, own = [], {voice.name: voice for voice in judge.seen}
    for item in tqdm(list(judge.dev.itertuples()), f"score {system}", mininterval=10):
        true, spoken = judge.store.vectors(item.utterance), source.tokens.tokens(item.utterance)
        said, voice = assign(true, judge.centroids), own[item.speaker]
        key = (item.speaker, item.group)
        made = model.reconstruct(spoken, voice.prompt)
        scores = {name: (value, 1.0) for name, value in compare(made, true).items()}
        scores["token_errors"] = _errors(made, said, judge)
        rows += [(system, "own voice", item.utterance, *key, name, *pair) for name, pair in scores.items()]
        for condition, targets in (("seen voices", judge.seen), ("unseen voices", judge.unseen)):
            for target in targets:
                if target.name != item.speaker:
                    pairs = _converted(model.reconstruct(spoken, target.prompt), said, target, voice, judge)
                    item_key = (system, condition, f"{item.utterance}>{target.name}", *key)
                    rows += [(*item_key, name, *pair) for name, pair in pairs.items()]
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def _converted(
    vectors: Float[Tensor, "frames dim"], said: Int[Tensor, " frames"], target: Voice, source: Voice, judge: Judge
) -> dict[str, tuple[float, float]]:
    """Scores of one conversion."""
    to_target, to_source = (distance(vectors, voice.pool) for voice in (target, source))
    values = {"to_target": to_target, "to_source": to_source, "margin": to_source - to_target}
    return {name: (value, 1.0) for name, value in values.items()} | {"token_errors": _errors(vectors, said, judge)}


def run(
    data: Path, state: Path, name: str, parameters: Mapping[str, Any], dev: pd.DataFrame, seed: int
) -> pd.DataFrame:
    """Trains one variant (or takes the pipeline's model, where it is asked for) and scores it.

    Without any step a model of the residual form gives centroids and the prompt's mean: the floor.

    Arguments:
        data: The profile's data folder.
        state: The ablations' state folder.
        name: Of the variant.
        parameters: Of the variant.
        dev: Rows of the utterances that it is judged on.
        seed: Of the ablation, whatever the variant's is.
    """
    store, found = FeatureStore(data / "features" / "store"), tokens.make(data, state / "tokens", parameters)
    usual = load_codebook(data / "kmeans").vectors
    if parameters["from_pipeline"]:
        model = InverseKMeans.load(data / "codec")
    else:
        model = train(found, parameters, state / slug(name), name)
    judge = judge_of(store, usual, dev, parameters, seed)
    return score(model, found.sources["store"], judge, name)
