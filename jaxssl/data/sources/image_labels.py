"""Decides what a label of an image may be, whatever the format of the file that it comes from."""

import math
import numbers
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxssl.errors import InputError

MARKERS = {"", "-", "?", "na", "n/a", "none", "null"}
NUMBER = re.compile(
    r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+|[1-9][0-9]{0,15}|0|nan|inf)", re.I
)  # no code like 007


def label_of(value: Any, where: str, names: Sequence[str] | None = None) -> str | None:
    """Returns the name of a class, or None for an image without a label.

    Args:
      value: Name or number of the class. None, NaN, negative numbers, which TFDS and others write for
        unknown labels, and the texts "", "-", "?", "NA", "none" and "null" mean that there is no label.
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
        if value.strip().casefold() in MARKERS:
            return None
        if not NUMBER.fullmatch(value.strip()):
            return folder_label(value, where)
        value = float(value)
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


def folder_label(name: str, where: str) -> str | None:
    """Returns the label that the `name` of a folder is, as it is written; None for a blank one.

    Args:
      name: Name of the folder.
      where: Name of the image, for the error message.

    Raises:
      InputError: The name is not UTF-8.
    """
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{where}: the label {name!a} is not UTF-8; rename it") from error
    return unicodedata.normalize("NFC", name.strip()) or None


def _brief(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"{text[:40]}…"
