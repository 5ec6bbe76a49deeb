"""One utterance as a corpus describes it, before anything is measured."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a corpus says about one recording.

    Arguments:
        corpus: Name of the corpus, the first part of every name below.
        language: Two letters.
        name: Name inside the corpus and language; the same name in two languages means the same text, translated.
        speaker: ``<corpus>-<code>``.
        path: The recording.
        text: As the corpus writes it, with digits, brackets and all; empty when it has none.
        licence: Short name.
        bandwidth_hz: Highest frequency with speech in it; half the file's rate (8 kHz at most) when not given.
        split: dev or test when the corpus itself says so, voices when it lends voices alone, else empty.
    """

    corpus: str
    language: str
    name: str
    speaker: str
    path: Path
    text: str = ""
    licence: str = "unknown"
    bandwidth_hz: int | None = None
    split: str = ""

    @property
    def utterance(self) -> str:
        """``<corpus>/<language>/<name>``."""
        return f"{self.corpus}/{self.language}/{self.name}"

    @property
    def prompt(self) -> str:
        """What was said, in whatever language: ``<corpus>/<name>``."""
        return f"{self.corpus}/{self.name}"
