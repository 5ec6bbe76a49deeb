"""Listening examples of the language side, with their texts."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vectok.evaluation.examples import CREDITS, Example
from vectok.evaluation.language_rows import CONTINUATION, S2ST, TTS
from vectok.evaluation.systems import Clip

HEARD = {
    TTS: ("ground_truth", "tokens", "tts", "style_transfer"),
    S2ST: ("source", "s2st", "ground_truth"),
    CONTINUATION: ("ground_truth", "continuation"),
}
SHORT = {TTS: "tts", S2ST: "s2st", CONTINUATION: "continuation"}


def choose(rows: pd.DataFrame, n_examples: int) -> list[Example]:
    """Items spread evenly over the languages of each table; recordings of the source stand beside translations.

    Arguments:
        rows: Of all tables, as :class:`vectok.evaluation.language_rows.LanguageRow`.
        n_examples: Items of each table.
    """
    chosen = []
    for table, systems in HEARD.items():
        part = rows[rows["table"] == table]
        main = part[part["system"].isin(["tts", "s2st", "continuation"]) & part["is_seen"]]
        items = main.sort_values(["language", "item"])["item"].unique()
        places = np.unique(np.linspace(0, len(items) - 1, min(n_examples, len(items))).round().astype(int))
        for number, place in enumerate(places if len(items) else (), 1):
            chosen.append(Example(SHORT[table], number, items[place], _clips(part, items[place], systems)))
    return chosen


def _clips(part: pd.DataFrame, item: str, systems: Sequence[str]) -> dict[str, str]:
    """Clips of one item by system; style transfer stands under the same text with another voice."""
    utterance = item.split(">")[0]
    own = part[part["item"].str.split(">").str[0] == utterance] if part["table"].iloc[0] == TTS else part
    own = own[own["is_seen"] | (own["system"] == "style_transfer")]
    own = own[(own["item"] == item) | (own["system"] == "style_transfer")]
    found = own.drop_duplicates("system").set_index("system")["clip"].to_dict()
    found["source"] = Clip("recording", utterance).name
    return {system: found[system] for system in systems if system in found}


def index_page(files: pd.DataFrame, rows: pd.DataFrame, written: dict[str, str]) -> str:
    """A Markdown page that links every file, each item with its text and what the LM wrote, and the credits.

    Arguments:
        files: What :func:`vectok.evaluation.examples.write` gives.
        rows: Of all tables.
        written: The LM's own text by clip.
    """
    parts = ["# Listening examples of the language side", CREDITS]
    tables = {short: rows[rows["table"] == table] for table, short in SHORT.items()}
    for table, part in files.groupby("table", sort=False):
        parts.append(f"## {table}")
        for item, own in part.groupby("item", sort=False):
            links = ", ".join(f"[{row.system}]({row.file})" for row in own.itertuples())
            said = tables[table][tables[table]["item"] == item]
            text = next((f'"{text}"' for text in said["text"] if text), "goes on after three seconds")
            wrote = [written[clip] for clip in said["clip"] if written.get(clip)] if table == "s2st" else []
            text += f' (the LM wrote "{wrote[0]}")' if wrote else ""
            parts.append(f"`{item}`: {text}\n\n{links}\n\n![spectrograms]({own['spectrogram'].iloc[0]})")
    return "\n\n".join(parts) + "\n"
