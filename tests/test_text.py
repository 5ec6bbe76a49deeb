"""The text front end: any text to words of the alphabet, or one line that says what is wrong and where."""

import importlib.util
import string

import pytest

from vectok.corpus.text import normalise
from vectok.text import FrontEnd, TextError, languages, symbols
from vectok.text.language_files import read_language
from vectok.text.phonemes import PhonemesMissing, phonemes

SENTENCES = {
    "en": ("Press 2, or dial #21!", "press two or dial pound twenty one"),
    "es": ("¿Contraseña n.º 3?", "contrasena n o tres"),
    "fr": ("L’été, appuyez sur 17 : œuvre naïve.", "l'été appuyez sur dix sept oeuvre naive"),
    "it": ("Perché no? Premi 8 & aspetta: è l'ora.", "perchè no premi otto e aspetta è l'ora"),
    "ru": ("Ёлка: нажмите 5, т. е. звёздочку!", "елка нажмите пять то есть звездочку"),
}


@pytest.mark.parametrize("code", SENTENCES)
def test_text_becomes_words_of_the_alphabet(code):
    text, expected = SENTENCES[code]
    front_end = FrontEnd.load(code)
    assert front_end.normalise(text) == expected
    assert set("".join(front_end.words(text))) <= set(front_end.language.alphabet)


@pytest.mark.parametrize("code", SENTENCES)
def test_words_come_back_from_their_own_text(code):
    front_end = FrontEnd.load(code)
    words = front_end.words(SENTENCES[code][0])
    assert front_end.words(" ".join(words)) == words
    assert front_end.words("«" + " — ".join(words).upper() + "…»") == words


@pytest.mark.parametrize("code", ["en", "ru"])
def test_front_end_keeps_what_corpus_and_scores_agree_on(code):
    text = {"en": "The 1st of 28.8 calls (at 5%).", "ru": "Нажмите 1, [тон] или 25 %!"}[code]
    assert FrontEnd.load(code).normalise(text) == normalise(text, code)


def test_symbols_are_the_sorted_union_and_the_space():
    assert symbols(["en"]) == sorted(" '" + string.ascii_lowercase)
    both = symbols(["ru", "fr"])
    assert both == sorted(set(both)) == symbols(["fr", "ru"])
    assert {" ", "é", "щ"} <= set(both) and not {"ё", "A", "1"} & set(both)


@pytest.mark.parametrize("code", languages())
def test_language_files_say_everything_in_their_own_alphabet(code):
    language, front_end = read_language(code), FrontEnd.load(code)
    assert len(set(language.alphabet)) == len(language.alphabet)
    for written, said in {**language.abbreviations, **language.symbols}.items():
        assert front_end.normalise(written) == front_end.normalise(said), written
    for letter, spelling in language.letters.items():
        assert front_end.normalise(letter) == spelling
    assert front_end.normalise("12") != "12" and not any(sign.isdigit() for sign in front_end.normalise("2024"))


def test_abbreviations_end_where_words_end():
    front_end = FrontEnd.load("en")
    assert front_end.normalise("Dr. Who, drum etc.") == "doctor who drum et cetera"
    assert FrontEnd.load("fr").normalise("Mme Dr") == "madame docteur"
    assert FrontEnd.load("fr").normalise("drap") == "drap"


@pytest.mark.parametrize(
    ("code", "text", "named"),
    [
        ("en", "hi 🙂 there", ["'🙂' (SLIGHTLY SMILING FACE) at 4"]),
        ("en", "to мир", ["'м' (CYRILLIC SMALL LETTER EM) at 4", "(CYRILLIC SMALL LETTER ER) at 6", "English"]),
        ("ru", "да hi", ["'h' (LATIN SMALL LETTER H) at 4", "'i' (LATIN SMALL LETTER I) at 5", "Russian"]),
        ("fr", "中", ["CJK UNIFIED IDEOGRAPH-4E2D"]),
        ("en", "soft\u00adly", ["(SOFT HYPHEN) at 5"]),
        ("en", "x² ½", ["(SUPERSCRIPT TWO) at 2", "(VULGAR FRACTION ONE HALF) at 4"]),
        ("it", "a | b", ["'|' (VERTICAL LINE) at 3"]),
        ("en", "🙂" * 30, ["at 5 and 25 more"]),
    ],
)
def test_unknown_symbols_are_named_with_their_places(code, text, named):
    with pytest.raises(TextError) as caught:
        FrontEnd.load(code).words(text)
    assert all(part in str(caught.value) for part in named) and "\n" not in str(caught.value)


def test_places_count_behind_an_abbreviation_too():
    with pytest.raises(TextError, match=r"at 10: write"):
        FrontEnd.load("en").normalise("Mr. Jones🙂")


@pytest.mark.parametrize("text", ["", "   ", "?! ...", "[]", "'"])
def test_a_text_without_a_word_is_refused(text):
    with pytest.raises(TextError, match="expected a word at least"):
        FrontEnd.load("en").normalise(text)


def test_ten_thousand_characters_are_refused_in_one_line():
    with pytest.raises(TextError, match=r"^expected 2000 characters at most, got 10000: cut the text$"):
        FrontEnd.load("en").words("a" * 10_000)
    assert FrontEnd.load("en", max_characters=10_000).words("a" * 10_000) == ["a" * 10_000]


def test_an_unknown_language_lists_the_known_ones():
    with pytest.raises(TextError, match="unknown language 'xx': expected one of en, es, fr, it, ru"):
        FrontEnd.load("xx")
    with pytest.raises(TextError):
        symbols(["en", "../en"])


def test_a_language_is_added_by_adding_a_file(tmp_path):
    (tmp_path / "de.yaml").write_text(
        "name: German\nnum2words: de\nespeak: de\nalphabet: abcdefghijklmnopqrstuvwxyzäöü\n"
        "letters: {ß: ss}\nsymbols: {'%': Prozent}\nabbreviations: {z. B.: zum Beispiel}\n",
        encoding="utf-8",
    )
    assert languages(tmp_path) == ["de"]
    german = FrontEnd.load("de", tmp_path)
    assert german.normalise("Z. B. 21 %, größer: café!") == "zum beispiel einundzwanzig prozent grösser cafe"
    with pytest.raises(TextError, match="German does not know '&'"):
        german.words("A & B")


def test_a_language_file_with_a_wrong_key_is_refused(tmp_path):
    (tmp_path / "de.yaml").write_text("name: German\nalphabets: abc\n")
    with pytest.raises(ValueError, match="de.yaml: expected the keys name, num2words, .* got name, alphabets"):
        read_language("de", tmp_path)


def test_phonemes_say_how_to_install_them_or_work():
    if importlib.util.find_spec("phonemizer") and importlib.util.find_spec("espeakng_loader"):
        assert phonemes("Press two.", "en") == ["pɹˈɛs", "tˈuː"]
    else:
        with pytest.raises(PhonemesMissing, match="requirements/phonemes.in"):
            phonemes("Press two.", "en")
