"""Hugging Face folders with random weights, drawn by numpy from names and shapes."""

import json
import math
import zlib
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from jaxssl.interop.huggingface.tensor_files import DTYPES

# name -> [dtype of the header, sizes], with "sine" behind them for a table of positions that is not random
Shapes = dict[str, list[Any]]


def random_tensors(shapes: Shapes, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights by name. Each depends on its own name alone; the scales of norms are around 1."""
    found = {}
    for name, (dtype, shape, *fixed) in shapes.items():
        random = np.random.default_rng([seed, zlib.crc32(name.encode())])
        is_scale = len(shape) == 1 and name.endswith(("weight", "gamma"))
        values = random.normal(1.0 if is_scale else 0.0, 0.2, shape)
        if name.endswith("running_var"):
            values = 0.5 + np.abs(values)
        if fixed:
            values = sines(shape)
        if name == "final_logits_bias":  # of BART, which holds zeros
            values = np.zeros(shape)
        if DTYPES[dtype].kind not in "fV":
            values = np.arange(values.size).reshape(shape)
        found[name] = values.astype(np.float32).astype(DTYPES[dtype])
    return found


def sines(shape: list[int]) -> np.ndarray:
    """MAE's table of positions `[1, 1 + patches, width]` for square images; the first row is 0."""
    side, quarter = math.isqrt(shape[1] - 1), shape[2] // 4
    speed = 1 / 10_000 ** (np.arange(quarter) / quarter)
    angles = np.arange(side)[:, None] * speed[None]
    along = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    across, down = np.tile(along, (side, 1)), np.repeat(along, side, axis=0)
    return np.pad(np.concatenate([across, down], axis=1), ((1, 0), (0, 0)))[None]


def write_safetensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """The file format by itself, so that the library's writer is not needed to test its reader."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    header, begin = {}, 0
    for name, tensor in tensors.items():
        end = begin + tensor.nbytes
        header[name] = {
            "dtype": names[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(np.ascontiguousarray(tensor).tobytes() for tensor in tensors.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def write_folder(folder: Path, config: dict[str, Any], tensors: dict[str, np.ndarray]) -> Path:
    """A folder with a config.json and one file of tensors."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    write_safetensors(folder / "model.safetensors", tensors)
    return folder


def shapes_of(tensors: dict[str, np.ndarray]) -> Shapes:
    """What `random_tensors` takes."""
    names = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
    assert names[np.dtype(ml_dtypes.bfloat16)] == "BF16"
    return {name: [names[t.dtype], list(t.shape)] for name, t in tensors.items()}
