"""A memory of translations: for a text, what the nearest text of training was translated to.

Some hundred texts in each pair of languages are too few to learn translation from, but menus and announcements resemble
each other. So the nearest text's translation is taken where one is alike (example-based translation, Nagao 1984), and
stands in front of the text that the model translates itself (Bulte and Tezcan, "Neural Fuzzy Repair", ACL 2019, whose
fuzzy matches stand behind the source). *Deviation*: the paper has translated speech enough to do without.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from rapidfuzz import process
from rapidfuzz.distance import Indel
from sklearn.feature_extraction.text import TfidfVectorizer

LONGEST_NGRAM = 4


class _Texts(NamedTuple):
    """Groups that have a language, and the weights of the character n-grams of their texts in it, a sparse matrix."""

    groups: list[dict[str, str]]
    weigh: TfidfVectorizer
    weights: Any


class Match(NamedTuple):
    """What the nearest text was translated to, empty where there is none, and how alike that text is, 0 to 1."""

    text: str
    alike: float


class TranslationMemory:
    """Texts that say the same, and the search for the nearest.

    Arguments:
        groups: Normalised texts by language, each group one meaning.
    """

    def __init__(self, groups: Sequence[Mapping[str, str]] = ()) -> None:
        self.groups = tuple(dict(group) for group in groups)
        self._texts = cache(self._texts)

    def _texts(self, language: str) -> _Texts:
        groups = [own for own in self.groups if own.get(language)]
        weigh = TfidfVectorizer(analyzer="char", ngram_range=(1, LONGEST_NGRAM), sublinear_tf=True)
        return _Texts(groups, weigh, weigh.fit_transform([own[language] for own in groups]) if groups else None)

    def nearest(self, source: str, text: str, target: str, leave_out: bool = False) -> str:
        """The text of :meth:`find`."""
        return self.find(source, text, target, leave_out).text

    def find(self, source: str, text: str, target: str, leave_out: bool = False) -> Match:
        r"""Translation of the text that resembles ``text`` most, the first of equals.

        .. math:: \arg\max_i \frac12 \Big( \frac{2 \, \mathrm{lcs}(t, t_i)}{|t| + |t_i|} + \cos(v(t), v(t_i)) \Big)

        v are weights of character n-grams (tf-idf), which know what is rare; the common subsequence forgives
        misspelling. Together they find better than either, in clean and in misheard texts of dev (reports/LOG.md).

        Arguments:
            source: Language of ``text``.
            text: Normalised.
            target: Language of the translation.
            leave_out: Whether ``text`` itself does not count, where it is in the memory: in training.
        """
        known = self._texts(source)
        places = [
            place
            for place, own in enumerate(known.groups)
            if own.get(target) and not (leave_out and own[source] == text)
        ]
        if not places:
            return Match("", 0.0)
        others = [known.groups[place] for place in places]
        common = process.cdist([text], [own[source] for own in others], scorer=Indel.normalized_similarity)[0]
        cosines = (known.weights[places] @ known.weigh.transform([text]).T).toarray()[:, 0]
        alike = (common + cosines) / 2
        return Match(others[int(alike.argmax())][target], float(alike.max()))

    def save(self, path: Path) -> None:
        """Writes the texts as JSON."""
        path.write_text(json.dumps(self.groups, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "TranslationMemory":
        """Reads what :meth:`save` wrote.

        Raises:
            ValueError: There is no such file.
        """
        if not path.is_file():
            raise ValueError(f"no translation memory {path}: run the lm stage first (make repro)")
        return cls(json.loads(path.read_text(encoding="utf-8")))
