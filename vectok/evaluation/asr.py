"""The scoring ASR: Whisper-base (int8), over windows that are only as long as the clips need.

Whisper pads every clip to 30 s. Here a clip is padded to its own length plus a margin, in steps of three seconds, and
to twelve seconds at least: a much tighter window makes Whisper repeat itself. The language is given, the temperature is
0 without fall-back, nothing conditions on previous text. Each clip is read alone, two side by side
(:func:`vectok.evaluation.models.side_by_side`): the activations of several do not fit into the caches and take longer.

The ASR is a relative of the embedded profile's speech encoder (the same Whisper-base), which every table says.
"""

import math
from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vectok.corpus.text import scoring_text
from vectok.encoders.ctranslate2 import MODEL_SHA256, WHEELS, read_wheels, wheel_folders
from vectok.evaluation.metrics import ErrorCounts, character_errors
from vectok.evaluation.models import ModelMissing, Scorer, side_by_side
from vectok.frames import SAMPLE_RATE_HZ, samples_of_seconds
from vectok.reproducibility import N_THREADS

LONGEST_SECONDS = 30.0
WINDOW_STEP_SECONDS = 3.0
HOP_SAMPLES = 160
SILENT_LEVEL = 1e-10
DYNAMIC_RANGE = 8.0  # the log-mel is clamped to 8 decades below its loudest bin


@dataclass(frozen=True, kw_only=True)
class AsrConfig:
    """How clips are read.

    Arguments:
        beam_size: Hypotheses kept.
        shortest_window_seconds: No window is shorter.
        margin_seconds: Silence after a clip, at least.
        tokens_per_second: A transcript ends at this many tokens per second of window, which only cuts endless loops.
    """

    beam_size: int = 5
    shortest_window_seconds: float = 12.0
    margin_seconds: float = 3.0
    tokens_per_second: float = 12.0


def log_mel(
    samples: Float[np.ndarray, " samples"], filters: Float[np.ndarray, "mels bins"]
) -> Float[np.ndarray, "mels frames"]:
    """Whisper's input: log10 of 80 mel energies every 10 ms, clamped below its maximum and scaled to about [-1, 1].

    Source: the published front end of Whisper (n_fft 400, hop 160, Hann window); parity-tested with faster-whisper.
    """
    spectrum = torch.stft(
        torch.from_numpy(samples), 400, HOP_SAMPLES, window=torch.hann_window(400), center=True, return_complex=True
    )
    energies = filters @ (spectrum[:, :-1].abs() ** 2).numpy()
    logs = np.log10(np.maximum(energies, SILENT_LEVEL))
    return (np.maximum(logs, logs.max() - DYNAMIC_RANGE) + 4.0) / 4.0


class Transcriber(Scorer):
    """Whisper-base through CTranslate2, from the pip wheels, joined in memory.

    Arguments:
        config: Beam, windows and batches.
    Raises:
        ModelMissing: A wheel is not installed.
    """

    name = "transcript"
    uses_language = True

    def __init__(self, config: AsrConfig | None = None) -> None:
        import ctranslate2
        import tokenizers
        from faster_whisper.feature_extractor import FeatureExtractor

        self.config = AsrConfig() if config is None else config
        weights, folders = read_wheels(), wheel_folders()
        if weights is None or folders is None:
            raise ModelMissing(f"Whisper-base: install {' and '.join(WHEELS)}")
        files = {name: (folders[0] / name).read_bytes() for name in ("config.json", "tokenizer.json", "vocabulary.txt")}
        n_threads = torch.get_num_threads()
        self._model = ctranslate2.models.Whisper(
            "whisper-base", device="cpu", compute_type="int8", inter_threads=N_THREADS, intra_threads=1,
            files=files | {"model.bin": weights},
        )  # fmt: skip
        torch.set_num_threads(n_threads)  # it sets OpenMP's number of threads for whoever builds it
        self._tokenizer = tokenizers.Tokenizer.from_str(files["tokenizer.json"].decode())
        self._filters = FeatureExtractor().mel_filters

    @property
    def model(self) -> str:
        """Name, version and settings: what the cache and the tables know the model by."""
        c = self.config
        window = f"window {c.shortest_window_seconds:g} s, margin {c.margin_seconds:g} s"
        return (
            f"whisper-base-int8 {MODEL_SHA256[:8]} (ctranslate2 {version('ctranslate2')}, beam {c.beam_size}, {window})"
        )

    def _prompt(self, language: str) -> list[int]:
        names = ("<|startoftranscript|>", f"<|{language}|>", "<|transcribe|>", "<|notimestamps|>")
        tokens = [self._tokenizer.token_to_id(name) for name in names]
        if None in tokens:
            raise ValueError(f"the ASR has no language {language!r}: give a two-letter code such as en")
        return tokens

    def window_seconds(self, n_samples: int) -> float:
        """Window of a clip: a function of its own length alone, so that a transcript does not depend on the batch."""
        wanted = n_samples / SAMPLE_RATE_HZ + self.config.margin_seconds
        stepped = WINDOW_STEP_SECONDS * math.ceil(wanted / WINDOW_STEP_SECONDS)
        return min(LONGEST_SECONDS, max(self.config.shortest_window_seconds, stepped))

    def _features(self, clip: Tensor) -> Float[np.ndarray, "1 mels frames"]:
        """The encoder's input: a clip in its window."""
        padded = np.zeros(samples_of_seconds(self.window_seconds(len(clip))), dtype=np.float32)
        samples = clip.numpy()[: len(padded)]
        padded[: len(samples)] = samples
        return log_mel(padded, self._filters).astype(np.float32)[None]

    def _read(self, features: Float[np.ndarray, "1 mels frames"], language: str) -> str:
        """Transcript of one clip."""
        import ctranslate2

        seconds = features.shape[2] * HOP_SAMPLES / SAMPLE_RATE_HZ
        [result] = self._model.generate(
            ctranslate2.StorageView.from_array(features), [self._prompt(language)], beam_size=self.config.beam_size,
            max_length=min(448, 4 + round(self.config.tokens_per_second * seconds)),
        )  # fmt: skip
        return self._tokenizer.decode(result.sequences_ids[0]).strip()

    def transcribe(self, clips: list[Tensor], languages: list[str]) -> list[str]:
        """Reads clips, in the order given, each alone.

        Arguments:
            clips: Audio at 16 kHz. What lies beyond 30 s is not read: cut it first.
            languages: Of each clip.
        Raises:
            ValueError: Different numbers of clips and languages, or a language that Whisper does not know.
        """
        if len(clips) != len(languages):
            raise ValueError(f"expected one language a clip, got {len(clips)} clips and {len(languages)} languages")
        # All spectra first: threads that wait for the next one would take the cores from the network.
        features = [self._features(clip) for clip in clips]
        return side_by_side(lambda pair: self._read(*pair), zip(features, languages, strict=True))

    def score(self, clips: list[Tensor], languages: list[str]) -> list[str]:
        """See :meth:`transcribe`."""
        return self.transcribe(clips, languages)


def agreement(config: AsrConfig, clips: list[Tensor], languages: list[str]) -> ErrorCounts:
    """Characters by which transcripts from shortened windows differ from those of 30 s windows, and how many there are.

    Arguments:
        config: The shortened windows.
        clips: Some recordings.
        languages: Of each.
    """
    whole = Transcriber(replace(config, shortest_window_seconds=LONGEST_SECONDS)).transcribe(clips, languages)
    short, counts = Transcriber(config).transcribe(clips, languages), []
    for one, two, language in zip(whole, short, languages, strict=True):
        reference = scoring_text(one, language)
        counts += [character_errors(reference, scoring_text(two, language))] if reference else []
    return ErrorCounts(sum(count.errors for count in counts), sum(count.length for count in counts))
