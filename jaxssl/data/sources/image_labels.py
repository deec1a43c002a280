"""Reads labels of images, as `labels.py` decides for every file format; numbers may stand for names."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxssl.data.labels import DOUBTFUL, NEVER_CLASSES, label_name
from jaxssl.errors import InputError

MISSING = NEVER_CLASSES | DOUBTFUL | {"none"}  # markers in lower case


def label_of(value: Any, where: str, names: Sequence[str] | None = None) -> str | None:
    """Returns the name of a class, or None for an image without a label.

    Args:
      value: Name or number of the class. None, NaN, negative numbers, which TFDS and others write for
        unknown labels, and texts such as "", "-", "?", "NA" and "null" mean that there is no label.
      where: Name of the image, for the error message.
      names: Names of the classes by number; None if numbers are the names.

    Returns:
      The name, as `label_name` returns it.

    Raises:
      InputError: The value is a list, an object or a measurement, a name that is not UTF-8, or a number
        without a name.
    """
    if isinstance(value, np.ndarray) and value.shape == ():
        value = value[()]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        _check_utf8(value, where)
    name = label_name(value, where)
    if name is None or name.casefold() in MISSING:
        return None
    number = int(name) if name.removeprefix("-").isdecimal() and str(int(name)) == name else None
    if number is not None and number < 0:
        return None
    if number is None or names is None:
        return name
    if number >= len(names):
        raise InputError(f"{where}: the label {number} exceeds the {len(names)} names of classes")
    return names[number]


def folder_label(name: str, where: str) -> str | None:
    """Returns the label that the `name` of a folder is, as it is written; None for a blank one.

    Args:
      name: Name of the folder.
      where: Name of the image, for the error message.

    Raises:
      InputError: The name is not UTF-8.
    """
    _check_utf8(name, where)
    return unicodedata.normalize("NFC", name.strip()) or None


def _check_utf8(name: str, where: str) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{where}: the label {name!a} is not UTF-8; rename it") from error
