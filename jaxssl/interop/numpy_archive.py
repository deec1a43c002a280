"""Writes and reads a tree of arrays as one `.npz` file, each array under its path.

    write_arrays("parameters.npz", {"encoder/tokens/embedding": array})
    numpy.load("parameters.npz")["encoder/tokens/embedding"]

The file holds no Python objects, so that `numpy.load` reads it with `allow_pickle=False`, its default.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxssl.errors import InputError


def write_arrays(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Writes arrays to a `.npz` file, one after another.

    Args:
      path: File to write.
      arrays: Arrays of numpy's own types, on the host or on a device, by name.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            # The date of the entry is always the same, so that equal arrays give equal files.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a `.npz` file by name.

    Args:
      path: The file.

    Raises:
      InputError: The file is missing, is no `.npz`, or holds Python objects, which are not read.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read as arrays ({error})") from error
