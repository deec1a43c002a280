"""The tensors of a folder: `model.safetensors`, or the files that `model.safetensors.index.json` lists.

    files = open_tensors("all-MiniLM-L6-v2")
    files.view("embeddings.word_embeddings.weight")[:3]     # reads these three rows

A file is an eight-byte length, a JSON header of that length (name -> dtype, shape, begin and end of the data)
and the data. Everything that a header says is checked before memory is taken or a byte of data is read.
Formats that hold pickled Python objects are not opened: reading one can run any code.
"""

import math
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

import ml_dtypes
import numpy as np

from jaxssl.data.stores.json_files import parse_json, read_json
from jaxssl.data.stores.json_types import Limits, checked, short
from jaxssl.data.stores.names import PlainName
from jaxssl.errors import InputError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
LARGEST_HEADER = 2**25  # bytes; a header takes about 100 bytes for each tensor
MOST_AXES = 8
LONGEST_NAME = 512  # characters
# Names of types in headers
DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U64": np.dtype(np.uint64),
    "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
Size = Annotated[int, Limits(0)]
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


class Index(TypedDict):
    """The content of `model.safetensors.index.json`."""

    weight_map: Annotated[dict[str, Annotated[str, PlainName()]], Limits(1)]
    """Name of a tensor -> name of the file that holds it."""


@dataclass(frozen=True)
class Entry:
    """What the header of a file says of a tensor."""

    dtype: str
    """Name of the type of its numbers."""
    shape: Annotated[tuple[Size, ...], Limits(0, MOST_AXES)]
    """Its shape."""
    data_offsets: tuple[Size, Size]
    """First byte of the data, and the one behind the last, counted from the end of the header."""


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor is stored."""

    file: Path
    """The file."""
    dtype: np.dtype[Any]
    """Type of its numbers."""
    shape: tuple[int, ...]
    """Its shape."""
    offset: int
    """Byte of the file at which it begins."""


@dataclass(frozen=True)
class TensorFiles:
    """Tensors by name. Reading one takes memory for the parts that are used, and none afterwards."""

    folder: Path
    """Folder that they are read from, for messages."""
    tensors: Mapping[str, StoredTensor]
    """Where each tensor is stored, by its name."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tensors."""
        return tuple(self.tensors)

    def view(self, name: str) -> np.ndarray:
        """Returns the tensor `name` as a read-only array that is mapped into memory.

        Raises:
          InputError: The file has become shorter, or is gone.
        """
        stored = self.tensors[name]
        if not math.prod(stored.shape):
            return np.zeros(stored.shape, stored.dtype)
        try:
            flat = np.memmap(
                stored.file, stored.dtype, "r", stored.offset, (math.prod(stored.shape),)
            )
        except (OSError, ValueError) as error:
            raise InputError(f"{stored.file} cannot be read any more ({error})") from error
        return np.asarray(flat).reshape(stored.shape)

    def renamed(self, names: Mapping[str, str]) -> "TensorFiles":
        """Returns the tensors of `names` alone, by other names: a mapping from a new name to an old one."""
        return TensorFiles(self.folder, {new: self.tensors[old] for new, old in names.items()})

    def only(self, names: Iterable[str]) -> "TensorFiles":
        """Returns the tensors of these `names` alone."""
        return self.renamed({name: name for name in names})


def open_tensors(folder: str | Path) -> TensorFiles:
    """Opens the tensors of a folder after a check of their headers.

    Args:
      folder: Folder with `model.safetensors`, or with `model.safetensors.index.json` and its files.

    Raises:
      InputError: There are no such files, a file is damaged, or the weights are stored in a format that can
        run code.
    """
    folder = Path(folder)
    check_links(folder)
    if (folder / SINGLE).is_file():
        return TensorFiles(folder, read_header(folder / SINGLE))
    if not (folder / INDEX).is_file():
        raise _nothing_to_read(folder)
    if (folder / INDEX).stat().st_size > LARGEST_HEADER:
        raise InputError(f"{folder / INDEX} is larger than {LARGEST_HEADER >> 20} MiB")
    files = read_json(folder / INDEX, Index)["weight_map"]
    headers = {name: read_header(folder / name) for name in sorted(set(files.values()))}
    for name, file in files.items():
        if name not in headers[file]:
            raise InputError(
                f"{folder / INDEX} says that {file} holds the tensor {short(name)}, and it does not; "
                "download the folder again"
            )
    return TensorFiles(folder, {name: headers[file][name] for name, file in files.items()})


def check_links(folder: Path) -> None:
    """Checks that no link in a folder leads out of it, so that nothing outside is taken for a part of it.

    In the cache of huggingface_hub, `snapshots/COMMIT` holds links to files in `blobs` beside `snapshots`;
    these are allowed.

    Args:
      folder: The folder.

    Raises:
      InputError: A link leads elsewhere.
    """
    if not folder.is_dir():
        return
    home = folder.resolve()
    roots = [home]
    if home.parent.name == "snapshots":
        roots.append(home.parent.parent / "blobs")
    for path in folder.iterdir():
        if path.is_symlink():
            target = Path(os.path.realpath(path))
            if not any(target.is_relative_to(root) for root in roots):
                raise InputError(
                    f"{path} is a link to {short(str(target))}, outside of the folder; copy the file itself"
                )


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Reads and checks the header of a safetensors file.

    Args:
      path: The file.

    Returns:
      Where each tensor is stored, by its name, in the order of the data.

    Raises:
      InputError: The file is missing or damaged: its header is too long or no JSON, a dtype is unknown, a
        size does not follow from the shape, or the tensors overlap, leave a gap or end beyond the file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
            if not 2 <= length <= min(size - 8, LARGEST_HEADER):
                raise InputError(
                    f"{path} is no complete safetensors file: {size} bytes, and a header of {length}; "
                    "download it again"
                )
            header = parse_json(file.read(length), f"the header of {path}")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error})") from error
    if not isinstance(header, dict):
        raise InputError(f"the header of {path} is no object; download the file again")
    header.pop("__metadata__", None)
    begin = 8 + length
    found = {name: _stored(path, begin, name, entry) for name, entry in header.items()}
    found = dict(sorted(found.items(), key=lambda item: item[1].offset))
    for name, stored in found.items():
        # Empty tensors take no bytes, so that several may begin at the same one.
        if stored.offset != begin:
            problem = "overlaps another one" if stored.offset < begin else "begins behind a gap"
            raise InputError(f"{path}: the tensor {short(name)} {problem}; download the file again")
        begin += math.prod(stored.shape) * stored.dtype.itemsize
    if begin != size:
        raise InputError(
            f"{path} has {size} bytes, and its header describes {begin}; download it again"
        )
    return found


def _stored(path: Path, begin: int, name: str, entry: Any) -> StoredTensor:
    """Checks the entry of a tensor; `begin` is the first byte of the data."""
    where = f"{path}: the tensor {short(name)}"
    if len(name) > LONGEST_NAME:
        raise InputError(f"{where} has a name of {len(name)} characters; download the file again")
    known = checked(entry, Entry, where)
    if known.dtype not in DTYPES:
        raise InputError(
            f"{where} has the unknown dtype {short(known.dtype)}; convert it to F32, F16 or BF16"
        )
    dtype, (start, stop) = DTYPES[known.dtype], known.data_offsets
    wanted = math.prod(known.shape) * dtype.itemsize
    if stop - start != wanted:
        raise InputError(
            f"{where} has {stop - start} bytes, and its shape {list(known.shape)} of {known.dtype} takes "
            f"{wanted}; download the file again"
        )
    return StoredTensor(path, dtype, known.shape, begin + start)


def _nothing_to_read(folder: Path) -> InputError:
    """The error for a folder without safetensors, with the way out."""
    if not folder.is_dir():
        return InputError(f"{folder} is no folder; pass one that holds config.json and {SINGLE}")
    pickled = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLED)
    if pickled:
        return InputError(
            f"{folder} holds its weights in {pickled[0]}, and reading such a file can run any code, so it is "
            "not opened; where torch is installed and the folder can be trusted, convert it with "
            f'AutoModel.from_pretrained("{folder}").save_pretrained("NEW_FOLDER", safe_serialization=True), '
            "with the Auto class of its head"
        )
    return InputError(f"{folder} has neither {SINGLE} nor {INDEX}; download one of them as well")
