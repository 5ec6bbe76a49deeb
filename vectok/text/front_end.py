"""Any text to the words that a language model reads: lower case, no digits, only letters of the language's alphabet.

The rules are those of :mod:`vectok.corpus.text`, which corpus and scores share, after abbreviations and before the
alphabet has the last word. Punctuation is dropped, as nobody says it; every other symbol that no rule knows is an error
that names it and its place.
"""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from vectok.corpus import text as corpus_text
from vectok.text.language_files import FOLDER, Language, TextError, languages, read_language

__all__ = ["FrontEnd", "TextError", "Unknown", "languages", "symbols"]

MOST_CHARACTERS = 2000
MOST_NAMED = 5  # unknown symbols that one message names


class Unknown(NamedTuple):
    """A symbol that the language does not know, and its place in the text (NFC), counted from 1."""

    symbol: str
    place: int

    def __str__(self) -> str:
        name = unicodedata.name(self.symbol, f"U+{ord(self.symbol):04X}")
        shown = f"{self.symbol!r} " if self.symbol.isprintable() else ""
        return f"{shown}({name}) at {self.place}"


def symbols(codes: Iterable[str]) -> list[str]:
    """All symbols of several languages: the sorted union of their alphabets, and the space between words.

    Raises:
        TextError: Unknown language.
    Example:
        >>> len(symbols(["en"])), symbols(["en", "es"]) == symbols(["en"])
        (28, True)
    """
    return sorted({" "}.union(*(read_language(code).alphabet for code in codes)))


def _one_space(written: str) -> str:
    return " ".join(unicodedata.normalize("NFC", written).lower().split())


class FrontEnd:
    """One language's way from text to words.

    Arguments:
        code: Its code, such as "en".
        language: Its rules; :meth:`load` reads them from its file.
        max_characters: Longer texts are refused.
    """

    def __init__(self, code: str, language: Language, max_characters: int = MOST_CHARACTERS) -> None:
        self.code, self.language, self.max_characters = code, language, max_characters
        self._said = corpus_text.SYMBOLS.get(code, {}) | language.symbols
        self._expansions = {_one_space(written): said for written, said in language.abbreviations.items()}
        longest_first = sorted(self._expansions, key=len, reverse=True)
        choices = "|".join(re.escape(written).replace(r"\ ", r"\s+") for written in longest_first)
        self._abbreviation = re.compile(rf"(?<![\w'])(?:{choices or '(?!)'})(?!\w)", re.IGNORECASE)

    @classmethod
    def load(cls, code: str, folder: Path = FOLDER, max_characters: int = MOST_CHARACTERS) -> "FrontEnd":
        """The front end of one language.

        Raises:
            TextError: Unknown language; the known ones are listed.
        """
        return cls(code, read_language(code, folder), max_characters)

    def normalise(self, text: str) -> str:
        """Words of the alphabet's letters, separated by one space.

        Raises:
            TextError: No word, too many characters, or symbols that the language does not know, each with its place.
        Example:
            >>> FrontEnd.load("en").normalise("Dr. O'Neill, press 2!"), FrontEnd.load("fr").normalise("L'œuvre naïve")
            ("doctor o'neill press two", "l'oeuvre naive")
        """
        if len(text) > self.max_characters:
            raise TextError(f"expected {self.max_characters} characters at most, got {len(text)}: cut the text")
        text = unicodedata.normalize("NFC", text)
        if unknown := self.unknown(text):
            named = ", ".join(map(str, unknown[:MOST_NAMED]))
            more = f" and {len(unknown) - MOST_NAMED} more" if len(unknown) > MOST_NAMED else ""
            raise TextError(f"{self.language.name} does not know {named}{more}: write them as words or leave them out")
        words = " ".join(self._letters(self._spelt(self._expanded(text))).split())
        if not words:
            raise TextError("expected a word at least, got an empty text: give something to say")
        return words

    def words(self, text: str) -> list[str]:
        """The words of a text, each a string of symbols of the alphabet; errors as :meth:`normalise`.

        Example:
            >>> FrontEnd.load("es").words("¡Adiós, señor!")
            ['adios', 'senor']
        """
        return self.normalise(text).split(" ")

    def unknown(self, text: str) -> list[Unknown]:
        """Symbols of a text (NFC) that no rule of the language reads, with their places."""
        hidden = self._abbreviation.sub(lambda found: " " * len(found[0]), text)
        unread = {symbol for symbol in set(hidden) if not self._reads(symbol)}
        return [Unknown(symbol, place) for place, symbol in enumerate(hidden, 1) if symbol in unread]

    def _reads(self, symbol: str) -> bool:
        """Whether a rule reads a symbol: space, punctuation, digit, said symbol or a letter of the alphabet."""
        if symbol in self._said or symbol.isspace():
            return True
        if unicodedata.category(symbol) == "No":  # superscripts, fractions, digits in circles
            return False
        plain = unicodedata.normalize("NFKC", symbol.translate(corpus_text.APOSTROPHES).lower())
        return all(map(self._keeps, self._letters(plain).strip() or plain))

    def _keeps(self, letter: str) -> bool:
        is_silent = unicodedata.category(letter)[0] in "PZ" and letter not in corpus_text.SYMBOLS["en"]
        return is_silent or letter in self.language.alphabet or letter in "0123456789"

    def _expanded(self, text: str) -> str:
        return self._abbreviation.sub(lambda found: f" {self._expansions[_one_space(found[0])]} ", text)

    def _spelt(self, text: str) -> str:
        """Digits and symbols as words, the rest as corpus and scores have it."""
        for symbol, word in self.language.symbols.items():
            text = text.replace(symbol, f" {word} ")
        if self.code in corpus_text.LANGUAGES:
            return corpus_text.normalise(text, self.code)
        for symbol, word in self._said.items():
            text = text.replace(symbol, f" {word} ")
        # No digit and no symbol is left, so that the normaliser has nothing to say in English.
        return corpus_text.normalise(re.sub(r"\d+", self._whole_number, text), "en")

    def _whole_number(self, found: re.Match[str]) -> str:
        from num2words import num2words

        return f" {num2words(int(found[0]), lang=self.language.num2words)} "

    def _letters(self, text: str) -> str:
        """Respells letters, takes away accents that the alphabet does not have; a foreign apostrophe parts words."""
        for letter, spelling in self.language.letters.items():
            text = text.replace(letter, spelling)
        kept = self.language.alphabet + " "
        folded = "".join(letter if letter in kept else corpus_text.fold(letter) for letter in text)
        return folded if "'" in kept else folded.replace("'", " ")
