"""Train, dev and test: by groups of near-duplicate texts, the same in all languages, seeded.

Prompts come in families ("press one for ..."). If one of a family were in train and another in test, a test would
measure memory. Two prompts whose words match by more than 0.8 in any language are therefore of one group, and so are
the friends of friends; a group is never divided.
"""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from fnmatch import fnmatch

import pandas as pd

from vectok.corpus.manifest import PLAIN, PROMPT

NEAR = 0.8


def word_match(first: str, second: str) -> float:
    r"""Share of words in common, in any order: :math:`2 |A \cap B| / (|A| + |B|)` of multisets.

    Example:
        >>> word_match("press one now", "now press two")
        0.6666666666666666
    """
    words, others = Counter(first.split()), Counter(second.split())
    total = words.total() + others.total()
    return 2 * (words & others).total() / total if total else 0.0


def near_pairs(texts: dict[str, str]) -> Iterable[tuple[str, str]]:
    r"""Pairs of keys whose texts match by more than :data:`NEAR`.

    Only pairs that share one of their rarest words are compared: a text of :math:`n` words needs
    :math:`\lceil n t / (2 - t) \rceil` words in common with any match, so one of its
    :math:`n - \lceil n t / (2 - t) \rceil + 1` rarest is among them.
    """
    frequency = Counter(word for text in texts.values() for word in text.split())
    by_word: dict[str, list[str]] = defaultdict(list)
    for key, text in texts.items():
        words = sorted(text.split(), key=lambda word: (frequency[word], word))
        rarest = set(words[: len(words) - math.ceil(len(words) * NEAR / (2 - NEAR)) + 1])
        for other in {other for word in rarest for other in by_word[word]}:
            if word_match(text, texts[other]) > NEAR:
                yield key, other
        for word in rarest:
            by_word[word].append(key)


def group_prompts(rows: pd.DataFrame) -> dict[str, str]:
    """Group of each prompt: the first name, in order of the alphabet, of all it is connected with.

    Arguments:
        rows: Columns ``prompt``, ``language`` and ``text``.
    """
    parent = {prompt: prompt for prompt in sorted(rows[PROMPT].unique())}

    def root(prompt: str) -> str:
        while parent[prompt] != prompt:
            parent[prompt] = parent[parent[prompt]]
            prompt = parent[prompt]
        return prompt

    for _, spoken in rows[rows["text"] != ""].groupby("language"):
        keys = [f"{prompt}\t{number}" for number, prompt in enumerate(spoken[PROMPT])]
        texts = dict(zip(keys, spoken["text"], strict=True))
        for first, second in near_pairs(texts):
            low, high = sorted((root(first.partition("\t")[0]), root(second.partition("\t")[0])))
            parent[high] = low
    return {prompt: root(prompt) for prompt in parent}


def eligible_prompts(rows: pd.DataFrame, shortest_seconds: float) -> set[str]:
    """Prompts that exist in every language of their corpus, are long enough and plainly written in each of them."""
    good = rows[rows[PLAIN] & (rows["seconds"] >= shortest_seconds)]
    n_languages = rows.groupby("corpus")["language"].nunique()
    counts = good.groupby(["corpus", PROMPT])["language"].nunique()
    return {prompt for (corpus, prompt), count in counts.items() if count == n_languages[corpus]}


def fits(speaker: str, patterns: list[str]) -> bool:
    """Whether a speaker's name fits one of some patterns such as ``drascula-*``."""
    return any(fnmatch(speaker, pattern) for pattern in patterns)


def assign_splits(
    rows: pd.DataFrame,
    unseen_speakers: list[str],
    voice_speakers: list[str],
    n_test: int,
    n_dev: int,
    shortest_seconds: float,
    seed: int,
) -> pd.DataFrame:
    """Fills ``group`` and ``split``.

    In a seeded order, groups with testable prompts go to test until it has ``n_test`` of these from each corpus, then
    to dev until it has ``n_dev``; all others are train. A corpus's own dev or test takes its groups with it (test
    before dev). Unseen speakers are ``unseen``, those who lend codec and vocoder their voices alone are ``voices``, and
    the result does not depend on the order of the rows.

    Arguments:
        rows: What :func:`vectok.corpus.manifest.measure` gave.
        unseen_speakers: Patterns of speakers that no training sees.
        voice_speakers: Patterns of speakers whose voices matter, not what they say, nor in which language.
        n_test: Testable prompts of each corpus that test must have at least.
        n_dev: The same for dev.
        shortest_seconds: Shortest testable utterance, in every language.
        seed: Of the order of the groups.
    Raises:
        ValueError: Too few testable prompts, a pattern that fits no speaker, or no speaker left for training.
    """
    speakers = sorted(set(rows["speaker"]))
    for name, patterns in {"unseen_speakers": unseen_speakers, "voice_speakers": voice_speakers}.items():
        for pattern in patterns:
            if not any(fnmatch(speaker, pattern) for speaker in speakers):
                raise ValueError(f"{name}: {pattern!r} fits no speaker: there are {speakers[:9]}")
    rows = rows.copy()
    rows["group"] = rows[PROMPT].map(group_prompts(rows))
    unseen = rows["speaker"].map(lambda speaker: fits(speaker, unseen_speakers))
    voices = rows["speaker"].map(lambda speaker: fits(speaker, voice_speakers)) & ~unseen
    seen = rows[~unseen & ~voices]
    if seen.empty:
        raise ValueError(f"unseen_speakers {unseen_speakers} leaves no speaker for training: take one out")
    corpora = set(seen["corpus"])
    testable = eligible_prompts(rows[rows["corpus"].isin(corpora)], shortest_seconds)
    splits = _split_groups(seen, testable, {"test": n_test, "dev": n_dev}, seed)
    rows["split"] = rows["group"].map(splits).fillna("train").where(~unseen, "unseen").where(~voices, "voices")
    return rows


def _split_groups(seen: pd.DataFrame, eligible: set[str], wanted: dict[str, int], seed: int) -> dict[str, str]:
    """Split of each group that is not train: as the corpora say, then as many of each corpus as are wanted."""
    own = seen.groupby("group")["split"].agg(set)
    splits = {group: "test" if "test" in said else "dev" for group, said in own.items() if said & {"dev", "test"}}
    prompts = seen.drop_duplicates(PROMPT)
    for corpus, spoken in prompts[prompts[PROMPT].isin(eligible)].groupby("corpus"):
        sizes = spoken["group"].value_counts().to_dict()
        order = sorted(group for group in sizes if group not in splits)
        random.Random(seed).shuffle(order)
        for split, n_wanted in wanted.items():
            n_found = sum(n_prompts for group, n_prompts in sizes.items() if splits.get(group) == split)
            while n_found < n_wanted and order:
                group = order.pop()
                splits[group] = split
                n_found += sizes[group]
            if n_found < n_wanted:
                found = f"{split}: {n_found} of {n_wanted} testable prompts in {corpus}"
                raise ValueError(f"{found}: lower n_{split} or add recordings")
    if wanted["test"] and "test" not in splits.values():
        raise ValueError("test: no testable prompt in any corpus: lower shortest_test_seconds or add recordings")
    return splits


def five_gram_overlap(rows: pd.DataFrame) -> dict[str, float]:
    """For each language the share of the test split's word 5-grams that also occur in train."""
    shares = {}
    for language, spoken in rows.groupby("language"):
        train = {gram for text in spoken.loc[spoken["split"] == "train", "text"] for gram in _five_grams(text)}
        test = [gram for text in spoken.loc[spoken["split"] == "test", "text"] for gram in _five_grams(text)]
        if test:
            shares[str(language)] = round(sum(gram in train for gram in test) / len(test), 4)
    return shares


def _five_grams(text: str) -> list[tuple[str, ...]]:
    words = text.split()
    return [tuple(words[start : start + 5]) for start in range(len(words) - 4)]
