"""The light vocoder of the embedded profile: a source-filter generator on the inverse short-time Fourier transform.

*Deviation* from the paper, whose vocoder is HiFi-GAN V1: on two CPU cores a step of HiFi-GAN takes many seconds, and
an inverse STFT that must learn its phases by adversaries alone buzzes for thousands of steps. Here the phases come from
an excitation whose pitch the network predicts, so that they hold together from the first step, and the network learns
only two smooth spectral envelopes (of the harmonics and of the noise) and a rotation of the harmonics' phases.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from vectok.frames import samples_of_frames
from vectok.vocoder.base import TrainingPass, Vocoder, windows_of
from vectok.vocoder.pitch import PITCH_FRAMES_PER_FRAME, SAMPLES_PER_PITCH_FRAME, Pitch, continuous
from vectok.vocoder.source import frame_phase, pulses, sample_phase


@dataclass(frozen=True, kw_only=True)
class SourceFilterConfig:
    """Sizes of the source-filter generator.

    Arguments:
        dim: Dimension of the speech vectors.
        width: Channels of the ConvNeXt blocks.
        n_slow_blocks, n_fast_blocks: Blocks at 50 and at 100 frames per second.
        expansion: Width of a block's hidden layer over ``width``.
        n_fft: Window of the short-time Fourier transform in samples; its hop is 160.
        min_hz, max_hz: Range of the pitch classes.
        n_pitch_classes: Classes of f0, even in log frequency.
        pitch_weight: Weight of the two pitch losses.
        noise_seed: Of the noise at inference.
    """

    dim: int = 512
    width: int = 288
    n_slow_blocks: int = 3
    n_fast_blocks: int = 3
    expansion: int = 3
    n_fft: int = 640
    min_hz: float = 60.0
    max_hz: float = 500.0
    n_pitch_classes: int = 160
    pitch_weight: float = 3.0
    noise_seed: int = 0


class Controls(NamedTuple):
    """What the network predicts, 100 frames per second."""

    harmonic_log: Float[Tensor, "batch frames bins"]
    noise_log: Float[Tensor, "batch frames bins"]
    rotation: Float[Tensor, "batch frames bins"]
    pitch_logits: Float[Tensor, "batch frames classes"]
    voicing_logit: Float[Tensor, "batch frames"]


class Block(nn.Module):
    """ConvNeXt block over time: depth-wise convolution, normalisation, two linear layers, a scaled residual.

    Source: Liu et al., "A ConvNet for the 2020s", 2022, as vocoders on the inverse STFT use it.
    """

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        self.mix = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width))
        self.scale = nn.Parameter(torch.full((width,), 0.2))

    def forward(self, hidden: Float[Tensor, "batch frames width"]) -> Float[Tensor, "batch frames width"]:
        mixed = self.mix(hidden.transpose(1, 2)).transpose(1, 2)
        return hidden + self.scale * self.layers(self.norm(mixed))


class SourceFilter(Vocoder):
    r"""Source-filter generator with STFT-domain filters.

    .. math:: y = \mathrm{ISTFT}\left( e^{H + i \theta} \odot \mathrm{STFT}(p) + e^{N} \odot \mathrm{STFT}(n) \right)

    with a pulse train p of the predicted pitch, seeded white noise n, and log-magnitudes H, N and rotation theta from a
    network on the vectors. Training takes the recording's own pitch, so that the harmonics lie on the target's and
    spectral losses are well-posed; the pitch classes are trained beside it. Source: the idea of filtering harmonic and
    noise sources, Wang et al., "Neural source-filter waveform models", 2019.
    """

    kind = "source_filter"
    context_frames = 4

    def __init__(self, config: SourceFilterConfig) -> None:
        super().__init__()
        self.config, width, bins = config, config.width, config.n_fft // 2 + 1
        self.enter = nn.Conv1d(config.dim, width, 3, padding=1)
        self.slow = nn.Sequential(*(Block(width, config.expansion) for _ in range(config.n_slow_blocks)))
        self.widen = nn.Linear(width, 2 * width)
        self.fast = nn.Sequential(*(Block(width, config.expansion) for _ in range(config.n_fast_blocks)))
        self.norm = nn.LayerNorm(width)
        self.filters = nn.Linear(width, 3 * bins)
        self.pitch = nn.Linear(width, config.n_pitch_classes + 1)
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        hz = torch.logspace(
            torch.tensor(config.min_hz).log2(), torch.tensor(config.max_hz).log2(), config.n_pitch_classes, 2.0
        )
        self.register_buffer("class_hz", hz, persistent=False)
        self._start(bins)

    def _start(self, bins: int) -> None:
        """Starts from speech-like levels, and without any rotation of the phases."""
        nn.init.normal_(self.filters.weight, std=0.02)
        with torch.no_grad():
            self.filters.bias.copy_(
                torch.cat([torch.linspace(-2, -7, bins), torch.full((bins,), -6.0), torch.zeros(bins)])
            )
            self.filters.weight[2 * bins :] = 0

    def extra_repr(self) -> str:
        return f"width={self.config.width}, n_parameters={sum(p.numel() for p in self.parameters())}"

    def controls(self, vectors: Float[Tensor, "batch frames dim"]) -> Controls:
        """Filters and pitch at twice the frame rate."""
        hidden = self.slow(self.enter(vectors.transpose(1, 2)).transpose(1, 2))
        hidden = self.fast(self.widen(hidden).reshape(len(vectors), -1, self.config.width))
        hidden = self.norm(hidden)
        # exp() of the heads and everything after it wants float32.
        with torch.autocast(vectors.device.type, enabled=False):
            harmonic, noise, rotation = self.filters(hidden.float()).chunk(3, -1)
            pitch = self.pitch(hidden.float())
        return Controls(harmonic.clamp(-14, 5), noise.clamp(-14, 5), rotation, pitch[..., :-1], pitch[..., -1])

    def predicted_f0(self, controls: Controls) -> Float[Tensor, "batch frames"]:
        """Predicted f0 in Hz at 100 frames per second, filled through unvoiced frames."""
        return self._decode(controls.pitch_logits, controls.voicing_logit)

    def _decode(self, logits: Tensor, voicing: Tensor) -> Float[Tensor, "batch frames"]:
        """Mean log frequency over the classes next to the best one."""
        best = logits.argmax(-1, keepdim=True)
        near = (torch.arange(self.config.n_pitch_classes, device=best.device) - best).abs() <= 3
        weights = logits.masked_fill(~near, -torch.inf).softmax(-1)
        return continuous((weights * self.class_hz.log()).sum(-1).exp(), voicing > 0)

    def _spectrum(self, signal: Float[Tensor, "batch samples"]) -> Tensor:
        """STFT whose frame k is centred at sample 160 k of a signal that starts half a window early."""
        size, hop = self.config.n_fft, SAMPLES_PER_PITCH_FRAME
        return torch.stft(signal, size, hop, window=self.window, center=False, return_complex=True).transpose(1, 2)

    def _longer(self, f0_hz: Float[Tensor, "batch frames"]) -> Float[Tensor, "batch longer"]:
        """f0 from half a window before the first frame to half a window after the end of the last."""
        margin = self.config.n_fft // (2 * SAMPLES_PER_PITCH_FRAME)
        return pad(f0_hz, (margin, margin + 1), mode="replicate")

    def _noise(self, shape: tuple[int, ...], seed: int | None, device: torch.device) -> Tensor:
        """White noise of unit power: seeded, or from the global state when there is no seed."""
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return torch.randn(shape, generator=generator).to(device)

    def render(
        self, controls: Controls, train: Float[Tensor, "batch excited"], noises: list[Float[Tensor, "batch excited"]]
    ) -> list[Float[Tensor, "batch samples"]]:
        """Audio from filters and excitation, one draw for each noise; both sources start half a window early."""
        # One STFT frame more than pitch frames closes the last hop: the last one again.
        harmonic, noise_log, rotation = (pad(x.mT, (0, 1), mode="replicate").mT for x in controls[:3])
        voice, gain = torch.polar(harmonic.exp(), rotation) * self._spectrum(train), noise_log.exp()
        size, hop = self.config.n_fft, SAMPLES_PER_PITCH_FRAME
        length = (gain.shape[1] - 1) * hop
        spectra = [voice + gain * self._spectrum(noise) for noise in noises]
        return [torch.istft(spectrum.mT, size, hop, window=self.window, length=length) for spectrum in spectra]

    def forward(self, vectors: Float[Tensor, "batch frames dim"]) -> Float[Tensor, "batch samples"]:
        """Audio with the predicted pitch. Zero vectors, the training mean, stand before and after the utterance."""
        controls = self.controls(pad(vectors, (0, 0, self.context_frames, self.context_frames)))
        with torch.autocast(vectors.device.type, enabled=False):
            f0_hz = self._longer(self.predicted_f0(controls))
            train = pulses(*sample_phase(f0_hz, frame_phase(f0_hz)))
            # All rows of a batch hear the same noise, so that an utterance sounds alike alone and in a batch.
            noise = self._noise((1, train.shape[1]), self.config.noise_seed, train.device).expand_as(train)
            return self._inside(self.render(controls, train, [noise])[0])

    def _in_windows(self, vectors: Float[Tensor, "frames dim"]) -> Float[Tensor, " samples"]:
        """The same audio, window by window: pitch first, so that the phase runs through."""
        padded = pad(vectors, (0, 0, self.context_frames, self.context_frames))[None]
        f0_hz = self._longer(self._pitch_in_windows(padded))
        phase, size, twice = frame_phase(f0_hz), self.config.n_fft, PITCH_FRAMES_PER_FRAME
        noise = self._noise((1, samples_of_frames(padded.shape[1]) + size), self.config.noise_seed, vectors.device)
        parts = []
        for start, stop, first, last in windows_of(padded.shape[1]):
            frames = slice(first * twice, last * twice + size // SAMPLES_PER_PITCH_FRAME + 1)
            train = pulses(*sample_phase(f0_hz[:, frames], phase[:, frames]))
            part = noise[:, samples_of_frames(first) : samples_of_frames(last) + size]
            audio = self.render(self.controls(padded[:, first:last]), train, [part])[0]
            parts.append(audio[:, samples_of_frames(start - first) : samples_of_frames(stop - first)])
        return self._inside(torch.cat(parts, 1))[0]

    def _pitch_in_windows(self, padded: Float[Tensor, "one frames dim"]) -> Float[Tensor, "one pitch_frames"]:
        """Predicted f0 of a long utterance."""
        logits, voicing, twice = [], [], PITCH_FRAMES_PER_FRAME
        for start, stop, first, last in windows_of(padded.shape[1]):
            controls = self.controls(padded[:, first:last])
            inside = slice((start - first) * twice, (stop - first) * twice)
            logits.append(controls.pitch_logits[:, inside])
            voicing.append(controls.voicing_logit[:, inside])
        return self._decode(torch.cat(logits, 1), torch.cat(voicing, 1))

    def _inside(self, audio: Float[Tensor, "batch longer"]) -> Float[Tensor, "batch samples"]:
        margin = samples_of_frames(self.context_frames)
        return audio[:, margin : audio.shape[1] - margin]

    def training_pass(self, vectors: Float[Tensor, "batch frames dim"], pitch: Pitch) -> TrainingPass:
        """Two draws with the recording's own pitch, and the losses of the pitch classes and of the voicing."""
        controls = self.controls(vectors)
        with torch.autocast(vectors.device.type, enabled=False):
            f0_hz = self._longer(pitch.f0_hz)
            train = pulses(*sample_phase(f0_hz, frame_phase(f0_hz)))
            noises = [self._noise(train.shape, None, train.device) for _ in range(2)]
            first, second = (self._inside(audio) for audio in self.render(controls, train, noises))
            losses = self._pitch_losses(controls, pitch)
        return TrainingPass(first, second, losses)

    def _pitch_losses(self, controls: Controls, pitch: Pitch) -> dict[str, Tensor]:
        """Cross-entropy to a Gaussian of one class around the true pitch, on voiced frames; and of the voicing."""
        voiced = pitch.voiced.float()
        place = (torch.log2(pitch.f0_hz / self.config.min_hz) / torch.log2(self.class_hz[1] / self.class_hz[0]))[
            ..., None
        ]
        classes = torch.arange(self.config.n_pitch_classes, device=place.device)
        target = (-0.5 * (classes - place).square()).softmax(-1)
        each = cross_entropy(controls.pitch_logits.flatten(0, 1), target.flatten(0, 1), reduction="none")
        pitch_loss = (each * voiced.flatten()).sum() / voiced.sum().clamp_min(1)
        voicing = torch.nn.functional.binary_cross_entropy_with_logits(controls.voicing_logit, voiced)
        return {"pitch": self.config.pitch_weight * pitch_loss, "voicing": self.config.pitch_weight * voicing}
