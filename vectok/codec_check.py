"""Looks at an inverse K-means model on dev: does it beat what needs no training, and does the prompt decide?"""

from collections.abc import Sequence

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vectok.codec import InverseKMeans
from vectok.codec_data import TokenisedStore
from vectok.codec_training import masked_mse, ssim
from vectok.kmeans import centre
from vectok.knn_vc import convert
from vectok.store import FeatureStore

POOL_FRAMES = 1500  # of each voice, half a minute, that outputs are compared with


def prompt_of(store: FeatureStore, speaker: str, n_frames: int) -> Float[Tensor, "prompt dim"]:
    """The beginning of the speaker's first training utterance of ``n_frames``, or else short ones joined.

    Raises:
        ValueError: The speaker has no training utterance.
    """
    index = store.index
    own = index[(index["speaker"] == speaker) & (index["split"] == "train")]
    if own.empty:
        raise ValueError(f"expected a training utterance of {speaker!r} in {store.folder}, found none")
    long_enough = own.loc[own["n_frames"] >= n_frames, "utterance"]
    if len(long_enough):
        return store.vectors(long_enough.iloc[0], 0, n_frames)
    return torch.cat([store.vectors(utterance) for utterance in own["utterance"]])[:n_frames]


def dev_utterances(store: FeatureStore, n_per_language: int, n_min_frames: int, seed: int) -> pd.DataFrame:
    """A seeded sample of the dev split, the same number for each language as far as they last."""
    index = store.index
    dev = index[(index["split"] == "dev") & (index["n_frames"] >= n_min_frames)]
    return dev.sample(frac=1.0, random_state=seed).groupby("language").head(n_per_language).sort_values("utterance")


def predictions(
    model: InverseKMeans, tokens: Int[Tensor, " frames"], prompt: Float[Tensor, "prompt dim"]
) -> dict[str, Float[Tensor, "frames dim"]]:
    """The model's vectors and those of its two floors: the centroids alone, and the centroids + the prompt's mean."""
    centroids = model.centroids[tokens]
    return {
        "centroids": centroids,
        "centroids + prompt mean": centroids + prompt.mean(0),
        "inverse K-means": model.reconstruct(tokens, prompt),
    }


def compare(predicted: Float[Tensor, "frames dim"], target: Float[Tensor, "frames dim"]) -> dict[str, float]:
    """``mse``, ``ssim`` and mean ``cosine`` of two utterances of equal length."""
    mask = torch.ones(1, len(target), dtype=torch.bool)
    return {
        "mse": float(masked_mse(predicted[None], target[None], mask)),
        "ssim": float(ssim(predicted[None], target[None], mask)),
        "cosine": float(torch.cosine_similarity(predicted, target, dim=-1).mean()),
    }


def held_out_scores(model: InverseKMeans, source: TokenisedStore, dev: pd.DataFrame, n_prompt: int) -> pd.DataFrame:
    """Scores of the model and its floors on dev utterances, prompted by their own speaker's training utterances.

    Returns: One row for each utterance and system: ``utterance, language, system, mse, ssim, cosine``.
    """
    rows = []
    for item in dev.itertuples():
        target = source.store.vectors(item.utterance)
        prompt = prompt_of(source.store, item.speaker, n_prompt)
        for system, predicted in predictions(model, source.tokens.tokens(item.utterance), prompt).items():
            labels = {"utterance": item.utterance, "language": item.language, "system": system}
            rows.append(labels | compare(predicted, target))
    return pd.DataFrame(rows)


def first_frames(store: FeatureStore, utterances: Sequence[str], n_frames: int) -> Float[Tensor, "pool dim"]:
    """The first frames of some utterances, joined: what outputs are compared with."""
    parts, n_found = [], 0
    for utterance in utterances:
        if n_found < n_frames:
            parts.append(store.vectors(utterance, 0, n_frames - n_found))
            n_found += len(parts[-1])
    return torch.cat(parts)


def distance(vectors: Float[Tensor, "frames dim"], pool: Float[Tensor, "prompt dim"]) -> float:
    r"""How far an output is from a voice: :math:`\frac1T \sum_t \min_j (1 - \cos(y_t, v_j))` over frames of the voice.

    Means alone would not do: the output's is the prompt's by the form of the model, whatever it has learnt.
    """
    return float((1 - torch.cosine_similarity(vectors, convert(vectors, pool, 1), dim=-1)).mean())


def conversion_scores(
    model: InverseKMeans, source: TokenisedStore, dev: pd.DataFrame, speakers: Sequence[str], n_prompt: int
) -> pd.DataFrame:
    """Converts dev utterances to other speakers: is what moves in the output like the target, or like the source?

    Both are :func:`distance` to half a minute of a voice's last training utterances, means over time taken away on
    either side. Where the two speak different languages the source has better chances: its frames hold the very sounds.

    Returns: One row for each utterance, target and system: ``language, source, target, system, to_target, to_source``,
        and ``margin``, the last one less the one before.
    """
    train, rows = source.store.index[source.store.index["split"] == "train"], []
    last = {speaker: train.loc[train["speaker"] == speaker, "utterance"].tolist()[::-1] for speaker in speakers}
    pools = {speaker: centre(first_frames(source.store, names, POOL_FRAMES)) for speaker, names in last.items()}
    prompts = {speaker: prompt_of(source.store, speaker, n_prompt) for speaker in speakers}
    for item in dev.itertuples():
        tokens = source.tokens.tokens(item.utterance)
        for target in sorted(set(speakers) - {item.speaker}):
            labels = {"language": item.language, "source": item.speaker, "target": target}
            for system, vectors in predictions(model, tokens, prompts[target]).items():
                to_target, to_source = (distance(centre(vectors), pools[voice]) for voice in (target, item.speaker))
                distances = {"to_target": to_target, "to_source": to_source, "margin": to_source - to_target}
                rows.append(labels | {"system": system} | distances)
    return pd.DataFrame(rows)
