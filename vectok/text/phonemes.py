"""Phonemes of espeak-ng, an optional extra: it is licensed under the GPL, so that nothing else here imports it."""

from functools import cache

from vectok.text.front_end import FrontEnd

EXTRA = "pip install -r requirements/phonemes.in (GPL-3, beside this project's own licence)"


class PhonemesMissing(ValueError):
    """The optional extra is not installed; the message says how to install it."""


@cache
def _backend(voice: str) -> object:
    try:
        import espeakng_loader
        from phonemizer.backend import EspeakBackend
        from phonemizer.backend.espeak.wrapper import EspeakWrapper
    except ImportError as error:
        raise PhonemesMissing(f"phonemes need an optional extra, got {error}: {EXTRA}") from error
    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    return EspeakBackend(voice, with_stress=True, language_switch="remove-flags", words_mismatch="ignore")


def phonemes(text: str, code: str) -> list[str]:
    """Phonemes of each word of a text, as a string of IPA symbols with stress marks.

    Source: the paper's language model reads phonemes. *Deviation*: characters are the default, these an extra.
    Arguments:
        text: Normalised by :class:`vectok.text.FrontEnd` first.
        code: Language.
    Raises:
        TextError: See :meth:`vectok.text.FrontEnd.normalise`.
        PhonemesMissing: The extra is not installed.
    """
    front_end = FrontEnd.load(code)
    words = front_end.words(text)
    backend = _backend(front_end.language.espeak)
    from phonemizer.separator import Separator

    return [said.strip() for said in backend.phonemize(words, separator=Separator(phone="", word=""), strip=True)]
