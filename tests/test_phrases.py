"""Pairs of phrases: what stands together often is found in both directions, and the language model draws from it."""

from dataclasses import replace

import numpy as np
import pytest

from tests.spoken import make_tokenizer, make_utterances, make_vocabulary
from tests.test_lm import DATA
from vectok.lm.batches import LMBatches
from vectok.lm.phrases import Text, phrase_pairs

ENGLISH = ("press one", "press two", "one moment", "two messages", "press three", "three messages", "one message")
FRENCH = ("appuyez un", "appuyez deux", "un instant", "deux messages", "appuyez trois", "trois messages", "un message")
GROUPS = tuple((Text("fr", french), Text("en", english)) for english, french in zip(ENGLISH, FRENCH, strict=True))


def test_words_that_translate_each_other_are_found_in_both_directions():
    found = phrase_pairs(GROUPS, max_words=3)
    pairs = {(*pair.source, *pair.target): pair.count for pair in found}
    assert pairs["en", "press", "fr", "appuyez"] == pairs["fr", "appuyez", "en", "press"] == 3
    assert pairs["en", "one", "fr", "un"] == 3 and pairs["en", "messages", "fr", "messages"] == 2
    assert ("en", "press", "fr", "un") not in pairs and ("en", "one moment", "fr", "un instant") not in pairs, "once"
    counts = [pair.count for pair in found]
    phrase_pairs.cache_clear()
    assert counts == sorted(counts, reverse=True) and found == phrase_pairs(GROUPS, max_words=3)


def test_phrases_are_no_longer_than_asked_and_rare_ones_can_be_had():
    longest = {n: max(len(p.target.text.split()) for p in phrase_pairs(GROUPS, n, least_count=1)) for n in (1, 2)}
    assert longest == {1: 1, 2: 2}
    once = {(pair.source.text, pair.target.text) for pair in phrase_pairs(GROUPS, 2, least_count=1)}
    assert ("one moment", "un instant") in once


def test_words_without_a_counterpart_belong_to_no_pair_or_to_a_longer_one():
    english = ("press one now", "press two", "press three now", "dial one", "dial two", "dial three", "wait now",
               "wait")  # fmt: skip
    french = ("appuyez sur un", "appuyez sur deux", "appuyez sur trois", "composez le un", "composez le deux",
              "composez le trois", "patientez s il vous plait", "patientez s il vous plait")  # fmt: skip
    groups = tuple((Text("en", one), Text("fr", other)) for one, other in zip(english, french, strict=True))
    for max_words in (1, 2, 3):
        found = phrase_pairs(groups, max_words, least_count=1)
        assert max(len(each.text.split()) for pair in found for each in (pair.source, pair.target)) <= max_words
    pairs = {(pair.source.text, pair.target.text): pair.count for pair in found}
    assert pairs["press", "sur"] == pairs["press", "appuyez sur"] == 3, "a word that only one direction links"
    assert pairs["one", "un"] == 2 and ("one", "appuyez") not in pairs and ("now", "plait") not in pairs
    assert pairs["wait", "il vous plait"] == 2, "as long as it may be"


def test_texts_of_one_language_and_empty_ones_give_nothing():
    assert phrase_pairs(((Text("en", "press one"),), (Text("en", "a"), Text("fr", ""))), 3, 1) == ()


@pytest.fixture(scope="module")
def utterances():
    return make_utterances(make_tokenizer())


def test_translations_are_drawn_as_phrases_as_often_as_asked(utterances, monkeypatch):
    monkeypatch.setattr("vectok.lm.batches.phrase_pairs", lambda groups, most: phrase_pairs(groups, most, 1))
    vocabulary, random = make_vocabulary(), np.random.default_rng(0)
    config = replace(DATA, task_shares={"mt": 1.0}, phrase_share=0.5, max_phrase_words=1)
    batches = LMBatches(utterances, vocabulary, config)
    phrases = {pair.source.text for pair in batches.phrases} - {utterance.text for utterance in utterances}
    assert phrases, "the toy corpus has phrases that are no whole text"
    drawn = [vocabulary.decode_text(batches.draw(random, False).ids) for _ in range(300)]
    whole = {vocabulary.decode_text(batches.maker.mt(a, b).ids) for pair in batches.pairs for a in pair for b in pair}
    always = LMBatches(utterances, vocabulary, replace(config, phrase_share=1.0))
    others = [vocabulary.decode_text(always.draw(random, False).ids) for _ in range(300)]
    drawn_share, most = (np.mean([text not in whole for text in texts]) for texts in (drawn, others))
    assert most > 0.3 and 0.4 < drawn_share / most < 0.6
    plain = LMBatches(utterances, vocabulary, replace(config, phrase_share=0.0))
    assert not plain.phrases and all(vocabulary.decode_text(plain.draw(random, False).ids) in whole for _ in range(50))
