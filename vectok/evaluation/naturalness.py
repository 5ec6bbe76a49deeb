"""Predicted opinion scores, 1 to 5, without a reference: DistillMOS and DNSMOS (P.835 OVRL, P.808), in batches."""

import contextlib
import io
from importlib.metadata import version

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vectok.evaluation.models import Scorer, package_file, side_by_side
from vectok.frames import SAMPLE_RATE_HZ

DISTILLMOS_SAMPLES = 122_880  # 7.68 s
DISTILLMOS_MARGIN = 3_200  # beyond a clip's end the network sees plain silence again after 0.2 s
SAMPLES_PER_COLUMN = 320  # of DistillMOS's convolutional features
DNSMOS_SECONDS, DNSMOS_SAMPLES = 9.01, 144_160
P808_TAIL, P808_FFT = 160, 321
# Raw network outputs to mean opinion scores, fitted by the model's authors.
POLYNOMIALS = {
    "sig": (-0.08397278, 1.22083953, 0.0052439),
    "bak": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl": (-0.06766283, 1.11546468, 0.04602535),
}


def covering_windows(clip: Float[Tensor, " samples"], n_samples: int) -> list[Float[Tensor, " window"]]:
    """As few windows of ``n_samples``, evenly spaced, as hold all of a clip; a shorter clip whole.

    *Deviation*: both packages place them a second apart, which sends a clip of twenty seconds a dozen times through the
    networks instead of three times.

    Example:
        >>> [part.tolist() for part in covering_windows(torch.arange(5.0), 3)]
        [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]]
    """
    n_windows, last = max(1, -(-len(clip) // n_samples)), max(0, len(clip) - n_samples)
    starts = np.linspace(0, last, n_windows).round().astype(int)
    return [clip[start : start + n_samples] for start in starts]


class DistillMos(Scorer):
    """DistillMOS v7, in the windows of :func:`covering_windows`, batched by length.

    The package pads every clip to 7.68 s with zeros and sends all of it through its convolutions. Here only the clip
    and a margin go through them, and the columns of pure silence behind it are taken from one silent clip: the same
    numbers at about half the cost.

    Arguments:
        batch_size: Clips scored together.
    Raises:
        ModelMissing: distillmos is not installed.
    """

    name = "distillmos"

    def __init__(self, batch_size: int = 8) -> None:
        self.batch_size = batch_size
        package_file("distillmos", "weights", "distill_mos_v7.pt")
        import distillmos

        with contextlib.redirect_stdout(io.StringIO()):  # the package prints the path of its weights
            self._network = distillmos.ConvTransformerSQAModel(segmenting_in_forward=False).eval()
        with torch.inference_mode():
            self._silence = self._network.cnn(torch.zeros(1, DISTILLMOS_SAMPLES))

    @property
    def model(self) -> str:
        """Name, version and windows."""
        return f"distillmos {version('distillmos')} (windows of {DISTILLMOS_SAMPLES / SAMPLE_RATE_HZ:g} s)"

    @torch.inference_mode()
    def _batch(self, windows: list[Tensor]) -> list[float]:
        """Scores windows after scaling each to a peak of one."""
        longest = max(len(window) for window in windows) + DISTILLMOS_MARGIN
        n_samples = min(DISTILLMOS_SAMPLES, -(-longest // SAMPLES_PER_COLUMN) * SAMPLES_PER_COLUMN)
        batch = torch.stack([nn.functional.pad(window, (0, n_samples - len(window))) for window in windows])
        features = self._network.cnn(batch / (batch.abs().amax(dim=1, keepdim=True) + 1e-8))
        if n_samples < DISTILLMOS_SAMPLES:
            kept = n_samples // SAMPLES_PER_COLUMN - 2  # the last columns see the edge of the shortened input
            tail = self._silence[:, :, kept:].expand(len(windows), -1, -1)
            features = torch.cat([features[:, :, :kept], tail], dim=2)
        return (1 + 4 * self._network.transformer_pool_attn(features.permute(0, 2, 1))).flatten().tolist()

    def score(self, clips: list[Tensor], languages: list[str]) -> list[float]:
        """One score a clip, the mean over its windows."""
        own = [
            (place, window) for place, clip in enumerate(clips) for window in covering_windows(clip, DISTILLMOS_SAMPLES)
        ]
        own.sort(key=lambda pair: len(pair[1]))
        parts = [own[start : start + self.batch_size] for start in range(0, len(own), self.batch_size)]
        scores = side_by_side(lambda part: self._batch([window for _, window in part]), parts)
        found: list[list[float]] = [[] for _ in clips]
        for part, values in zip(parts, scores, strict=True):
            for (place, _), value in zip(part, values, strict=True):
                found[place].append(value)
        return [round(float(np.mean(values)), 5) for values in found]


def tile(clip: Float[Tensor, " samples"]) -> Float[Tensor, " tiled"]:
    """Repeats a clip until it lasts 9.01 s; a longer one stays as it is."""
    if len(clip) >= DNSMOS_SAMPLES:
        return clip
    return clip.repeat(-(-DNSMOS_SAMPLES // len(clip)))[:DNSMOS_SAMPLES]


class Dnsmos(Scorer):
    """DNSMOS P.835 and P.808, from the models of speechmos, through onnxruntime.

    *Deviation*: a clip shorter than 9.01 s is repeated and scored in one window; the package doubles it until it is
    long enough and then averages windows a second apart, which hold the same speech again. A longer one is cut into the
    windows of :func:`covering_windows`.

    Arguments:
        batch_size: Windows scored together.
        n_threads: Of onnxruntime.
    Raises:
        ModelMissing: speechmos is not installed.
    """

    name = "dnsmos"

    def __init__(self, batch_size: int = 4, n_threads: int = 2) -> None:
        import onnxruntime

        self.batch_size = batch_size
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = n_threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        paths = [package_file("speechmos", "dnsmos_models", name) for name in ("sig_bak_ovr.onnx", "model_v8.onnx")]
        self._p835, self._p808 = (
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]) for path in paths
        )
        import librosa  # its filters know the odd bin spacing of an FFT of 321 points

        self._filters = torch.from_numpy(librosa.filters.mel(sr=SAMPLE_RATE_HZ, n_fft=P808_FFT, n_mels=120)).T

    @property
    def model(self) -> str:
        """Name and version."""
        return f"speechmos {version('speechmos')} (DNSMOS P.835, windows of {DNSMOS_SECONDS:g} s)"

    def _log_mels(self, windows: Float[Tensor, "batch samples"]) -> Float[np.ndarray, "batch frames mels"]:
        """Input of P.808: 120 mel powers in dB below the loudest, clamped at -80, scaled to about [-1, 1]."""
        spectrum = torch.stft(
            windows[:, :-P808_TAIL], P808_FFT, P808_TAIL, window=torch.hann_window(P808_FFT), center=True,
            pad_mode="constant", return_complex=True,
        )  # fmt: skip
        powers = (spectrum.abs() ** 2).transpose(1, 2) @ self._filters
        decibels = 10 * torch.log10(powers.clamp(min=1e-10))
        decibels = decibels - decibels.amax(dim=(1, 2), keepdim=True)
        return ((decibels.clamp(min=-80.0) + 40) / 40).numpy()

    def _batch(self, windows: Float[Tensor, "batch samples"]) -> list[dict[str, float]]:
        raw = self._p835.run(None, {"input_1": windows.numpy()})[0]
        p808 = self._p808.run(None, {"input_1": self._log_mels(windows)})[0]
        rows = []
        for values, listening in zip(raw, p808.reshape(-1), strict=True):
            row = {
                name: float(np.polyval(POLYNOMIALS[name], value))
                for name, value in zip(POLYNOMIALS, values, strict=True)
            }
            rows.append(row | {"p808": float(listening)})
        return rows

    def score(self, clips: list[Tensor], languages: list[str]) -> list[dict[str, float]]:
        """``sig``, ``bak``, ``ovrl``, ``p808`` of each clip, means over its windows."""
        own = [
            (place, window)
            for place, clip in enumerate(clips)
            for window in covering_windows(tile(clip), DNSMOS_SAMPLES)
        ]
        parts = torch.stack([window for _, window in own]).split(self.batch_size)
        rows = [row for part in parts for row in self._batch(part)]
        means = [{} for _ in clips]
        for place in range(len(clips)):
            values = [row for row, (owner, _) in zip(rows, own, strict=True) if owner == place]
            means[place] = {name: round(float(np.mean([row[name] for row in values])), 5) for name in values[0]}
        return means
