"""The corpus asterisk: telephone prompts in five languages, one voice each, the same ids in all of them.

What it needs: sounds that are no speech are left out, and so are texts that stand whole in square brackets; letters
that a wrong encoding lost in the Italian texts are restored; an id that a Russian text repeats is cut off.
"""

import re
from pathlib import Path

from vectok.corpus.entries import Entry

BANDWIDTH_HZ = 7_000  # G.722
LICENCES = {"en": "CC-BY-SA-3.0", "es": "CC-BY-SA-3.0", "fr": "CC-BY-SA-3.0", "it": "CC-BY-3.0", "ru": "CC-BY-3.0"}
NOT_SPEECH = frozenset(
    {"beep", "beeperr", "ascending-2tone", "descending-2tone", "confbridge-join", "confbridge-leave", "tt-monkeys"}
)
# Italian words whose accented letter arrived as a question mark.
LOST_LETTERS = (
    (r"\bsar\?", "sarà"),
    (r"\bpu\?", "può"),
    (r"\bpi\?", "più"),
    (r"\bcos\?", "così"),
    (r"(?<= )\?(?= )", "è"),
)


def read_texts(path: Path) -> dict[str, str]:
    """Reads ``core-sounds-XX.txt``: lines ``id: text``, comments after ``;``, a byte order mark.

    Raises:
        ValueError: The file is not UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8 text ({error}): fetch it again") from None
    pairs = (line.split(":", 1) for line in lines if ":" in line and not line.startswith(";"))
    return {name.strip(): clean_text(name.strip(), text, path.stem[-2:]) for name, text in pairs}


def clean_text(name: str, text: str, language: str) -> str:
    """Repairs one text.

    Example:
        >>> clean_text("x", " x: Non pu? essere ", "it")
        'Non può essere'
    """
    text = text.strip().removeprefix(f"{name}:").strip()
    for pattern, letters in LOST_LETTERS if language == "it" else ():
        text = re.sub(pattern, letters, text)
    return text


def is_speech(name: str, text: str) -> bool:
    """Whether a prompt is speech, by its id and text.

    Example:
        >>> is_speech("vm-intro", "Please"), is_speech("silence/1", ""), is_speech("x", "[a bell]")
        (True, False, False)
    """
    return name not in NOT_SPEECH and not name.startswith("silence/") and not re.fullmatch(r"\s*\[[^\]]*\]\s*", text)


def read_asterisk(folder: Path) -> list[Entry]:
    """Every spoken prompt of ``<folder>/<language>/<id>.g722`` with the texts beside them.

    Raises:
        ValueError: No language folder.
    """
    entries = []
    for code in sorted(LICENCES):
        texts_file = folder / code / f"core-sounds-{code}.txt"
        texts = read_texts(texts_file) if texts_file.is_file() else {}
        for path in sorted((folder / code).rglob("*.g722")):
            name = path.relative_to(folder / code).with_suffix("").as_posix()
            if is_speech(name, texts.get(name, "")):
                entries.append(
                    Entry(
                        corpus="asterisk",
                        language=code,
                        name=name,
                        speaker=f"asterisk-{code}",
                        path=path,
                        text=texts.get(name, ""),
                        licence=LICENCES[code],
                        bandwidth_hz=BANDWIDTH_HZ,
                    )
                )
    if not entries:
        raise ValueError(f"{folder}: expected <language>/<id>.g722 in it, found none: run the corpus stage again")
    return entries
