"""Predicted opinion scores, 1 to 5, without a reference: DistillMOS and DNSMOS (P.835 OVRL, P.808)."""

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
    """DistillMOS v7, in the windows of :func:`covering_windows`, one by one: several fill the caches and take longer.

    The package pads every clip to 7.68 s with zeros and sends all of it through its convolutions. Here only the clip
    and a margin go through them, and the columns of pure silence behind it are taken from one silent clip: the same
    numbers at about half the cost.

    Raises:
        ModelMissing: distillmos is not installed.
    """

    name = "distillmos"

    def __init__(self) -> None:
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
    def _window(self, window: Float[Tensor, " samples"]) -> float:
        """Scores one window after scaling it to a peak of one."""
        columns = -(-(len(window) + DISTILLMOS_MARGIN) // SAMPLES_PER_COLUMN)
        n_samples = min(DISTILLMOS_SAMPLES, columns * SAMPLES_PER_COLUMN)
        padded = nn.functional.pad(window, (0, n_samples - len(window)))[None]
        features = self._network.cnn(padded / (padded.abs().max() + 1e-8))
        if n_samples < DISTILLMOS_SAMPLES:
            kept = columns - 2  # the last columns see the edge of the shortened input
            features = torch.cat([features[:, :, :kept], self._silence[:, :, kept:]], dim=2)
        return float(1 + 4 * self._network.transformer_pool_attn(features.permute(0, 2, 1)))

    def score(self, clips: list[Tensor], languages: list[str]) -> list[float]:
        """One score a clip, the mean over its windows."""

        def rate(clip: Tensor) -> float:
            return round(float(np.mean([self._window(part) for part in covering_windows(clip, DISTILLMOS_SAMPLES)])), 5)

        return side_by_side(rate, clips)


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
        n_threads: Of onnxruntime.
    Raises:
        ModelMissing: speechmos is not installed.
    """

    name = "dnsmos"

    def __init__(self, n_threads: int = 2) -> None:
        import onnxruntime

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

    def _log_mel(self, window: Float[Tensor, " samples"]) -> Float[np.ndarray, "frames mels"]:
        """Input of P.808: 120 mel powers in dB below the loudest, clamped at -80, scaled to about [-1, 1]."""
        spectrum = torch.stft(
            window[:-P808_TAIL], P808_FFT, P808_TAIL, window=torch.hann_window(P808_FFT), center=True,
            pad_mode="constant", return_complex=True,
        )  # fmt: skip
        decibels = 10 * torch.log10(((spectrum.abs() ** 2).T @ self._filters).clamp(min=1e-10))
        decibels = decibels - decibels.max()
        return ((decibels.clamp(min=-80.0) + 40) / 40).numpy()

    def _window(self, window: Float[Tensor, " samples"]) -> dict[str, float]:
        raw = self._p835.run(None, {"input_1": window[None].numpy()})[0][0]
        p808 = self._p808.run(None, {"input_1": self._log_mel(window)[None]})[0]
        row = {name: float(np.polyval(own, value)) for (name, own), value in zip(POLYNOMIALS.items(), raw, strict=True)}
        return row | {"p808": float(p808.reshape(()))}

    def score(self, clips: list[Tensor], languages: list[str]) -> list[dict[str, float]]:
        """``sig``, ``bak``, ``ovrl``, ``p808`` of each clip, means over its windows."""
        means = []
        for clip in clips:
            rows = [self._window(part) for part in covering_windows(tile(clip), DNSMOS_SAMPLES)]
            means.append({name: round(float(np.mean([row[name] for row in rows])), 5) for name in rows[0]})
        return means
