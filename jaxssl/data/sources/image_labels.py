"""Decides what a label of an image may be, whatever the format of the file that it comes from."""

import math
import numbers
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxssl.errors import InputError


def label_of(value: Any, where: str, names: Sequence[str] | None = None) -> str | None:
    """Returns the name of a class, or None for an image without a label.

    Args:
      value: Name or number of the class. None, NaN, an empty string and negative numbers, which TFDS and
        others write for unknown labels, mean that there is no label.
      where: Name of the image, for the error message.
      names: Names of the classes by number; None if numbers are the names.

    Returns:
      The name in Unicode's composed form (NFC), so that names that look the same are the same.

    Raises:
      InputError: The value is a list, an object or a fraction, a name that is not UTF-8, or a number
        without a name.
    """
    if isinstance(value, np.ndarray) and value.shape == ():
        value = value[()]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        return _checked(value.strip(), where)
    if value is None:
        return None
    number = isinstance(value, (numbers.Real, np.bool_))
    if number and (math.isnan(value) or value < 0):
        return None
    if not number or not math.isfinite(value) or value != int(value):
        raise InputError(f"{where}: the label {_brief(value)} is no name or number of a class")
    if names is None:
        return str(int(value))
    if value >= len(names):
        raise InputError(f"{where}: the label {value} exceeds the {len(names)} names of classes")
    return names[int(value)]


def _checked(name: str, where: str) -> str | None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{where}: the label {name!a} is not UTF-8; rename it") from error
    return unicodedata.normalize("NFC", name) or None


def _brief(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"{text[:40]}…"
