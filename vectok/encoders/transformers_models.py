"""WavLM, HuBERT and wav2vec 2.0 as sources of speech vectors, by hub id or local folder.

Source: the models are transformers' own (WavLM: arXiv 2110.13900; HuBERT: 2106.07447; wav2vec 2.0: 2006.11477). Their
convolutions see 400 samples and hop by 320, so that plain audio gives one frame too few: 40 zeros go in front and 40
behind, and frame t is centred on the samples [320 t, 320 (t + 1)) that it stands for. *Deviation*: kNN-VC pads in
training only; here the policy is one for training and use.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AutoModel, PretrainedConfig, Wav2Vec2FeatureExtractor

from vectok.encoders.base import SpeechEncoder, hash_tensors
from vectok.frames import SAMPLES_PER_FRAME


class _Reached(Exception):
    """Stops a forward pass once the highest layer that is wanted has its input."""


def receptive_field(config: PretrainedConfig) -> tuple[int, int]:
    """Samples that one frame sees, and samples from one frame to the next.

    Example:
        >>> from transformers import WavLMConfig
        >>> receptive_field(WavLMConfig())
        (400, 320)
    """
    samples, hop = 1, 1
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        samples, hop = samples + (kernel - 1) * hop, hop * stride
    return samples, hop


class SelfSupervisedVectors(SpeechEncoder):
    """Speech vectors from WavLM, HuBERT or wav2vec 2.0.

    Windows run together only when they are equally long, so that padding cannot change a result: the smaller models
    normalise over time inside their convolutions, where no mask reaches.

    Arguments:
        name: Hub id or local folder.
        device: Where it runs.
    Raises:
        ValueError: The weights cannot be read, or the model does not hop by 320 samples.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        try:
            model = AutoModel.from_pretrained(name).float().eval().requires_grad_(False)
        except OSError as error:
            raise ValueError(f"encoder {name!r}: its weights cannot be read ({error})") from None
        config = model.config
        sees, hop = receptive_field(config)
        if hop != SAMPLES_PER_FRAME:
            raise ValueError(f"encoder {name!r} hops by {hop} samples: expected {SAMPLES_PER_FRAME} (50 frames/s)")
        content_hash = hash_tensors(model.state_dict())
        super().__init__(name, config.hidden_size, config.num_hidden_layers, content_hash, device)
        self.model, self.normalises = model.to(device), _normalises(name)
        self.padding = ((sees - hop) // 2, sees - hop - (sees - hop) // 2)

    def _encode_windows(
        self, windows: list[Float[Tensor, " _samples"]], layers: Sequence[int]
    ) -> list[Float[Tensor, "layers _frames dim"]]:
        encoded: dict[int, Tensor] = {}
        for length in sorted({len(window) for window in windows}):
            rows = [row for row, window in enumerate(windows) if len(window) == length]
            audio = torch.stack([windows[row] for row in rows]).to(self.device)
            encoded |= zip(rows, self._forward(audio, layers).unbind(1), strict=True)
        return [encoded[row] for row in range(len(windows))]

    def _forward(
        self, audio: Float[Tensor, "batch samples"], layers: Sequence[int]
    ) -> Float[Tensor, "layers batch frames dim"]:
        """Hidden states at ``layers``; blocks above the highest do not run.

        A hook before block k sees what enters it, which is layer k; only the last layer needs the whole model.
        """
        if self.normalises:
            variance, mean = torch.var_mean(audio, dim=1, keepdim=True, correction=0)
            audio = (audio - mean) / torch.sqrt(variance + 1e-7)
        audio = nn.functional.pad(audio, self.padding)
        outputs: dict[int, Tensor] = {}
        highest = max(layers)

        def hook_for(number: int):
            def keep(module: nn.Module, inputs: tuple, keywords: dict) -> None:
                outputs[number] = inputs[0] if inputs else keywords["hidden_states"]
                if number == highest:
                    raise _Reached

            return keep

        blocks = self.model.encoder.layers
        hooks = [blocks[k].register_forward_pre_hook(hook_for(k), with_kwargs=True) for k in layers if k < len(blocks)]
        try:
            outputs[self.n_layers] = self.model(audio).last_hidden_state
        except _Reached:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return torch.stack([outputs[layer] for layer in layers])


def _normalises(name: str) -> bool:
    """Whether the model wants each utterance at mean 0 and variance 1, as its own feature extractor says."""
    try:
        return bool(Wav2Vec2FeatureExtractor.from_pretrained(name).do_normalize)
    except OSError:
        raise ValueError(
            f"encoder {name!r} has no preprocessor_config.json, which says whether it normalises its input: add it"
        ) from None
