"""The corpus kde: letters, syllables and words that some forty people recorded at home for two learning programs.

KLettres and KTuberling speak some thirty languages, each recorded by a volunteer with a microphone of his or her own.
The recordings have no texts here and last a second; what they teach is what voices and microphones there are. The words
of a voice are joined into utterances of a few seconds, without the silence around them.
"""

from pathlib import Path

from vectok.corpus import lent
from vectok.corpus.entries import Entry

LICENCE = "GPL-2.0-or-later"
VOICE_SECONDS = 90.0  # of one voice, at most: some recorded a minute, one recorded twenty


def read_kde(folder: Path) -> list[Entry]:
    """Joins the words of every voice of ``<folder>/<program>/<language>/`` and writes ``<folder>/joined/``.

    Raises:
        ValueError: No voice is there, or a word cannot be read (the hashes of all were checked before).
    """
    entries = []
    for voice in sorted(path for path in folder.glob("*/*") if path.is_dir() and path.parent.name != "joined"):
        program, language = voice.parent.name, voice.name
        words = lent.read_clean(sorted(path for path in voice.rglob("*") if path.is_file()))
        about = Entry(
            corpus="kde",
            language=language.lower(),
            name=f"{program}-{language}",
            speaker=f"kde-{program}-{language}",
            path=voice,
            licence=LICENCE,
        )
        entries += lent.entries_of(about, words, VOICE_SECONDS, folder / "joined")
    if not entries:
        raise ValueError(f"{folder}: expected <program>/<language>/<word>.ogg in it, found no voice")
    return entries
