"""The file beside each shard that names its documents, and says which of them each row contains.

The documents of all rows are one array, and `offsets` says where each row's part of it begins and ends
(compressed sparse rows). For a shard of images every row has one "document", the image's name.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from jaxssl.errors import InputError

LARGEST = 1 << 30  # bytes of all arrays of a file; the texts of a shard are some megabytes
# What a damaged archive raises: NotImplementedError for a compression that there is not, RuntimeError for
# one that is encrypted, MemoryError for the shape of an array.
BROKEN = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
)
DTYPES = {"names": np.uint8, "offsets": np.int64, "documents": np.int32}


def read_documents(path: Path, rows: int | None = None) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Reads the documents of a shard from the file `path`.

    Args:
      path: The file.
      rows: Number of rows that the shard has; None does not compare it.

    Returns:
      names: Names of the documents of the shard.
      offsets: int64 `[rows + 1]`; row r contains pieces of `documents[offsets[r]:offsets[r + 1]]`.
      documents: Positions in `names`, int32 `[pieces]`.

    Raises:
      InputError: The file is missing or damaged, or holds something else.
    """
    try:
        arrays = _read_arrays(path)
        names = arrays["names"].tobytes().decode("utf-8", "surrogatepass").split("\0")
        offsets, documents = arrays["offsets"], arrays["documents"]
        if rows is not None and len(offsets) != rows + 1:
            raise ValueError(f"it is of {len(offsets) - 1} rows, not {rows}")
        if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(documents):
            raise ValueError("its offsets do not fit its documents")
        if (np.diff(offsets) < 0).any():
            raise ValueError("its offsets fall")
        if len(documents) and not 0 <= documents.min() <= documents.max() < len(names):
            raise ValueError("it names documents that are not listed")
    except BROKEN as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path} cannot be read ({reason}); restore it or prepare the set anew"
        ) from error
    return names, offsets, documents


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Returns the three arrays of the file, each with its number of axes and type; raises ValueError."""
    with zipfile.ZipFile(path) as archive:
        if (size := sum(entry.file_size for entry in archive.infolist())) > LARGEST:
            raise ValueError(f"its arrays would have {size:,} bytes")
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in DTYPES}
    for name, array in arrays.items():
        if array.dtype != DTYPES[name] or array.ndim != 1:
            raise ValueError(f"{name} is an array {array.shape} of {array.dtype}")
    return arrays


def write_documents(
    path: Path, names: list[str], offsets: np.ndarray, documents: np.ndarray
) -> None:
    """Writes the documents of a shard. The bytes of the file depend on nothing but the arguments.

    Args:
      path: File to write, an npz archive.
      names: Names of the documents of the shard.
      offsets: Where each row's part of `documents` begins and ends, `[rows + 1]`.
      documents: Positions in `names` of the documents in the rows, `[pieces]`.
    """
    joined = "\0".join(names).encode("utf-8", "surrogatepass")
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            names=np.frombuffer(joined, np.uint8),
            offsets=offsets.astype(np.int64),
            documents=documents.astype(np.int32),
        )
