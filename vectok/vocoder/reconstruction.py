"""Reconstructed vectors for the tuning of vocoders: utterances through tokens and a prompt of their own speaker."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from vectok.codec import InverseKMeans
from vectok.store import PARTS, FeatureStore
from vectok.tokens import TokenTable
from vectok.training import fastest_precision


def promptable(store: FeatureStore, utterances: list[str]) -> list[str]:
    """Those utterances whose speakers have another one of a training split, which can prompt them."""
    index = store.index[store.index["split"].isin(PARTS.values())]
    n_utterances, speakers = index["speaker"].value_counts(), index.set_index("utterance")["speaker"]
    return [utterance for utterance in utterances if n_utterances[speakers[utterance]] > 1]


def draw_prompt(
    store: FeatureStore, speaker: str, avoid: str, n_frames: int, random: np.random.Generator
) -> Float[Tensor, "prompt dim"]:
    """``n_frames`` of training vectors of a speaker, joined from utterances other than ``avoid``.

    Raises:
        ValueError: The speaker has no other training utterance.
    """
    index = store.index
    others = index[(index["speaker"] == speaker) & index["split"].isin(PARTS.values()) & (index["utterance"] != avoid)]
    if others.empty:
        raise ValueError(f"{speaker} has no training utterance beside {avoid}: nothing can prompt it")
    parts, total = [], 0
    for row in random.permutation(len(others)):
        parts.append(store.vectors(others["utterance"].iloc[row]))
        total += len(parts[-1])
        if total >= n_frames:
            break
    return torch.cat(parts)[:n_frames]


def reconstruct(
    codec: InverseKMeans, store: FeatureStore, tokens: TokenTable, utterances: list[str], n_prompt: int, seed: int
) -> dict[str, Float[Tensor, "frames dim"]]:
    """Vectors of each utterance as the inverse K-means model gives them back, kept as fp16 like a store's.

    In bf16 where this machine is faster in it (:func:`vectok.training.fastest_precision`).


    Arguments:
        n_prompt: Frames of prompt.
        seed: Of the prompts.
    """
    random, speakers = np.random.default_rng(seed), store.index.set_index("utterance")["speaker"]
    found, in_bf16 = {}, fastest_precision() == "bf16"
    for utterance in tqdm(utterances, desc="reconstruct", mininterval=10):
        prompt = draw_prompt(store, speakers[utterance], utterance, n_prompt, random)
        with torch.autocast(prompt.device.type, torch.bfloat16, enabled=in_bf16):
            found[utterance] = codec.reconstruct(tokens.tokens(utterance), prompt).half()
    return found
