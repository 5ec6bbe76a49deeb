"""Reads what a language is: one YAML file each, in ``vectok/text/languages/``.

Adding a language means adding a file there: its name, the code that num2words knows it by, espeak's voice, its
alphabet, respelt letters, symbols that are said, abbreviations.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import yaml

FOLDER = Path(__file__).resolve().parent / "languages"


class TextError(ValueError):
    """A text that cannot be said, in one line: what was expected, what came, what to do."""


@dataclass(frozen=True, kw_only=True)
class Language:
    """One language file.

    Arguments:
        name: In English.
        num2words: Code of the language in num2words, which spells numbers.
        espeak: Voice of the language in espeak-ng, for the optional phonemes.
        alphabet: Every letter of a normalised word. An accented letter that is missing here loses its accent.
        letters: Letters that are respelt, such as ligatures.
        symbols: Symbols that are said, beside those of :mod:`vectok.corpus.text`.
        abbreviations: Words that are said otherwise than they are written, in any case of letters.
    """

    name: str
    num2words: str
    espeak: str
    alphabet: str
    letters: dict[str, str]
    symbols: dict[str, str]
    abbreviations: dict[str, str]


def languages(folder: Path = FOLDER) -> list[str]:
    """Codes of all languages that have a file.

    Example:
        >>> languages()
        ['en', 'es', 'fr', 'it', 'ru']
    """
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read_language(code: str, folder: Path = FOLDER) -> Language:
    """One language by its code.

    Raises:
        TextError: There is no such file.
        ValueError: The file lacks a key, has one too many, or a value of another kind.
    """
    if code not in languages(folder):
        raise TextError(f"unknown language {code!r}: expected one of {', '.join(languages(folder))}, or add its file")
    path = folder / f"{code}.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    kinds = {field.name: str if field.type is str else dict for field in dataclasses.fields(Language)}
    if not isinstance(content, dict) or content.keys() != kinds.keys():
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path.name}: expected the keys {', '.join(kinds)}, got {found}: see en.yaml")
    if wrong := [key for key, kind in kinds.items() if not isinstance(content[key], kind)]:
        raise ValueError(f"{path.name}: expected texts, and texts by text in braces, got another {wrong[0]}: quote it")
    return Language(**content)
