"""The memory of translations: the nearest text is found, stands in front of the source, and is read as it is."""

from dataclasses import replace

import numpy as np
import pytest

from tests.spoken import make_tokenizer, make_utterances, make_vocabulary
from tests.test_lm_sequences import CONFIG
from tests.tiny_language import make_all
from tests.tiny_system import ToyEncoder
from vectok import language
from vectok.lm import check, sequences, writing
from vectok.lm.batches import LMBatches, SequenceMaker
from vectok.lm.data import remember
from vectok.lm.memory import TranslationMemory

VOCABULARY = make_vocabulary()
MEMORY = TranslationMemory([
    {"en": "press one", "es": "pulse uno"}, {"en": "press two", "es": "pulse dos"},
    {"en": "the mailbox is full", "es": "el buzón está lleno", "fr": "la boîte est pleine"}, {"en": "goodbye"},
])  # fmt: skip


@pytest.fixture(scope="module")
def utterances():
    return make_utterances(make_tokenizer())


def test_the_nearest_text_is_found_in_its_language():
    assert MEMORY.nearest("en", "zzz", "es") == "pulse uno", "nothing is alike: the first of equals"
    assert MEMORY.nearest("en", "press ona", "es") == "pulse uno"
    assert MEMORY.nearest("en", "press twoo", "es") == "pulse dos"
    assert MEMORY.nearest("en", "your mailbox is full", "fr") == "la boîte est pleine"
    assert MEMORY.nearest("es", "el buzón está vacío", "en") == "the mailbox is full"
    assert MEMORY.nearest("en", "goodbye", "es") != "", "a text without a translation is no match"


def test_a_text_is_its_own_match_unless_it_is_left_out():
    assert MEMORY.nearest("en", "press two", "es") == "pulse dos"
    assert MEMORY.nearest("en", "press two", "es", leave_out=True) == "pulse uno"
    assert MEMORY.nearest("fr", "la boîte est pleine", "en", leave_out=True) == ""
    assert MEMORY.nearest("ru", "пароль", "en") == "" == TranslationMemory().nearest("en", "press one", "es")


def test_likeness_is_one_for_the_same_text_and_nothing_for_none():
    assert MEMORY.find("en", "press two", "es") == ("pulse dos", pytest.approx(1.0))
    assert 0.5 < MEMORY.find("en", "press twoo", "es").alike < 1
    assert MEMORY.find("en", "zzzz", "es").alike == 0.0 == MEMORY.find("ru", "press one", "es").alike


def test_order_forgives_misspelling_where_no_two_letters_stand_together():
    memory = TranslationMemory([{"en": "fedcba", "es": "no"}, {"en": "abcdef", "es": "sí"}])
    assert memory.nearest("en", "axbxcxdxexf", "es") == "sí"


def test_a_memory_comes_back_from_disk(tmp_path):
    MEMORY.save(tmp_path / "memory.json")
    assert TranslationMemory.load(tmp_path / "memory.json").groups == MEMORY.groups
    with pytest.raises(ValueError, match="run the lm stage first"):
        TranslationMemory.load(tmp_path / "no.json")


def test_a_match_stands_in_front_and_has_no_loss():
    found = sequences.mt(VOCABULARY, "en", "a c", "fr", "d", 0.25, match="b a")
    names = " ".join(name.replace(" ", "_") for name in VOCABULARY.names(found.ids))
    assert names == "<mt> <lang:fr> b _ a <lang:en> a _ c <text> <lang:fr> d <end>"
    assert found.weights == [0, 0, 0, 0, 0, 0, 0.25, 0.25, 0.25, 0, 0, 1, 1]
    assert sequences.mt_prefix(VOCABULARY, "en", "a c", "fr", "b a") == found.ids[:-2]


def drawn(utterances, n: int = 200, **changes) -> list[sequences.TaskSequence]:
    config = replace(CONFIG, task_shares={"mt": 1.0}, **changes)
    batches, random = LMBatches(utterances, VOCABULARY, config), np.random.default_rng(0)
    return [batches.draw(random, False) for _ in range(n)]


def has_match(found: sequences.TaskSequence) -> bool:
    tags = {VOCABULARY.language(code) for code in VOCABULARY.languages}
    return sum(each in tags for each in found.ids) == 3


def test_training_reads_matches_of_other_texts_as_often_as_asked(utterances):
    shares = [np.mean([has_match(each) for each in drawn(utterances, match_share=share)]) for share in (0.0, 0.5, 1.0)]
    assert shares[0] == 0 and 0.35 < shares[1] < 0.65 and shares[2] == 1
    memory, batches = remember(utterances), LMBatches(utterances, VOCABULARY, CONFIG)
    maker = SequenceMaker(VOCABULARY, CONFIG)
    expected = {
        tuple(maker.mt(a, b, memory.nearest(a.language, a.text, b.language, leave_out=True)).ids)
        for group in batches.pairs for a in group for b in group if a is not b
    }  # fmt: skip
    assert {tuple(each.ids) for each in drawn(utterances, match_share=1.0)} <= expected


def test_matches_are_never_misspelt(utterances):
    tags = [VOCABULARY.language(code) for code in VOCABULARY.languages]
    n_wrong = 0
    for each in drawn(utterances, match_share=1.0, misspelt_share=0.9):
        second = [place for place, one in enumerate(each.ids) if one in tags][1]
        assert each.read[:second] == each.ids[:second]
        n_wrong += sum(a != b for a, b in zip(each.read[second:], each.ids[second:], strict=True))
    assert n_wrong > 200


def test_dev_texts_are_matched_with_training_texts(utterances):
    dev = make_utterances(make_tokenizer(), "dev")
    for share, wanted in ((0.0, False), (1.0, True)):
        maker = SequenceMaker(VOCABULARY, replace(CONFIG, match_share=share))
        found = check.held_out(dev, utterances, maker, 0.3).mt
        assert len(found) and all(has_match(each) == wanted for each in found)


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    monkeypatch.setattr("vectok.features.load_encoder", lambda name, device="cpu": ToyEncoder())
    made = language.load_language_parts(*make_all(tmp_path)).tasks
    made.memory = MEMORY
    return made


def test_translations_are_the_memorys_where_it_knows_a_like_text(tasks, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "vectok.lm.writing.write",
        lambda model, prefixes, config: asked.extend(prefixes) or [writing.Written(" own ", True) for _ in prefixes],
    )
    given = (["press twoo", "zzzz", "press one", ""], ["en"] * 4, ["es"] * 4)
    assert tasks.translate_texts(*given) == ["pulse dos", "own", "pulse uno", "own"]
    assert asked == [sequences.mt_prefix(tasks.lm.vocabulary, "en", text, "es", "pulse uno") for text in ("zzzz", "")]
    tasks.config = replace(tasks.config, least_alike=1.1)
    assert tasks.translate_texts(*given) == ["own"] * 4
    tasks.config = replace(tasks.config, least_alike=0.0)
    assert tasks.translate_texts(*given) == ["pulse dos", "pulse uno", "pulse uno", "pulse uno"]
    with pytest.raises(ValueError, match="zip"):
        tasks.translate_texts(["press one"], ["en"], ["es", "es"])


def test_the_lms_own_translation_reads_the_match(tasks, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "vectok.lm.writing.write", lambda model, prefixes, config: asked.append((prefixes, config)) or []
    )
    tasks.write_translations(["press twoo"], ["en"], ["es"], n_drafts=1)
    ((prefixes, config),) = asked
    assert prefixes == [sequences.mt_prefix(tasks.lm.vocabulary, "en", "press twoo", "es", "pulse dos")]
    assert config.n_drafts == 1 and config.max_symbols == tasks.config.max_symbols


def test_a_system_without_its_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("vectok.features.load_encoder", lambda name, device="cpu": ToyEncoder())
    parts = make_all(tmp_path)
    assert language.load_language_parts(*parts).tasks.memory.groups == ({"en": "press one", "es": "pulse uno"},)
    (parts[1].lm / "memory.json").unlink()
    with pytest.raises(ValueError, match="no translation memory"):
        language.load_language_parts(*parts)
