"""Short trainings of the language model: other pieces, other tasks, another form of the sequences."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from vectok import bpe
from vectok.ablations import tokens
from vectok.ablations.settings import build, slug
from vectok.alignment import Alignments
from vectok.evaluation.task_tables import SCORE_COLUMNS
from vectok.frames import seconds_of_frames
from vectok.lm import check
from vectok.lm.batches import LMBatches, LMDataConfig, SequenceMaker
from vectok.lm.data import TokenisedSource, Utterance, aligned_utterances
from vectok.lm.model import LanguageModel, LanguageModelConfig
from vectok.lm.objective import LMObjective
from vectok.lm.vocabulary import Vocabulary
from vectok.reproducibility import seed_everything
from vectok.store import FeatureStore
from vectok.text import symbols
from vectok.training import TrainingConfig, fit

WITH_TEXTS = ("store", "augmented")  # parts of the features whose words are aligned
PIECES = ("token_layer", "centred", "n_clusters", "n_pieces")  # parameters that decide them
COUNTED_BATCHES = 16  # from which the seconds of speech in a step are counted


class Corpus(NamedTuple):
    """Aligned utterances of train and dev in the pieces of one tokenizer, and the vocabulary around them."""

    train: list[Utterance]
    dev: list[Utterance]
    vocabulary: Vocabulary
    tokenizer: bpe.PieceTokenizer


def tokenizer_of(data: Path, found: tokens.Tokenised, parameters: Mapping[str, Any]) -> bpe.PieceTokenizer:
    """The pipeline's BPE model, or one learnt now on a variant's tokens or of another size.

    ``n_pieces`` equal to ``n_clusters`` is no BPE at all: every token is a piece.
    """
    usual = bpe.PieceTokenizer(data / "bpe" / "bpe.model")
    if tokens.is_usual(data, parameters) and usual.n_vocab == parameters["n_pieces"]:
        return usual
    store, table = found.sources["store"]
    train = store.index.loc[store.index["split"] == "train", "utterance"]
    return bpe.PieceTokenizer(
        bpe.train(map(table.tokens, train), build(bpe.BPEConfig, {**parameters, "n_vocab": parameters["n_pieces"]}))
    )


def corpus_of(data: Path, state: Path, parameters: Mapping[str, Any]) -> Corpus:
    """Train and dev as a variant sees them.

    Arguments:
        data: The profile's data folder.
        state: Where other tokens are kept.
        parameters: Of the variant.
    """
    found = tokens.make(data, state / "tokens", parameters)
    tokenizer, alignments = tokenizer_of(data, found, parameters), Alignments(data / "alignment")
    sources = [TokenisedSource(*found.sources[part]) for part in WITH_TEXTS]
    train = aligned_utterances(sources, alignments, tokenizer, "train")
    dev = aligned_utterances(sources[:1], alignments, tokenizer, "dev")
    languages = sorted({utterance.language for utterance in train})
    vocabulary = Vocabulary(
        symbols=tuple(symbols(languages)), languages=tuple(languages), n_pieces=tokenizer.n_vocab,
        codebook_hash="", bpe_hash="",
    )  # fmt: skip
    return Corpus(train, check.per_language(dev, parameters["dev_per_language"]), vocabulary, tokenizer)


def seconds_a_step(batches: LMBatches, tokenizer: bpe.PieceTokenizer) -> float:
    """Seconds of speech in a batch, prompts among them, as the mean of the first ones."""
    n_frames, first_piece = 0, batches.vocabulary.first_piece
    for step in range(COUNTED_BATCHES):
        ids = batches(step).ids
        n_frames += int(tokenizer.piece_lengths[ids[ids >= first_piece] - first_piece].sum())
    return seconds_of_frames(n_frames) / COUNTED_BATCHES


def batches_of(corpus: Corpus, parameters: Mapping[str, Any]) -> LMBatches:
    """Training batches of a variant."""
    n_short = round(parameters["curriculum_share"] * parameters["n_steps"])
    config = build(LMDataConfig, {**parameters, "n_curriculum_steps": n_short})
    return LMBatches(corpus.train, corpus.vocabulary, config)


def equal_seconds(corpus: Corpus, usual: Corpus, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with as many ids in a batch as hold the seconds of speech that the usual pieces would hold."""
    own, wanted = (seconds_a_step(batches_of(each, parameters), each.tokenizer) for each in (corpus, usual))
    return {**parameters, "batch_ids": round(parameters["batch_ids"] * wanted / own)}


def train(corpus: Corpus, parameters: Mapping[str, Any], state: Path, label: str) -> tuple[LanguageModel, LMBatches]:
    """Trains one variant, going on where an interrupted run stopped.

    Arguments:
        corpus: From :func:`corpus_of`.
        parameters: Of the variant, by the names of params.yaml.
        state: Its own folder of saved states.
        label: Stands before the progress bar.
    """
    seed_everything(parameters["seed"])
    sizes = build(LanguageModelConfig, {**parameters, "tasks": tuple(parameters["task_shares"])})
    model, batches = LanguageModel(sizes, corpus.vocabulary), batches_of(corpus, parameters)
    if parameters["composed"]:
        model.compose([corpus.tokenizer.tokens_of_piece(piece) for piece in range(corpus.tokenizer.n_vocab)])
    objective = LMObjective(model, lambda now: {}, parameters["n_steps"])
    fit(objective, batches, build(TrainingConfig, parameters), state, label)
    return model, batches


def score(
    model: LanguageModel, maker: SequenceMaker, corpus: Corpus, prompt_seconds: float, system: str, groups: dict
) -> pd.DataFrame:
    """Scores of dev utterances, each task a condition.

    ``tts``: ``right_bits_per_second`` and ``gain_bits_per_second`` (of the right text over another's); ``asr``:
    ``bits_per_character`` and ``cer`` (teacher-forced: the likeliest character at the true place).

    Arguments:
        model: Trained.
        maker: Of the sequences that it was trained on.
        corpus: Train and dev.
        prompt_seconds: Length of the prompts.
        system: Its name.
        groups: Prompt group of each utterance.
    """
    held = check.held_out(corpus.dev, corpus.train, maker, prompt_seconds)
    keys = [(each.name, each.speaker, groups[each.name]) for each in corpus.dev]
    rows: list[tuple] = []
    if held.right:
        right, shuffled = (check.score(model, part) for part in (held.right, held.shuffled))
        for key, one, other, sequence in zip(keys, right, shuffled, held.right, strict=True):
            bits, seconds = one.nats / math.log(2), seconds_of_frames(sequence.n_frames)
            gain = other.nats / math.log(2) - bits
            rows.append((system, "tts", *key, "right_bits_per_second", bits, seconds))
            rows.append((system, "tts", *key, "gain_bits_per_second", gain, seconds))
    if held.asr:
        for key, one in zip(keys, check.score(model, held.asr), strict=True):
            n_wrong = float(one.n_targets - one.n_right)
            rows.append((system, "asr", *key, "bits_per_character", one.nats / math.log(2), float(one.n_targets)))
            rows.append((system, "asr", *key, "cer", n_wrong, float(one.n_targets)))
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def unigram_scores(
    maker: SequenceMaker, corpus: Corpus, prompt_seconds: float, system: str, groups: dict
) -> pd.DataFrame:
    """The floor: dev speech if each piece were drawn by its frequency in training.

    Arguments:
        maker: Of sequences.
        corpus: Train and dev.
        prompt_seconds: Length of the prompts.
        system: Name of the variant.
        groups: Prompt group of each utterance.
    """
    strict = SequenceMaker(maker.vocabulary, replace(maker.config, context_weight=0.0))
    counts = check.target_counts([strict.tts(each, []) for each in corpus.train], corpus.vocabulary.n_ids)
    held, rows = check.held_out(corpus.dev, corpus.train, maker, prompt_seconds), []
    for each, sequence in zip(corpus.dev, held.right, strict=True):
        seconds = seconds_of_frames(sequence.n_frames)
        bits = check.unigram_bits_per_second(counts, [sequence]) * seconds
        key = (each.name, each.speaker, groups[each.name])
        rows.append((system, "tts", *key, "right_bits_per_second", bits, seconds))
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def run(
    data: Path, state: Path, name: str, parameters: Mapping[str, Any], usual: Mapping[str, Any], seed: int
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Trains one variant and scores it; one without any step is the floor of unigrams.

    Arguments:
        data: The profile's data folder.
        state: The ablations' state folder.
        name: Of the variant.
        parameters: Of the variant.
        usual: Of a variant that changes nothing: batches of other pieces hold as many seconds as its own.
        seed: Of the ablation, whatever the variant's is: it decides prompts and shuffled texts of the check.
    Returns: Scores, and what went into the training: parameters, steps, seconds of speech a step.
    """
    groups = FeatureStore(data / "features" / "store").index.set_index("utterance")["group"].astype(str).to_dict()
    corpus = corpus_of(data, state, parameters)
    if not parameters["n_steps"]:
        maker = batches_of(corpus, {**parameters, "seed": seed}).maker
        return unigram_scores(maker, corpus, parameters["dev_prompt_seconds"], name, groups), {}
    if any(parameters[key] != usual[key] for key in PIECES):
        beside = corpus_of(data, state, {**parameters, **{key: usual[key] for key in PIECES}})
        parameters = equal_seconds(corpus, beside, parameters)
    model, batches = train(corpus, parameters, state / slug(name), name)
    spent = {
        "n_parameters": float(model.n_parameters),
        "n_steps": float(parameters["n_steps"]),
        "seconds_a_step": round(seconds_a_step(batches, corpus.tokenizer), 2),
    }
    maker = SequenceMaker(corpus.vocabulary, replace(batches.config, seed=seed))
    return score(model, maker, corpus, parameters["dev_prompt_seconds"], name, groups), spent
