"""The text front end: any text to the symbols of a language, or one clear error. A language is a file of languages/."""

from vectok.text.front_end import FrontEnd, TextError, languages, symbols

__all__ = ["FrontEnd", "TextError", "languages", "symbols"]
