"""Alignment: the best path is the best one, known boundaries come back, words tile their utterance."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from vectok import alignment, alignment_check
from vectok.alignment import AlignedWord, AlignmentConfig, Alignments, Sample
from vectok.alignment_hmm import SILENCE, Hmm, Reading, align, batches, estimate, flat_path, states, viterbi

TEXTS = ("ab cab", "bad", "dab cad a", "ca b", "abba", "d cc")
N_CLUSTERS = 15
CONFIG = AlignmentConfig(n_clusters=N_CLUSTERS, n_iterations=8)


def random_model(generator, n_symbols=4, n_clusters=5):
    emissions = generator.dirichlet(np.ones(n_clusters), n_symbols)
    return Hmm(
        np.log(emissions).astype(np.float32), np.log(generator.uniform(0.2, 0.8, n_symbols)).astype(np.float32), -0.7
    )


def path_score(path, reading, model):
    """Log-likelihood of any path, by the definition; None when it is not allowed."""
    symbols, last = reading.states, len(reading.states) - 1
    if path[0] > 1 or path[-1] < last - 1:
        return None
    score = model.emissions[symbols[path[0]], reading.tokens[0]]
    for (one, two), token in zip(itertools.pairwise(path), reading.tokens[1:], strict=True):
        leave = np.log1p(-np.exp(model.stay[symbols[one]]))
        inside = symbols[two] == SILENCE
        if two == one:
            score += model.stay[symbols[one]]
        elif two == one + 1:
            score += leave + (model.pause if inside else 0.0)
        elif two == one + 2 and symbols[one + 1] == SILENCE:
            score += leave + np.log1p(-np.exp(model.pause))
        else:
            return None
        score += model.emissions[symbols[two], token]
    return float(score)


@pytest.mark.parametrize("words", [[[1]], [[1, 2]], [[1], [2]], [[3, 1], [2]]])
def test_viterbi_finds_what_trying_all_paths_finds(words):
    generator = np.random.default_rng(len(words))
    for n_frames in (sum(map(len, words)), 6):
        model = random_model(generator)
        reading = Reading(states(words), generator.integers(0, 5, n_frames))
        scores = {
            path: score
            for path in itertools.combinations_with_replacement(range(len(reading.states)), n_frames)
            if (score := path_score(path, reading, model)) is not None
        }
        found = viterbi([reading], model)
        assert found.log_likelihoods[0] == pytest.approx(max(scores.values()), abs=1e-4)
        assert scores[tuple(found.states[0].tolist())] == pytest.approx(max(scores.values()), abs=1e-4)


def test_neighbours_in_a_batch_change_nothing():
    generator = np.random.default_rng(1)
    model = random_model(generator)
    readings = [
        Reading(states([[1, 2], [3]] * n_words), generator.integers(0, 5, 12 * n_words)) for n_words in (1, 4, 2, 3)
    ]
    together, alone = align(readings, model), [viterbi([reading], model) for reading in readings]
    for place, one in enumerate(alone):
        assert together.states[place].tolist() == one.states[0].tolist()
        assert together.log_likelihoods[place] == pytest.approx(one.log_likelihoods[0], abs=1e-3)
    assert sorted(place for part in batches(readings) for place in part) == [0, 1, 2, 3]


def test_more_characters_than_frames_have_no_path():
    model = random_model(np.random.default_rng(2))
    with pytest.raises(ValueError, match="got 2 frames for 3 characters: leave this utterance out"):
        viterbi([Reading(states([[1, 2], [3]]), np.zeros(2, dtype=np.int64))], model)


def test_counts_become_probabilities():
    reading = Reading(states([[1]]), np.array([0, 1, 1, 0]))
    model = estimate([reading], [np.array([0, 1, 1, 2])], 2, 2, smoothing=1.0)
    assert np.exp(model.emissions).sum(1) == pytest.approx(np.ones(2))
    assert np.exp(model.emissions[1]).tolist() == pytest.approx([1 / 4, 3 / 4])


def test_training_starts_with_quiet_frames_silent():
    reading = Reading(states([[1, 2]]), np.zeros(6, dtype=np.int64))
    quiet = np.array([True, False, False, False, False, True])
    assert flat_path(reading, quiet).tolist() == [0, 1, 1, 2, 2, 0]
    assert flat_path(reading, np.ones(6, dtype=bool)).tolist() == [0] * 6


def synthetic(text, seed, split="train", language="en"):
    """An utterance whose boundaries are known: each character has its own three tokens, silence has three."""
    generator, tokens, ends, starts = np.random.default_rng(seed), [], [], []

    def say(symbol, n_frames):
        tokens.extend((3 * symbol + generator.integers(0, 3, n_frames)).tolist())

    words = text.split()
    say(0, generator.integers(2, 5))
    for word in words:
        starts.append(len(tokens))
        for letter in word:
            say("abcd".index(letter) + 1, generator.integers(2, 7))
            ends.append(len(tokens))
        if generator.random() < 0.5:
            say(0, generator.integers(8, 12))
    say(0, 3)
    tokens = np.array(tokens)
    return Sample(f"{language}/{text}/{seed}", language, split, tuple(words), tokens, tokens < 3), starts, ends


@pytest.fixture(scope="module")
def corpus():
    made = [synthetic(text, seed) for seed in range(12) for text in TEXTS]
    aligners = alignment.train_languages([sample for sample, *_ in made], CONFIG)
    return made, aligners


def test_known_boundaries_are_recovered(corpus):
    _, aligners = corpus
    held_out = [synthetic(text, 100 + seed, split="test") for seed in range(5) for text in ("bc ad", "cabd a")]
    found = alignment.align([sample for sample, *_ in held_out], aligners)
    errors = []
    for sample, starts, ends in held_out:
        words = found.words[sample.utterance]
        errors += np.abs(np.array([end for word in words for end in word.character_ends]) - ends).tolist()
        errors += np.abs(np.array([word.start for word in words[1:]]) - starts[1:]).tolist()
    assert np.mean(np.array(errors) == 0) > 0.95, errors


def test_words_tile_the_utterance_and_pauses_belong_to_the_word_before(corpus):
    made, aligners = corpus
    found = alignment.align([sample for sample, *_ in made], aligners)
    for sample, *_ in made:
        words = found.words[sample.utterance]
        assert [word.word for word in words] == list(sample.words)
        assert words[0].start == 0 and words[-1].end == len(sample.tokens)
        assert [word.end for word in words[:-1]] == [word.start for word in words[1:]]
        for word in words[1:]:
            assert sample.tokens[word.start] >= 3, "a word starts with speech, not with the pause before it"
        for word in words:
            assert len(word.character_ends) == len(word.word)
            assert word.start < word.character_ends[0] and word.character_ends[-1] <= word.end


def test_likelihood_rises_and_the_right_text_wins(corpus):
    made, aligners = corpus
    curve = aligners["en"].curve
    assert curve[-1] > curve[0] and min(np.diff(curve)) > -0.01
    gains = alignment_check.text_gain([sample for sample, *_ in made[:12]], aligners, CONFIG)
    assert len(gains) and gains["gain"].mean() > 20


def test_energy_and_alignment_agree_on_pauses(corpus):
    made, aligners = corpus
    samples = [sample for sample, *_ in made]
    right = alignment.align(samples, aligners).words
    table = alignment_check.pause_agreement(samples, right, 8)
    assert len(table) > 10 and table["between_words"].all() and table["error_ms"].mean() < 10
    late = {name: [w._replace(start=w.start + 30, end=w.end + 30) for w in words] for name, words in right.items()}
    late = {n: [w._replace(character_ends=(w.end,)) for w in words] for n, words in late.items()}
    assert not alignment_check.pause_agreement(samples, late, 8)["between_words"].all()


def test_what_cannot_be_aligned_is_named():
    good, many, foreign = synthetic("ab", 0)[0], synthetic("cab", 1)[0], synthetic("ab", 2, "unseen", "ru")[0]
    many = many._replace(tokens=many.tokens[:4], quiet=many.quiet[:4])
    found = alignment.faults([good, many, foreign], CONFIG)
    assert found == {
        many.utterance: "4 frames are too few for its 3 characters",
        foreign.utterance: "no training utterance in its language (ru) has a text",
    }


def test_texts_that_cannot_be_read_are_named():
    index = pd.DataFrame({"utterance": ["one", "two", "none"], "language": "en", "text": ["a 1", "привет", ""]})
    texts = alignment.read_texts(index)
    assert texts.words == {"one": ["a", "one"]}
    assert list(texts.left_out) == ["two"] and "CYRILLIC" in texts.left_out["two"]


def test_a_letter_that_training_never_met_is_still_aligned(corpus):
    _, aligners = corpus
    sample = synthetic("ab", 5)[0]._replace(words=("ax",))
    (word,) = alignment.align([sample], aligners).words[sample.utterance]
    assert word.word == "ax" and word.end == len(sample.tokens)


def test_alignments_come_back_from_their_file(tmp_path):
    words = {"u/1": [AlignedWord("null", 0, 9, (2, 3, 5, 8)), AlignedWord("a", 9, 12, (11,))], "u/2": []}
    alignment.save(tmp_path / "alignments.csv", words)
    found = Alignments(tmp_path)
    assert found.words("u/1") == words["u/1"] and found.utterances == ["u/1"]
    assert "u/1" in found and "u/2" not in found
    with pytest.raises(ValueError, match="'u/3' is not aligned"):
        found.words("u/3")


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no alignments at .*: run the alignment stage"):
        Alignments(tmp_path)
    (tmp_path / "alignments.csv").write_text("utterance,word\n")
    with pytest.raises(ValueError, match="expected columns utterance, position"):
        Alignments(tmp_path)


def test_quiet_frames_lie_below_the_loudest():
    audio = torch.cat([torch.zeros(320), 0.5 * torch.ones(320), 0.001 * torch.ones(300)])
    assert alignment.quiet_frames(audio, 3, 35.0).tolist() == [True, False, True]
    assert alignment.quiet_frames(audio, 3, 60.0).tolist() == [True, False, False]
