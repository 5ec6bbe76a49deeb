"""The one normaliser of the project: corpus texts and ASR transcripts go through the same rules before they meet."""

import re
import unicodedata

LANGUAGES = ("en", "es", "fr", "it", "ru")
FOLDED_LANGUAGES = frozenset({"es"})  # the Spanish texts of asterisk lack most accents, so scores must not see them
LONGEST_NUMBER = 9  # digits; longer strings and those with a leading zero are codes, read digit by digit

SYMBOLS = {
    "en": {"&": "and", "@": "at", "%": "percent", "#": "pound", "*": "star", "+": "plus"},
    "es": {"&": "y", "@": "arroba", "%": "por ciento", "#": "numero", "*": "asterisco", "+": "más"},
    "fr": {"&": "et", "@": "arobase", "%": "pour cent", "#": "dièse", "*": "étoile", "+": "plus"},
    "it": {"&": "e", "@": "chiocciola", "%": "per cento", "#": "cancelletto", "*": "asterisco", "+": "più"},
    "ru": {"&": "и", "@": "собака", "%": "процентов", "#": "решетка", "*": "звездочка", "+": "плюс"},
}
ORDINALS = {
    "en": r"(?:st|nd|rd|th)\b",
    "es": r"(?:\.?[ºª°])",
    "fr": r"(?:ère|ème|er|re|e)\b",
    "it": r"(?:[ºª°])",
    "ru": r"(?:-?(?:й|ый|ой|ий|я|е|го|му))\b",
}
APOSTROPHES = str.maketrans({"’": "'", "ʼ": "'", "`": "'", "´": "'", "‘": "'"})


def normalise(text: str, language: str, fold_accents: bool = False) -> str:
    """Lower-case words separated by one space: no punctuation, no digits, ё written е.

    Digits become words (num2words), a few symbols too, words in hyphens part, apostrophes inside words stay. Brackets
    go and what they hold stays; a bracket without a letter or digit in it goes whole.

    Arguments:
        text: Any text or transcript.
        language: One of en, es, fr, it, ru.
        fold_accents: Writes Latin letters without their accents, ñ as n.
    Raises:
        ValueError: Unknown language.
    Example:
        >>> normalise("Press 2, or dial #21!", "en"), normalise("Dix-sept  été", "fr", fold_accents=True)
        ('press two or dial pound twenty one', 'dix sept ete')
    """
    if language not in LANGUAGES:
        raise ValueError(f"unknown language {language!r}: the normaliser has {', '.join(LANGUAGES)}")
    text = unicodedata.normalize("NFC", text).translate(APOSTROPHES).lower()
    text = re.sub(r"\[[^\w\]]*\]", " ", text)
    text = spell_digits(text, language)
    for symbol, word in SYMBOLS[language].items():
        text = text.replace(symbol, f" {word} ")
    text = unicodedata.normalize("NFKC", text).replace("ё", "е")
    text = fold(text) if fold_accents else text
    text = re.sub(r"[^\w' ]|_", " ", text)
    return " ".join(word for word in (part.strip("'") for part in text.split()) if word)


def scoring_text(text: str, language: str) -> str:
    """What error rates compare: :func:`normalise`, with accents folded where the reference texts lack them (es).

    Example:
        >>> scoring_text("¿Contraseña?", "es"), scoring_text("Été.", "fr")
        ('contrasena', 'été')
    """
    return normalise(text, language, fold_accents=language in FOLDED_LANGUAGES)


def fold(text: str) -> str:
    """Latin letters without accents; Cyrillic й stays a letter of its own.

    Example:
        >>> fold("niño й")
        'nino й'
    """
    return "".join(
        unicodedata.normalize("NFD", letter)[0] if "LATIN" in unicodedata.name(letter, "") else letter
        for letter in text
    )


def spell_digits(text: str, language: str) -> str:
    """Numbers, decimals and ordinals as words.

    Example:
        >>> spell_digits("1st of 28.8", "en")
        ' first  of  twenty-eight point eight '
    """
    pattern = rf"(\d+(?:[.,]\d+)*)({ORDINALS[language]})?"
    return re.sub(pattern, lambda found: f" {_spell(found[1], found[2] is not None, language)} ", text)


def _spell(number: str, is_ordinal: bool, language: str) -> str:
    from num2words import num2words

    if re.fullmatch(r"\d{1,3}([.,]\d{3})+", number) and not number.startswith("0"):
        number = re.sub(r"[.,]", "", number)  # thousands
    parts = re.split(r"[.,]", number)
    if len(parts) == 2 and len(parts[0]) <= LONGEST_NUMBER and len(parts[1]) <= LONGEST_NUMBER:
        return num2words(float(".".join(parts)), lang=language)
    if is_ordinal and len(parts) == 1 and len(number) <= LONGEST_NUMBER:
        return num2words(int(number), lang=language, to="ordinal")
    return " ".join(_spell_whole(part, language) for part in parts)


def _spell_whole(digits: str, language: str) -> str:
    from num2words import num2words

    if len(digits) > LONGEST_NUMBER or (len(digits) > 1 and digits.startswith("0")):
        return " ".join(num2words(int(digit), lang=language) for digit in digits)
    return num2words(int(digits), lang=language)
