"""Speech from texts, in other languages, further on, and as texts: the tasks over the trained language models.

Everything here changes durations; what keeps them (voice conversion) is in :mod:`vectok.api`. Audio is a path, or
float32 samples at 16 kHz; what comes out is such samples.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vectok.api import Audio, VecTok, load_parts
from vectok.config import read_params
from vectok.frames import SAMPLE_RATE_HZ, frames_of_seconds, samples_of_frames, samples_of_seconds
from vectok.language_checks import check_prompt, check_seconds, check_source, speech_samples
from vectok.language_items import Begun, Candidate, Heard, Line
from vectok.language_tasks import LanguageTasks, load_tasks
from vectok.parts import (
    LanguageParts,
    Parts,
    language_parts_of_profile,
    language_parts_of_release,
    parts_of_profile,
    parts_of_release,
)

LONGEST_CONTINUATION_SECONDS = 20.0
WORDS_A_LINE = 12  # longer texts are said line by line, with a pause between
PAUSE_SECONDS = 0.2


class Spoken(NamedTuple):
    """What was said.

    ``score`` is CLVP's similarity of text and speech (NaN for a continuation), ``stopped`` whether the LM ended by
    itself rather than at its limit; ``text`` is what was to be said.
    """

    audio: Float[Tensor, " samples"]
    pieces: Int[Tensor, " pieces"]
    text: str
    score: float
    stopped: bool


class LanguageSystem:
    """A whole system that speaks: a :class:`vectok.api.VecTok` and the tasks over its language models.

    Arguments:
        codec: Audio to tokens and back.
        tasks: Tokens and texts.
    """

    def __init__(self, codec: VecTok, tasks: LanguageTasks) -> None:
        self.codec, self.tasks = codec, tasks

    def __repr__(self) -> str:
        return f"LanguageSystem({self.codec!r}, languages={', '.join(self.tasks.languages)})"

    def say(
        self, text: str, language: str, voice: Audio, style: Audio | None = None, n_candidates: int = 16, seed: int = 0
    ) -> Spoken:
        r"""Says a text in the voice of one recording and in the manner of another.

        .. math:: tok' = \mathrm{LM}(tok_{style}, text), \qquad wave = \mathrm{Decoder}(vec_{voice}, tok')

        Source: Vec-Tok Speech, Eq. 2 and 3; of the candidates that are sampled, likelihood and CLVP choose.
        Arguments:
            text: Any text; digits and abbreviations are spelt out, texts of many words are said line by line.
            language: Code.
            voice: 1 to 30 s of whoever is to say it.
            style: 1 to 30 s of how it is to be said; the voice itself by default.
            n_candidates: Sampled; the paper's are 256.
            seed: Of the noise: same seed, same speech.
        Raises:
            ValueError: An empty, too long or unreadable text, an unknown language, a prompt without speech.
        """
        self.tasks.check("tts", language)
        lines = [" ".join(words) for words in self.tasks.lines(text, language, WORDS_A_LINE)]
        timbre = self.codec.prompt_vectors(self._prompt(voice, "voice"))
        manner = self._style(self._prompt(voice if style is None else style, "style"))
        asked = [Line(f"say {number}", line, language, manner) for number, line in enumerate(lines)]
        return self._joined(self.tasks.speak(asked, n_candidates, seed), timbre)

    def translate(
        self, wav: Audio, source_language: str, target_language: str, voice: Audio | None = None,
        n_candidates: int = 16, seed: int = 0,
    ) -> Spoken:  # fmt: skip
        """Says what a recording says in another language, in its own voice unless another is given.

        Source: Vec-Tok Speech, Eq. 11. *Deviation*: the embedded LM writes the source text, its translation and then
        speaks, all by itself from the tokens; the paper's goes from tokens to tokens.
        Arguments:
            wav: 0.4 to 30 s of speech.
            source_language: Code.
            target_language: Another code.
            voice: 1 to 30 s of the voice to speak with.
            n_candidates: Sampled; likelihood and CLVP choose.
            seed: Of the noise.
        Raises:
            ValueError: As :meth:`say`; the two languages are one.
        """
        if source_language == target_language:
            raise ValueError(f"expected two languages, got {source_language} twice: name the one to translate into")
        self.tasks.check("translate", source_language, target_language)
        samples = self._source(wav)
        prompt = self._prompt(wav if voice is None else voice, "voice")
        pieces, style = self._pieces(samples), self._style(prompt)
        heard = Heard("translate", pieces, source_language, target_language, style)
        return self._joined(self.tasks.translate([heard], n_candidates, seed), self.codec.prompt_vectors(prompt))

    def continue_speech(
        self, wav: Audio, language: str, seconds: float, n_candidates: int = 16, seed: int = 0
    ) -> Spoken:
        """Goes on speaking where a recording ends; the audio holds what is new.

        Arguments:
            wav: 1 to 30 s of speech.
            language: Code.
            seconds: To generate, at most 20; less when the LM ends before in all candidates.
            n_candidates: Sampled; of those that last longest, up to ``seconds``, the likeliest is kept.
            seed: Of the noise.
        Raises:
            ValueError: As :meth:`say`; a duration out of range.
        """
        check_seconds(seconds, LONGEST_CONTINUATION_SECONDS)
        self.tasks.check("continuation", language)
        samples = self._prompt(wav, "recording")
        before = self.codec.encode(samples)
        begun = Begun("continue", self._pieces_of(before.tokens), language)
        n_frames = frames_of_seconds(seconds)
        candidates = self.tasks.carry_on([begun], [n_frames], n_candidates, seed)[0]
        said = [(self._tokens(one)[:n_frames], one) for one in candidates]
        tokens, best = max(said, key=lambda pair: (len(pair[0]), pair[1].logprob))
        if not len(tokens):
            raise ValueError("the language model ended at once: try another seed or a shorter recording")
        audio = self.codec.decode(torch.cat([before.tokens, tokens]), before.vectors)
        return Spoken(
            audio[samples_of_frames(len(before.tokens)) :], torch.tensor(best.pieces), "", best.score, best.stopped
        )

    def transcribe(self, wav: Audio, language: str) -> str:
        """The text that the LM reads from a recording's tokens.

        Raises:
            ValueError: As :meth:`say`.
        """
        self.tasks.check("asr", language)
        return self.tasks.transcribe([self._pieces(self._source(wav))], [language])[0]

    def _prompt(self, wav: Audio, what: str) -> Float[Tensor, " samples"]:
        samples = speech_samples(wav)
        check_prompt(samples, str(wav) if isinstance(wav, str | Path) else f"the given {what}")
        return samples

    def _source(self, wav: Audio) -> Float[Tensor, " samples"]:
        samples = speech_samples(wav)
        check_source(samples, str(wav) if isinstance(wav, str | Path) else "the given recording")
        return samples

    def _pieces(self, samples: Float[Tensor, " samples"]) -> tuple[int, ...]:
        """What the LM reads of a recording."""
        return self._pieces_of(self.codec.encode(samples).tokens)

    def _pieces_of(self, tokens: Int[Tensor, " frames"]) -> tuple[int, ...]:
        """Tokens in the LM's own pieces."""
        return tuple(self.tasks.tokenizer.encode(tokens).tolist())

    def _style(self, samples: Float[Tensor, " samples"]) -> tuple[int, ...]:
        """Pieces of the beginning of a style prompt, as long as the LM has seen any."""
        return self._pieces(samples[: samples_of_seconds(self.tasks.config.style_seconds)])

    def _tokens(self, candidate: Candidate) -> Int[Tensor, " frames"]:
        return self.tasks.tokenizer.decode(torch.tensor(candidate.pieces, dtype=torch.int64))

    def _joined(self, lines: list[list[Candidate]], timbre: Tensor) -> Spoken:
        """The best candidate of each line, with pauses between."""
        best = [max(candidates, key=lambda one: one.rank) for candidates in lines]
        if silent := [one.text for one in best if not one.pieces]:
            raise ValueError(f"the language model said nothing for {silent[0]!r}: try another seed or text")
        pause, parts = torch.zeros(round(PAUSE_SECONDS * SAMPLE_RATE_HZ)), []
        for one in best:
            parts += [pause, self.codec.decode(self._tokens(one), timbre)]
        return Spoken(
            torch.cat(parts[1:]), torch.tensor([piece for one in best for piece in one.pieces]),
            " ".join(one.text for one in best), sum(one.score for one in best) / len(best),
            all(one.stopped for one in best),
        )  # fmt: skip


def load_language(profile_or_path: str | Path) -> LanguageSystem:
    """Opens a speaking system by the name of its profile, or by the folder of a release, whose hashes are checked.

    Raises:
        ValueError: Neither a profile nor a release, a stage that has not run, models of another codebook, BPE model
            or vocabulary (both hashes are named).
    Example:
        >>> system = load_language("embedded")  # doctest: +SKIP
        >>> spoken = system.say("press one", "en", voice="someone.wav")  # doctest: +SKIP
    """
    profiles = read_params()["profiles"]
    if str(profile_or_path) in profiles:
        name = str(profile_or_path)
        return load_language_parts(parts_of_profile(name), language_parts_of_profile(name))
    folder = Path(profile_or_path)
    if folder.is_dir():
        return load_language_parts(parts_of_release(folder), language_parts_of_release(folder))
    raise ValueError(
        f"{profile_or_path}: expected a profile ({', '.join(profiles)}) or the folder of a release, got neither: "
        "check the name, or make one with `make release`"
    )


def load_language_parts(parts: Parts, language: LanguageParts) -> LanguageSystem:
    """Opens a speaking system from its folders.

    Raises:
        ValueError: Models that do not belong together.
    """
    codec = load_parts(parts)
    return LanguageSystem(codec, load_tasks(language.lm, language.clvp, codec.codebook_hash))
