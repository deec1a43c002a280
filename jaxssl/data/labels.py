"""Decides what a label may be, in the same way for every file format.

1, 1.0, "1", "1.0", "+1"        the class "1"
True, "true", "TRUE"            the class "True"
" café", "café" in NFC or NFD   one class; characters without width are removed
None, NaN, ""                   no label
-1, -100, "NA", "nan", "-", "?" no label, unless `missing` says otherwise
0.5, "0.5", "0,5", "0.5 %"      refused: these are measurements, unless numbers are taken as written
lists, objects, dates           refused
"""

import ast
import contextlib
import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from jaxssl.errors import InputError, brief

MOST_CLASSES = 1_000  # more different labels are refused: the column is likely a text or a number
LONGEST = 256  # characters; a longer label is likely a text
NEVER_CLASSES = frozenset({"na", "n/a", "n.a.", "#n/a", "<na>", "nan", "-nan", "null"})
# These are classes where fewer than two others remain, as in +1 and -1.
DOUBTFUL = frozenset({"-1", "-100", "-", "--", "\u2013", "\u2014", "?"})
YES = ("true", "yes", "positive", "pos", "+")  # of two words, the one that F1 is meant for

INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)([.]0*)?")  # not 007, which is a code
NUMBER = re.compile(r"[+-]?([0-9]+[.,]?[0-9]*|[.,][0-9]+|inf(inity)?)(e[+-][0-9]+)?", re.IGNORECASE)
JOINERS = "\u200c\u200d"  # without width, but they shape Persian words and emoji
ZERO_WIDTH = dict.fromkeys(
    [0xAD, 0x61C, 0x180E, 0x200B, 0x200E, 0x200F, 0xFEFF]
    + [*range(0x202A, 0x202F), *range(0x2060, 0x2070)]
)
NOT_SHOWN = ZERO_WIDTH | dict.fromkeys([*map(ord, JOINERS), *range(0xFE00, 0xFE10)])
HYPHENS = dict.fromkeys([0x2010, 0x2011, 0x2212], "-")  # hyphens and the minus sign
# Cyrillic letters, and the Latin ones that look the same
LOOKS_LIKE = str.maketrans(
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425"
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0455\u0458",
    "ABEKMHOPCTXaeopcyxisj",
)


def label_name(
    value: Any, where: str, column: str | None = None, *, as_written: bool = False
) -> str | None:
    """Returns the name of the class that a value stands for.

    Args:
      value: Text, a number or a boolean, as a file format has given it. Bytes must be decoded before.
      where: File and row, for the error message.
      column: Name of the column, for the error message; None where there are no columns, as in images.
      as_written: Whether numbers are names: 3.10 and 3.0 stay what they are, instead of a measurement
        that is refused and the class "3".

    Returns:
      The name; None where there is no label (None, NaN, an empty text).

    Raises:
      InputError: The value is a measurement, a list or another structure, or too long.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        return None
    if not isinstance(value, str | bool | int | float | Decimal):
        raise InputError(
            f"{where}: label {brief(value)}{_of(column)} is a {type(value).__name__}, not the "
            "name of a class; write one text or one whole number for each example"
        )
    if value != value:  # NaN is not equal to itself
        return None
    if isinstance(value, int) and value.bit_length() > 4 * LONGEST:  # str() refuses 4,300 digits
        raise InputError(_too_long("a whole number", where, column))
    name = plain_label(str(value))
    if len(name) > LONGEST:
        raise InputError(_too_long(f"{name[:40]!r}…, {len(name):,} characters", where, column))
    if not name:
        return None
    if name[0] in "[{(" and _is_structure(name):
        raise InputError(
            f"{where}: label {brief(name)}{_of(column)} is a list or an object written as text, not "
            "the name of a class; write one name for each example"
        )
    number = name.rstrip("%\u2030").rstrip()
    if as_written or not NUMBER.fullmatch(number):
        return {"true": "True", "false": "False"}.get(name.casefold(), name)
    if number != name and INTEGER.fullmatch(number):  # 50 % may be a name, 12.5 % is a measurement
        return name
    return _whole_number(name, number, where, column)


def _is_structure(text: str) -> bool:
    """Returns whether a text is a list, tuple, set or dictionary, as JSON or Python writes it."""
    for read in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            return isinstance(read(text), list | tuple | dict | set)
    return False


def _whole_number(name: str, number: str, where: str, column: str | None) -> str:
    """Returns the name of a number, which is the same for 1, 1.0 and +1; refuses fractions."""
    if INTEGER.fullmatch(number):
        return str(int(number.partition(".")[0]))
    if number.isdigit():  # a code such as 007
        return name
    value = float(number) if "," not in number else 0.5
    if value.is_integer() and abs(value) < 1e15 and number == name:  # 1e+00, as numpy writes it
        return str(int(value))
    way_out = (
        "give each example the name of a class"
        if column is None
        else "set label to the name of another column, or numbers_as_written to True if such numbers are "
        "names of classes"
    )
    raise InputError(f"{where}: label {name}{_of(column)} is a measurement, not a class; {way_out}")


def _too_long(what: str, where: str, column: str | None) -> str:
    way_out = "shorten it" if column is None else "set label to the name of another column"
    return (
        f"{where}: label {what}{_of(column)} is longer than {LONGEST} characters, which no "
        f"name of a class is; {way_out}"
    )


def _of(column: str | None) -> str:
    return "" if column is None else f" of column {column!r}"


def plain_label(text: str) -> str:
    """Returns the label `text` in composed form (NFC), with single spaces, without characters of no width."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).translate(ZERO_WIDTH | HYPHENS)
    return " ".join(text.split()).strip(JOINERS)


def look(name: str) -> str:
    """Returns a text that is the same for a `name` and for others that look the same to a person."""
    return name if name.isascii() else name.translate(NOT_SHOWN | LOOKS_LIKE)


def given_label(text: str) -> str:
    """Returns the name of the class that a setting names as `text`, such as "1" for "1.0"."""
    name = plain_label(text)
    return str(int(name.partition(".")[0])) if INTEGER.fullmatch(name[:LONGEST]) else name


def missing_markers(names: Collection[str], missing: Sequence[str] | None) -> frozenset[str]:
    """Decides which labels mean that an example has none.

    Args:
      names: The different labels of the training examples.
      missing: What the user has set; None decides by the labels. "-1", "-" and "?" are then classes where
        fewer than two others remain, as in the pairs +1 and -1, or + and -.

    Returns:
      The markers in lower case.
    """
    if missing is not None:
        return frozenset(given_label(marker).casefold() for marker in missing)
    others = {name for name in names if name.casefold() not in NEVER_CLASSES | DOUBTFUL}
    return NEVER_CLASSES | DOUBTFUL if len(others) >= 2 else NEVER_CLASSES


def sorted_labels(labels: Iterable[str], source: str) -> tuple[str, ...]:
    """Returns the different labels in the order of their ids.

    Args:
      labels: The label of every training example, each as `label_name` returns it.
      source: Where they come from, for the error messages.

    Returns:
      The labels, sorted by value if all are whole numbers, otherwise alphabetically.

    Raises:
      InputError: All labels are the same, more than 1,000 are different, or two look the same.
    """
    listed = list(labels)
    names = set(listed)
    if len(names) < 2:
        raise InputError(
            f"all examples of {source} are {listed[0]!r}; a classifier needs at least two different "
            "labels"
        )
    if len(names) > MOST_CLASSES:
        raise InputError(
            f"{source} has {len(names)} different labels in {len(listed)} examples, more than "
            f"{MOST_CLASSES}; set label to the name of another column"
        )
    shown: dict[str, str] = {}
    for name in sorted(names):
        twin = shown.setdefault(look(name), name)
        if twin != name:
            raise InputError(
                f"{source} has the labels {ascii(twin)} and {ascii(name)}, which look the same; write "
                "both in the same way"
            )
    if all(name.removeprefix("-").isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def positive_class(
    names: tuple[str, ...], counts: dict[str, int], wanted: str | None = None
) -> str | None:
    """Chooses the class that the metric F1 is of, where there are two.

    Args:
      names: The labels in the order of their ids.
      counts: Number of training examples of each label.
      wanted: Label that the user has chosen; None chooses 1, true, yes, positive, pos or +, of two other
        numbers the larger one, and of two other labels the one with fewer examples.

    Returns:
      The label, or None where there are more than two classes and none was chosen.

    Raises:
      InputError: `wanted` is none of the labels, or there are more than two classes.
    """
    if wanted is not None:
        name = wanted if wanted in names else given_label(wanted)
        if name not in names or len(names) != 2:
            known = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
            reason = "" if name in names else ", which is none of them"
            raise InputError(
                f"positive={wanted!r}{reason}: f1 is of one of two classes, and the labels are {known}; "
                "set positive to None, or to one of two labels"
            )
        return name
    if len(names) != 2:
        return None
    if all(INTEGER.fullmatch(name) for name in names):
        return names[1]
    likely = [name for name in names if name.casefold() in YES]
    if len(likely) == 1:
        return likely[0]
    return min(reversed(names), key=lambda name: counts[name])
