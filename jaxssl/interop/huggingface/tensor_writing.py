"""Writes safetensors: one file, or several with an index, tensor by tensor.

    forms = {"embeddings.weight": Form((50, 8), np.dtype("float32"))}
    write_tensor_files(folder, forms, [("embeddings.weight", array)])

The header of a file comes first, so that the forms of all tensors must be known before any is written. The
bytes are those that the library safetensors reads, with the metadata `format: pt`, which transformers wants.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jaxssl.data.stores.json_files import write_json
from jaxssl.interop.huggingface.tensor_files import DTYPES, INDEX, SINGLE

LARGEST_FILE = 5 * 10**9  # bytes of the tensors of a file, as transformers has it
CODES = {dtype: code for code, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Form:
    """Shape and type of a tensor that is written."""

    shape: tuple[int, ...]
    """Its shape."""
    dtype: np.dtype[Any]
    """Type of its numbers."""

    @property
    def bytes(self) -> int:
        """Size of its data."""
        return math.prod(self.shape) * self.dtype.itemsize


def write_tensor_files(
    folder: Path,
    forms: Mapping[str, Form],
    tensors: Iterable[tuple[str, np.ndarray]],
    *,
    largest: int = LARGEST_FILE,
) -> list[str]:
    """Writes tensors into a folder, one after another, so that memory holds one of them at a time.

    Args:
      folder: An existing folder.
      forms: Shape and type of every tensor, in the order in which they come.
      tensors: The tensors with their names, in the same order.
      largest: Bytes of the tensors of a file; with more there are several files and an index.

    Returns:
      Names of the files.

    Raises:
      ValueError: The tensors are not those of `forms`, in the same order.
    """
    groups = _grouped(forms, largest)
    several = len(groups) > 1
    names = [
        f"model-{number:05}-of-{len(groups):05}.safetensors" if several else SINGLE
        for number in range(1, len(groups) + 1)
    ]
    coming = iter(tensors)
    for name, group in zip(names, groups, strict=True):
        with (folder / name).open("wb") as file:
            file.write(_header(group))
            for wanted, form in group.items():
                _write(file, wanted, form, *next(coming, ("nothing", np.empty(0))))
    if (more := next(coming, None)) is not None:
        raise ValueError(f"the tensor {more[0]} has no form")
    if several:
        weight_map = {
            tensor: name for name, group in zip(names, groups, strict=True) for tensor in group
        }
        total = sum(form.bytes for form in forms.values())
        write_json(
            folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2
        )
    return names


def _grouped(forms: Mapping[str, Form], largest: int) -> list[dict[str, Form]]:
    """The tensors of each file, in order; a tensor that is larger than a file has one of its own."""
    groups: list[dict[str, Form]] = [{}]
    size = 0
    for name, form in forms.items():
        if groups[-1] and size + form.bytes > largest:
            groups.append({})
            size = 0
        groups[-1][name] = form
        size += form.bytes
    return groups


def _header(group: Mapping[str, Form]) -> bytes:
    """The length of the header and the header, with spaces behind it, so that the data are aligned."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    begin = 0
    for name, form in group.items():
        entries[name] = {
            "dtype": CODES[form.dtype],
            "shape": list(form.shape),
            "data_offsets": [begin, begin + form.bytes],
        }
        begin += form.bytes
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _write(file: BinaryIO, wanted: str, form: Form, name: str, tensor: np.ndarray) -> None:
    if (name, tensor.shape, tensor.dtype) != (wanted, form.shape, form.dtype):
        raise ValueError(
            f"the tensor {name} is {tensor.dtype}{list(tensor.shape)} where {wanted}, "
            f"{form.dtype}{list(form.shape)}, comes"
        )
    little = tensor.astype(tensor.dtype.newbyteorder("<"), copy=False)
    file.write(np.ascontiguousarray(little).reshape(-1).view(np.uint8).data)
