"""What the language side is tested on: texts, voices, pairs of languages, chosen by seed from the test lists.

Texts are those of the codec list (seen speakers of the test split, two seconds or more), so that their recordings and
their resynthesis are scored once for all tables. The order alternates between texts all of whose words occur in
training and other texts, so that any first n hold both kinds.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from vectok.corpus.lists import Lists
from vectok.evaluation.plan import NARROW_BAND_HZ
from vectok.text import TextError

COLUMNS = ("item", "language", "speaker", "group", "text", "seconds", "known", "prompt", "references", "name")


@dataclass(frozen=True, kw_only=True)
class LanguagePlanConfig:
    """How much is generated.

    Arguments:
        n_texts: Texts of each language said in voices of training.
        n_unseen_texts: Texts of each language said in voices never seen, and in style transfer.
        n_unigram_texts: Texts of each language whose place a unigram's pieces take.
        n_pairs: Test ids of each direction of translation.
        n_continuations: Recordings of each language that are continued.
        n_curve_texts: Texts of the CLVP curve, all languages together.
        n_choice_texts: Texts whose first candidates are all read by the ASR, those of the curve among them.
        shortest_continued_seconds: Of a recording that is continued.
        seed: Of every choice.
    """

    n_texts: int
    n_unseen_texts: int
    n_unigram_texts: int
    n_pairs: int
    n_continuations: int
    n_curve_texts: int
    n_choice_texts: int
    shortest_continued_seconds: float
    seed: int


class Voice(NamedTuple):
    """A voice to speak with: utterances of its prompt, held-out ones to compare with, and whether one is narrow."""

    speaker: str
    prompt: tuple[str, ...]
    references: tuple[str, ...]
    is_narrow: bool


class Pair(NamedTuple):
    """One recording to translate and the recording of its translation."""

    source: str
    target: str
    source_language: str
    target_language: str

    @property
    def direction(self) -> str:
        """Both languages, ``en-fr``."""
        return f"{self.source_language}-{self.target_language}"


def words_in_training(
    index: pd.DataFrame, words_of: Callable[[str, str], list[str]], languages: list[str]
) -> dict[str, set[str]]:
    """Words of the training texts by language.

    Arguments:
        index: The feature store's.
        words_of: Words of a text in a language.
        languages: Codes.
    """
    train = index[(index["split"] == "train") & (index["text"] != "") & index["language"].isin(languages)]
    return {
        language: {word for text in own["text"].unique() for word in read_words(text, language, words_of)}
        for language, own in train.groupby("language")
    }


def read_words(text: str, language: str, words_of: Callable[[str, str], list[str]]) -> list[str]:
    """Words of a text, none where the front end refuses it: such texts are in no training and no test."""
    try:
        return words_of(text, language)
    except TextError:
        return []


def _shuffled(names: list[str], seed: int, salt: str) -> list[str]:
    """A seeded order of names that does not depend on their order."""
    ordered = sorted(names)
    random.Random(f"{seed} {salt}").shuffle(ordered)
    return ordered


def _alternating(items: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Items of one language: known texts and others by turns, each kind in a seeded order."""
    ranks = {}
    for known, own in items.groupby("known"):
        for place, name in enumerate(_shuffled(own["item"].tolist(), seed, str(items["language"].iloc[0]))):
            ranks[name] = 2 * place + (not known)
    return items.assign(rank=items["item"].map(ranks)).sort_values("rank").drop(columns="rank")


def texts_to_test(
    lists: Lists, index: pd.DataFrame, words_of: Callable[[str, str], list[str]], languages: list[str], seed: int
) -> pd.DataFrame:
    """Texts to test with, language by language in the order of choice.

    Arguments:
        lists: The test lists.
        index: The feature store's.
        words_of: Words of a text in a language.
        languages: That the models speak.
        seed: Of the order.
    Returns: Columns :data:`COLUMNS`; ``name`` is the prompt id that all languages share.
    Raises:
        ValueError: No such text.
    """
    known_words = words_in_training(index, words_of, languages)
    codec = lists.codec[lists.codec["seen"]].drop_duplicates("source").set_index("source")
    own = index[index["utterance"].isin(codec.index) & index["language"].isin(languages) & (index["text"] != "")]
    words = [read_words(text, code, words_of) for text, code in zip(own["text"], own["language"], strict=True)]
    own, words = own[[bool(found) for found in words]], [found for found in words if found]
    if not len(own):
        raise ValueError("no test text of a language that the models speak: expected some in the codec list")
    found = pd.DataFrame({
        "item": own["utterance"], "language": own["language"], "speaker": own["speaker"],
        "group": own["group"].where(own["group"] != "", own["utterance"]), "text": own["text"],
        "seconds": own["seconds"].astype(float),
        "known": [
            set(found) <= known_words.get(language, set())
            for found, language in zip(words, own["language"], strict=True)
        ],
        "prompt": own["utterance"].map(codec["prompt"]).str.split().map(tuple),
        "references": own["utterance"].map(codec["reference"]).str.split().map(tuple),
        "name": own["utterance"].str.split("/", n=2).str[-1],
    })  # fmt: skip
    return pd.concat([_alternating(part, seed) for _, part in found.groupby("language")], ignore_index=True)


def first(items: pd.DataFrame, n_items: int) -> pd.DataFrame:
    """The first n of each language."""
    return items.groupby("language", sort=True).head(n_items).reset_index(drop=True)


def spread(items: pd.DataFrame, n_items: int) -> pd.DataFrame:
    """The first n over all languages, the languages by turns."""
    place = items.groupby("language").cumcount()
    return items.assign(place=place).sort_values(["place", "language"]).drop(columns="place").head(n_items)


def unseen_voices(lists: Lists, index: pd.DataFrame) -> list[Voice]:
    """Voices never seen in training, of any language, in the order of their names."""
    rows = pd.concat([lists.vc, lists.codec])
    rows = rows[~rows["seen"]].drop_duplicates("target_speaker").sort_values("target_speaker")
    bandwidth = index.set_index("utterance")["bandwidth_hz"]
    voices = []
    for row in rows.itertuples():
        prompt, references = tuple(row.prompt.split()), tuple(row.reference.split())
        is_narrow = bool((bandwidth.loc[[*prompt, *references]] < NARROW_BAND_HZ).any())
        voices.append(Voice(row.target_speaker, prompt, references, is_narrow))
    return voices


def pairs(items: pd.DataFrame, n_pairs: int, seed: int) -> list[Pair]:
    """Recordings of the same prompt id in two languages, the same ids in every direction.

    Arguments:
        items: What :func:`texts_to_test` gives.
        n_pairs: Ids of each direction, as many as all languages share at most.
        seed: Of the choice.
    """
    by_language = {language: own.set_index("name")["item"] for language, own in items.groupby("language")}
    shared = set.intersection(*(set(own.index) for own in by_language.values()))
    names = _shuffled(sorted(shared), seed, "pairs")[:n_pairs]
    return [
        Pair(by_language[source][name], by_language[target][name], source, target)
        for source in by_language
        for target in by_language
        if source != target
        for name in names
    ]


def length_quartile_shuffle(texts: list[str], seed: int, n_shuffles: int) -> list[list[str]]:
    """Texts exchanged within quartiles of their length, several times: for each text its stand-ins, never itself.

    Example:
        >>> length_quartile_shuffle(["a", "b"], seed=0, n_shuffles=2)
        [['b', 'b'], ['a', 'a']]
    """
    generator, order = random.Random(seed), sorted(range(len(texts)), key=lambda place: (len(texts[place]), place))
    size = max(2, -(-len(texts) // 4))
    found: list[list[str]] = [[] for _ in texts]
    for start in range(0, len(order), size):
        quartile = order[start : start + size] if len(order) - start > 1 else order[-size:]
        for place in order[start : start + size]:
            others = [texts[other] for other in quartile if texts[other] != texts[place]] or texts
            found[place] = [generator.choice(others) for _ in range(n_shuffles)]
    return found
