"""Speaker embeddings: Resemblyzer's GE2E network over batches of partial utterances of many clips at once.

The front end is written anew, so that partials of all clips share batches; the weights are the package's, and the
result is that of ``VoiceEncoder.embed_utterance(preprocess_wav(wav))``, which the slow tests check.
"""

import warnings
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
import torchaudio
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vectok.evaluation.models import ModelMissing, Scorer, package_file
from vectok.frames import SAMPLE_RATE_HZ

HOP_SAMPLES, WINDOW_SAMPLES, N_MELS = 160, 400, 40
PARTIAL_FRAMES = 160  # 1.6 s
PARTIAL_STEP = 77  # 1.3 partials a second
LEAST_COVERAGE = 0.75  # of the last partial that must be speech rather than padding
HIDDEN = 256
LOUDNESS_DB = -30.0  # quieter clips are raised to it
VAD_SAMPLES = 480  # 30 ms
VAD_MODE = 3
VAD_AVERAGE, VAD_DILATION = 8, 7  # windows


def raise_volume(samples: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " samples"]:
    r"""Raises clips quieter than -30 dB of full scale to it: :math:`x \cdot 10^{(-30 - L) / 20}`, L the RMS level."""
    level = 20 * np.log10(max(float(np.sqrt(np.mean(samples**2))), 1e-10))
    return samples * 10 ** ((LOUDNESS_DB - level) / 20) if level < LOUDNESS_DB else samples


def voiced(samples: Float[np.ndarray, " samples"]) -> Bool[np.ndarray, " windows"]:
    """Which 30 ms windows hold speech or stand within a short pause between speech."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # webrtcvad asks pkg_resources for its own version
        import webrtcvad
    detector = webrtcvad.Vad(VAD_MODE)
    pcm = (np.round(samples * 32767).astype(np.int16)).reshape(-1, VAD_SAMPLES)
    flags = np.array([detector.is_speech(window.tobytes(), SAMPLE_RATE_HZ) for window in pcm], dtype=np.float64)
    padded = np.concatenate([np.zeros((VAD_AVERAGE - 1) // 2), flags, np.zeros(VAD_AVERAGE // 2)])
    smooth = np.round(np.convolve(padded, np.full(VAD_AVERAGE, 1 / VAD_AVERAGE), mode="valid")).astype(bool)
    return np.convolve(smooth, np.ones(VAD_DILATION), mode="same") > 0


def preprocess(audio: Float[Tensor, " samples"]) -> Float[np.ndarray, " kept"]:
    """Volume and long pauses as Resemblyzer wants them. A clip without any speech is kept whole."""
    samples = raise_volume(audio.numpy().astype(np.float64))
    samples = samples[: len(samples) - len(samples) % VAD_SAMPLES]
    if not len(samples):
        return audio.numpy()
    kept = samples[np.repeat(voiced(np.clip(samples, -1, 1)), VAD_SAMPLES)]
    return (kept if len(kept) else samples).astype(np.float32)


def partial_starts(n_samples: int) -> list[int]:
    """First mel frames of the partials of a clip: 1.6 s each, 1.3 a second, the last one covered to 75 % at least.

    Example:
        >>> partial_starts(16000), partial_starts(2 * 25600)
        ([0], [0, 77, 154])
    """
    n_frames = -(-(n_samples + 1) // HOP_SAMPLES)
    starts = list(range(0, max(1, n_frames - PARTIAL_FRAMES + PARTIAL_STEP + 1), PARTIAL_STEP))
    coverage = (n_samples - starts[-1] * HOP_SAMPLES) / (PARTIAL_FRAMES * HOP_SAMPLES)
    return starts[:-1] if coverage < LEAST_COVERAGE and len(starts) > 1 else starts


class GE2E(nn.Module):
    """Three LSTM layers, a linear layer, ReLU, unit length: [batch, 160, 40] mels to [batch, 256]."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(N_MELS, HIDDEN, 3, batch_first=True)
        self.linear = nn.Linear(HIDDEN, HIDDEN)

    def forward(self, mels: Float[Tensor, "batch frames mels"]) -> Float[Tensor, "batch dim"]:
        """Embeds partials; frames are 10 ms."""
        _, (hidden, _) = self.lstm(mels)
        return nn.functional.normalize(torch.relu(self.linear(hidden[-1])), dim=-1)


class SpeakerEncoder(Scorer):
    """Resemblyzer, batched.

    Arguments:
        batch_size: Partials embedded together.
    Raises:
        ModelMissing: Resemblyzer or its weights are not installed.
    """

    name = "embedding"

    def __init__(self, batch_size: int = 64) -> None:
        self.batch_size = batch_size
        weights = torch.load(package_file("resemblyzer", "pretrained.pt"), map_location="cpu", weights_only=True)
        self._network = GE2E()
        self._network.load_state_dict({k: v for k, v in weights["model_state"].items() if "similarity" not in k})
        self._network.eval()
        self._filters = torchaudio.functional.melscale_fbanks(
            WINDOW_SAMPLES // 2 + 1, 0.0, SAMPLE_RATE_HZ / 2, N_MELS, SAMPLE_RATE_HZ, norm="slaney", mel_scale="slaney"
        )

    @property
    def model(self) -> str:
        """Name and version."""
        try:
            return f"resemblyzer {version('resemblyzer')} (GE2E)"
        except PackageNotFoundError as error:
            raise ModelMissing("resemblyzer: not installed; run make env") from error

    def _partials(self, audio: Tensor) -> Float[Tensor, "batch frames mels"]:
        """Mel power spectra of the clip's partials."""
        samples = torch.from_numpy(preprocess(audio))
        starts = partial_starts(len(samples))
        stop = (starts[-1] + PARTIAL_FRAMES) * HOP_SAMPLES
        samples = nn.functional.pad(samples, (0, max(0, stop - len(samples))))
        spectrum = torch.stft(
            samples, WINDOW_SAMPLES, HOP_SAMPLES, window=torch.hann_window(WINDOW_SAMPLES), center=True,
            pad_mode="constant", return_complex=True,
        )  # fmt: skip
        mels = (spectrum.abs() ** 2).T @ self._filters
        return torch.stack([mels[start : start + PARTIAL_FRAMES] for start in starts])

    @torch.inference_mode()
    def embed(self, clips: list[Tensor]) -> Float[Tensor, "batch dim"]:
        r"""One vector of unit length a clip: the normalised mean of its partials' embeddings."""
        partials = [self._partials(clip) for clip in clips]
        embedded = torch.cat([self._network(batch) for batch in torch.cat(partials).split(self.batch_size)])
        means = [part.mean(0) for part in embedded.split([len(part) for part in partials])]
        return nn.functional.normalize(torch.stack(means), dim=-1)

    def score(self, clips: list[Tensor], languages: list[str]) -> list[list[float]]:
        """See :meth:`embed`; rounded to seven digits for the cache."""
        return [[round(value, 7) for value in row] for row in self.embed(clips).tolist()]
