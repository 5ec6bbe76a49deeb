"""The one normaliser."""

import pytest

from vectok.corpus.asterisk import clean_text, is_speech, read_texts
from vectok.corpus.text import LANGUAGES, normalise, scoring_text

PAIRS = [
    ("en", "Press 1, or 21!", "press one or twenty one"),
    ("es", "Marque 2; después 10.", "marque dos después diez"),
    ("fr", "Appuyez sur 17 — l’étoile", "appuyez sur dix sept l'étoile"),
    ("it", "Premi 3: è più", "premi tre è più"),
    ("ru", "Нажмите 5, ещё раз", "нажмите пять еще раз"),
    ("en", "the 3rd of 28.8", "the third of twenty eight point eight"),
    ("en", "1,000 dollars and 007", "one thousand dollars and zero zero seven"),
    ("en", "press * or #", "press star or pound"),
    ("en", "at [@]", "at"),
    ("it", "Spiacente, [quello] non è", "spiacente quello non è"),
    ("en", "'quoted' don't", "quoted don't"),
    ("en", "1234567890", "one two three four five six seven eight nine zero"),
    ("en", "...", ""),
]


@pytest.mark.parametrize(("language", "text", "expected"), PAIRS)
def test_normalise(language, text, expected):
    assert normalise(text, language) == expected


@pytest.mark.parametrize("language", LANGUAGES)
def test_normalising_twice_changes_nothing(language):
    for _, text, _ in PAIRS:
        for fold in (False, True):
            once = normalise(text, language, fold)
            assert normalise(once, language, fold) == once


def test_folding_leaves_cyrillic_alone():
    assert normalise("Ёлка й", "ru", fold_accents=True) == "елка й"
    assert normalise("Niño, así", "es", fold_accents=True) == "nino asi"
    assert scoring_text("así", "es") == "asi"
    assert scoring_text("là", "fr") == "là"


def test_composed_and_decomposed_letters_are_one():
    assert normalise("e\u0301te\u0301", "fr") == normalise("été", "fr")


def test_unknown_language():
    with pytest.raises(ValueError, match="unknown language 'xx'"):
        normalise("a", "xx")


def test_asterisk_texts(tmp_path):
    path = tmp_path / "core-sounds-it.txt"
    path.write_bytes("\ufeff; a comment: no text\n\nvm-a: vm-a: Non pu? essere: mai\nbeep: [tono]\n".encode())
    assert read_texts(path) == {"vm-a": "Non può essere: mai", "beep": "[tono]"}
    assert clean_text("x", "La conferenza ? piena.", "it") == "La conferenza è piena."
    assert clean_text("x", "quale cartella?", "it") == "quale cartella?"
    assert not is_speech("vm-a", "[tono]")
    path.write_bytes(b"a: \xff\xfe")
    with pytest.raises(ValueError, match="core-sounds-it.txt: expected UTF-8"):
        read_texts(path)
