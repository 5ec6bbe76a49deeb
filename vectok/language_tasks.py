"""The tasks over trained language models, on texts and pieces, many items at once; no audio here.

Each task knows both forms of the LM: interleaved (embedded) and plain (paper). In the interleaved form translation is
a chain through texts, what the model heard and what the translation memory has for it; in the plain form it goes from
pieces to pieces.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vectok.bpe import PieceTokenizer
from vectok.clvp.model import Clvp
from vectok.clvp.ranking import NO_SPEECH, speech_scores, text_scores
from vectok.language_items import Begun, Candidate, Heard, Line, TaskConfig
from vectok.lm import sequences, writing
from vectok.lm.generation import Generated, GenerationConfig, Request, generate
from vectok.lm.memory import TranslationMemory
from vectok.lm.model import LanguageModel
from vectok.lm.vocabulary import bpe_hash
from vectok.text import FrontEnd

CLAUSE = re.compile(r"(?<=[.!?;:,])\s+")


class LanguageTasks:
    """TTS, ASR, translation and continuation with one LM, ranked by its likelihood and CLVP.

    Arguments:
        lm: In evaluation mode.
        clvp: In evaluation mode; ranks candidates with the LM.
        tokenizer: Whose pieces the LM speaks.
        config: Sampling.
        memory: Of translations; an empty one where the LM was trained without.
    """

    def __init__(
        self,
        lm: LanguageModel,
        clvp: Clvp,
        tokenizer: PieceTokenizer,
        config: TaskConfig | None = None,
        memory: TranslationMemory | None = None,
    ) -> None:
        self.lm, self.clvp, self.tokenizer = lm, clvp, tokenizer
        self.memory = TranslationMemory() if memory is None else memory
        self.config = TaskConfig() if config is None else config
        self._front_ends: dict[str, FrontEnd] = {}

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes that the LM was trained on."""
        return self.lm.vocabulary.languages

    def can(self, task: str) -> bool:
        """Whether the LM was trained for a task; ``translate`` stands for the whole way from speech to speech."""
        way = (("asr", "mt", "tts") if self.lm.config.interleaved else ("s2st",)) if task == "translate" else (task,)
        return set(way) <= set(self.lm.config.tasks)

    def check(self, task: str, *languages: str) -> None:
        """Refuses tasks and languages that the LM does not know.

        Raises:
            ValueError: The task or a language is unknown; the known ones are listed.
        """
        if not self.can(task):
            raise ValueError(
                f"this language model was not trained for {task}, only for {', '.join(self.lm.config.tasks)}: "
                "take a model of another profile"
            )
        for language in languages:
            self.lm.vocabulary.language(language)

    def words(self, text: str, language: str) -> list[str]:
        """Words of a text as the LM reads them.

        Raises:
            ValueError: An unknown language, an empty or too long text, unknown symbols.
        """
        self.lm.vocabulary.language(language)
        if language not in self._front_ends:
            self._front_ends[language] = FrontEnd.load(language)
        return self._front_ends[language].words(text)

    def lines(self, text: str, language: str, n_words: int) -> list[list[str]]:
        """Words of a text in lines of at most ``n_words``, broken at its punctuation where there is some.

        Raises:
            ValueError: As :meth:`words`.
        """
        self.words(text, language)  # an error names places in the whole text
        found: list[list[str]] = [[]]
        for clause in filter(_has_letter, CLAUSE.split(text)):
            words = self.words(clause, language)
            while words:
                if found[-1] and len(found[-1]) + min(len(words), n_words) > n_words:
                    found.append([])
                room = n_words - len(found[-1])
                found[-1] += words[:room]
                words = words[room:]
        return found if found[0] else [self.words(text, language)]

    def speak(self, lines: Sequence[Line], n_candidates: int, seed: int) -> list[list[Candidate]]:
        """Candidates of each line, in the order of their numbers, with their scores.

        Raises:
            ValueError: As :meth:`words`; two lines of one key.
        """
        return self._say(lines, [self.words(line.text, line.language) for line in lines], n_candidates, seed)

    def _say(
        self, lines: Sequence[Line], words: Sequence[list[str]], n_candidates: int, seed: int
    ) -> list[list[Candidate]]:
        """Candidates of lines whose words are known; a line without words gets one silent candidate."""
        requests = [self._request(line, own, n_candidates) for line, own in zip(lines, words, strict=True) if own]
        drawn = self._draw(requests, seed)
        # In the plain form nobody knows which pieces say which word.
        units = [own if self.lm.config.interleaved else [" ".join(own)] for own in words if own]
        scores = text_scores(self.clvp, units, [[one.pieces_by_word for one in own] for own in drawn])
        texts = [" ".join(own) for own in words if own]
        found = map(self._candidates, drawn, texts, scores)
        return [next(found) if own else [Candidate((), 0.0, NO_SPEECH, True, "")] for own in words]

    def _request(self, line: Line, words: list[str], n_candidates: int) -> Request:
        arguments = (self.lm.vocabulary, line.language, line.style, words)
        if self.lm.config.interleaved:
            return Request(line.key, *sequences.tts_text(*arguments), n_candidates)
        return Request(line.key, sequences.plain_tts_prefix(*arguments), (), n_candidates)

    def transcribe(self, pieces: Sequence[Sequence[int]], languages: Sequence[str]) -> list[str]:
        """Texts of utterances, each given as its pieces; what stands there several times is read once."""
        heard = [writing.Heard(language, tuple(own)) for language, own in zip(languages, pieces, strict=True)]
        different = list(dict.fromkeys(heard))
        found = writing.transcribe(self.lm, different, self.writing_config(), self.lm.config.interleaved)
        texts = {each: written.text.strip() for each, written in zip(different, found, strict=True)}
        return [texts[each] for each in heard]

    def translate_texts(self, texts: Sequence[str], sources: Sequence[str], targets: Sequence[str]) -> list[str]:
        """Translations of normalised texts: of the memory where it holds a text that is alike, else of the LM."""
        given = list(zip(texts, sources, targets, strict=True))
        matches = [self.memory.find(source, text, target) for text, source, target in given]
        own = [place for place, match in enumerate(matches) if match.alike < self.config.least_alike]
        found = [match.text for match in matches]
        written = self._write([given[place] for place in own], [found[place] for place in own], self.config.n_drafts)
        for place, text in zip(own, written, strict=True):
            found[place] = text
        return found

    def write_translations(
        self, texts: Sequence[str], sources: Sequence[str], targets: Sequence[str], n_drafts: int
    ) -> list[str]:
        """The LM's own translations of normalised texts, behind what the memory has for them."""
        given = list(zip(texts, sources, targets, strict=True))
        matches = [self.memory.nearest(source, text, target) for text, source, target in given]
        return self._write(given, matches, n_drafts)

    def _write(self, given: Sequence[tuple[str, str, str]], matches: Sequence[str], n_drafts: int) -> list[str]:
        prefixes = [
            sequences.mt_prefix(self.lm.vocabulary, source, text, target, match)
            for (text, source, target), match in zip(given, matches, strict=True)
        ]
        settings = replace(self.writing_config(), n_drafts=n_drafts)
        return [each.text.strip() for each in writing.write(self.lm, prefixes, settings)]

    def writing_config(self) -> writing.WritingConfig:
        """Settings of :func:`vectok.lm.writing.write`."""
        return writing.WritingConfig(
            max_symbols=self.config.max_symbols,
            n_rows=self.config.n_rows,
            n_drafts=self.config.n_drafts,
            temperature=self.config.draft_temperature,
        )

    def translate(self, heard: Sequence[Heard], n_candidates: int, seed: int) -> list[list[Candidate]]:
        """Candidates of each translation: through texts in the interleaved form, straight in the plain one.

        Where the LM understood no word there is one candidate without pieces.
        """
        if not self.lm.config.interleaved:
            return self._translate_plainly(heard, n_candidates, seed)
        unread = [each for each in heard if each.text is None]
        read = iter(self.transcribe([each.pieces for each in unread], [each.source for each in unread]))
        texts = [next(read) if each.text is None else each.text for each in heard]
        written = self.translate_texts(texts, [each.source for each in heard], [each.target for each in heard])
        lines = [Line(each.key, text, each.target, each.style) for each, text in zip(heard, written, strict=True)]
        return self._say(lines, [text.split() for text in written], n_candidates, seed)

    def _translate_plainly(self, heard: Sequence[Heard], n_candidates: int, seed: int) -> list[list[Candidate]]:
        requests = [
            Request(
                each.key,
                sequences.s2st_prefix(self.lm.vocabulary, each.source, each.pieces, each.target),
                (),
                n_candidates,
            )
            for each in heard
        ]
        drawn = self._draw(requests, seed)
        pieces = [[one.pieces for one in own] for own in drawn]
        scores = speech_scores(self.clvp, [each.pieces for each in heard], pieces)
        return [self._candidates(own, "", given) for own, given in zip(drawn, scores, strict=True)]

    def carry_on(
        self, begun: Sequence[Begun], n_frames: Sequence[int], n_candidates: int, seed: int
    ) -> list[list[Candidate]]:
        """Continuations of utterances, of so many frames at most."""
        requests = [
            Request(each.key, self.continuation_prefix(each), (), n_candidates, most)
            for each, most in zip(begun, n_frames, strict=True)
        ]
        return [self._candidates(own, "", [math.nan] * len(own)) for own in self._draw(requests, seed)]

    def continuation_prefix(self, begun: Begun) -> list[int]:
        """Ids that a continuation stands behind."""
        vocabulary = self.lm.vocabulary
        start = [vocabulary.tag("continue"), vocabulary.language(begun.language)]
        return [*start, *vocabulary.encode_pieces(begun.pieces)]

    def timed_generation(self, seed: int, n_ids: int, n_rows: int) -> GenerationConfig:
        """The same settings for a comparison of speeds: utterances of so many ids at most, all rows in flight."""
        return replace(self.config.generation(seed, False), max_pieces=n_ids, n_rows=n_rows)

    def _draw(self, requests: Sequence[Request], seed: int) -> list[list[Generated]]:
        """Samples, request by request."""
        in_words = any(request.queue for request in requests)
        drawn = iter(generate(self.lm, requests, self.config.generation(seed, in_words), self.tokenizer.piece_lengths))
        return [[next(drawn) for _ in range(request.n_candidates)] for request in requests]

    def _candidates(self, drawn: Sequence[Generated], text: str, scores: Sequence[float]) -> list[Candidate]:
        return [
            Candidate(tuple(one.pieces), one.logprob / max(1, one.n_drawn), score, one.stopped, text)
            for one, score in zip(drawn, scores, strict=True)
        ]


def load_tasks(
    lm_folder: Path, clvp_folder: Path, codebook_hash: str, config: TaskConfig | None = None
) -> LanguageTasks:
    """Opens the language models of one training.

    Arguments:
        lm_folder: What the lm stage left, the model of its pieces among it.
        clvp_folder: What the clvp stage left.
        codebook_hash: Of the codebook whose tokens they speak.
        config: Sampling.
    Raises:
        ValueError: A stage has not run, or the models belong to other codebooks, BPE models or vocabularies; both
            hashes are named.
    """
    lm, clvp = LanguageModel.load(lm_folder), Clvp.load(clvp_folder)
    pieces = PieceTokenizer(lm_folder / "bpe.model")
    lm.vocabulary.check(codebook_hash, bpe_hash((lm_folder / "bpe.model").read_bytes()))
    clvp.vocabulary.check_same(lm.vocabulary)
    return LanguageTasks(lm, clvp, pieces, config, TranslationMemory.load(lm_folder / "memory.json"))


def _has_letter(text: str) -> bool:
    return any(character.isalnum() for character in text)
