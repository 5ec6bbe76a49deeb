"""Sequences that people can read."""

from html import escape

from vectok.lm.sequences import TaskSequence
from vectok.lm.vocabulary import SEPARATOR, Vocabulary

_STYLES = {
    "tag": "color:#999",
    "text": "color:#1f4e9c;font-weight:bold",
    "target": "background:#f6c28b;border-radius:3px;padding:0 2px",
    "context": "background:#ececec;border-radius:3px;padding:0 2px",
}


def readable(vocabulary: Vocabulary, found: TaskSequence) -> str:
    """A sequence as HTML: text blue, pieces boxed (orange where their loss counts in full), tags grey.

    Arguments:
        vocabulary: What the ids mean.
        found: Any sequence.
    """
    parts = []
    for i, weight, name in zip(found.ids, found.weights, vocabulary.names(found.ids), strict=True):
        if i >= vocabulary.first_piece:
            kind = "target" if weight == 1.0 else "context"
        else:
            kind = "text" if i >= vocabulary.first_symbol else "tag"
        shown = "&nbsp;" if name == SEPARATOR else escape(name.removeprefix("#") if kind != "text" else name)
        parts.append(f'<span style="{_STYLES[kind]}">{shown}</span>')
    return f'<div style="line-height:1.7;font-family:monospace">{" ".join(parts)}</div>'
