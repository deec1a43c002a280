"""Checks that values from a JSON file have the types and ranges that the code relies on.

The description is a class with annotated fields, a dataclass or a `TypedDict`:

    @dataclass(frozen=True)
    class Shard:
        file: Annotated[str, Matches(r"[a-z0-9-]+", "a plain name")]
        rows: Annotated[int, Limits(0)]

    checked(content, dict[str, list[Shard]], "manifest.json")

    InputError: manifest.json: train[0].rows is -32, expected a whole number, at least 0
"""

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from jaxssl.errors import InputError

PLAIN: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    tuple: "a list",
    dict: "an object",
    types.NoneType: "null",
}


@dataclass(frozen=True)
class Limits:
    """Smallest and largest allowed value of a number, or length of a text or list; for `Annotated`."""

    least: float = -math.inf
    """Smallest allowed value, or length."""
    most: float = math.inf
    """Largest allowed value, or length."""

    def allow(self, value: Any) -> bool:
        """Returns whether the number `value`, or the length of any other `value`, is within the limits."""
        size = value if isinstance(value, (int, float)) else len(value)
        return self.least <= size <= self.most

    @property
    def words(self) -> str:
        """The limits as part of an error message."""
        parts = [f"at least {self.least}"] * (self.least > -math.inf)
        return " and ".join(parts + [f"at most {self.most}"] * (self.most < math.inf))


@dataclass(frozen=True)
class Matches:
    """Regular expression that the whole of a text must match; for `Annotated`."""

    pattern: str
    """The regular expression."""
    words: str
    """What it means, as part of an error message, such as "64 hexadecimal digits"."""

    def allow(self, value: str) -> bool:
        """Returns whether all of `value` matches."""
        return re.fullmatch(self.pattern, value) is not None


class Refused(InputError):
    """The value of a field has the wrong type or is outside its range.

    Args:
      message: The whole message.
      field: Name of the field within the file, empty for the whole file.
    """

    def __init__(self, message: str, field: str):
        super().__init__(message)
        self.field = field


def checked(value: Any, kind: Any, where: str, field: str = "") -> Any:
    """Returns `value` as an instance of `kind`, after a check of its types and ranges.

    Args:
      value: What a JSON file holds: dictionaries, lists, strings, numbers, booleans and None.
      kind: The type that is expected: `bool`, `int`, `float`, `str`, `None`, `Any`, a `Literal`, a union,
        `list[X]`, `tuple[X, ...]`, `tuple[X, Y]`, `dict[str, X]`, `Annotated` with `Limits` or `Matches`,
        a dataclass, or a `TypedDict`. A boolean is no number here, and a whole number is a `float`. The
        object of a dataclass must have all fields without a default and no others; that of a
        `TypedDict` may have others, which are kept unchecked.
      where: Name of the file, for the message.
      field: Name of the value within the file, for the message; empty for the whole file.

    Returns:
      The value: dataclasses are made of objects, and tuples of lists where `kind` says so.

    Raises:
      InputError: A value is not what is expected; the message names the file, the field and the value.
    """
    if typing.is_typeddict(kind):
        fields = _fields(value, kind, where, field, kind.__required_keys__)
        return {**value, **fields}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _dataclass(value, kind, where, field)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _annotated(value, kind, where, field)
    if origin in (Union, types.UnionType):
        return _one_of(value, kind, where, field)
    if kind is Any or (origin is Literal and _is_among(value, arguments)):
        return value
    plain: Any = types.NoneType if kind is None else origin or kind
    if plain is float and type(value) is int:
        return float(value)
    needed: Any = list if plain is tuple else plain
    if plain not in PLAIN or type(value) is not needed:
        raise _refused(value, kind, where, field)
    if plain in (list, tuple):
        return plain(_parts(value, kind, where, field))
    if plain is dict and arguments:
        return {
            name: checked(part, arguments[1], where, _join(field, name))
            for name, part in value.items()
        }
    return value


def _is_among(value: Any, choices: tuple[Any, ...]) -> bool:
    """Returns whether `value` is one of `choices`; 1, 1.0 and true are different here."""
    return any(type(value) is type(choice) and value == choice for choice in choices)


def _annotated(value: Any, kind: Any, where: str, field: str) -> Any:
    plain, *limits = get_args(kind)
    try:
        result = checked(value, plain, where, field)
    except Refused as error:
        raise _refused(value, kind, where, field) if error.field == field else error from None
    if all(limit.allow(result) for limit in limits):
        return result
    raise _refused(value, kind, where, field)


def _fields(
    value: Any, kind: type, where: str, field: str, required: typing.Iterable[str]
) -> dict[str, Any]:
    """Returns the checked fields that the object `value` has, and that `kind` declares."""
    hints = typing.get_type_hints(kind, include_extras=True)
    if not isinstance(value, Mapping):
        raise _refused(value, kind, where, field)
    for name in sorted(required):
        if name not in value:
            of = f" of {field}" if field else ""
            raise InputError(
                f"{where}: the field {name!r}{of} is missing, expected "
                f"{in_words(_declared(hints[name]))}"
            )
    return {
        name: checked(value[name], _declared(hint), where, _join(field, name))
        for name, hint in hints.items()
        if name in value
    }


def _declared(hint: Any) -> Any:
    """Returns the type inside `NotRequired[…]` or `Required[…]`, other types as they are."""
    is_wrapped = get_origin(hint) in (typing.NotRequired, typing.Required)
    return get_args(hint)[0] if is_wrapped else hint


def _dataclass(value: Any, kind: type, where: str, field: str) -> Any:
    fields = [entry for entry in dataclasses.fields(kind) if entry.init]
    none = (dataclasses.MISSING, dataclasses.MISSING)
    required = [entry.name for entry in fields if (entry.default, entry.default_factory) == none]
    content = _fields(value, kind, where, field, required)
    if unknown := sorted(value.keys() - {entry.name for entry in fields}):
        name = _join(field, unknown[0])
        raise InputError(
            f"{where}: the field {name} is unknown; another version may have written it"
        )
    try:
        return kind(**content)
    except ValueError as error:  # of its __post_init__
        raise InputError(f"{where}: {field + ': ' if field else ''}{error}") from error


def _one_of(value: Any, kind: Any, where: str, field: str) -> Any:
    """Returns `value` checked as the first alternative of the union that accepts it."""
    inner = []  # problems within the value, which has the outer form of an alternative
    for alternative in get_args(kind):
        try:
            return checked(value, alternative, where, field)
        except InputError as error:
            if not isinstance(error, Refused) or error.field != field:
                inner.append(error)
    raise inner[0] if len(inner) == 1 else _refused(value, kind, where, field)


def _parts(value: list[Any], kind: Any, where: str, field: str) -> list[Any]:
    """Returns the checked entries of the list `value`, which `kind`, a list or a tuple, describes."""
    arguments = get_args(kind) or (Any, ...)
    if get_origin(kind) is list or arguments[-1] is ...:
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise _refused(value, kind, where, field)
    return [
        checked(part, inner, where, f"{field}[{index}]")
        for index, (part, inner) in enumerate(zip(value, arguments, strict=True))
    ]


def _join(field: str, name: Any) -> str:
    return f"{field}.{name}" if field else str(name)


def _refused(value: Any, kind: Any, where: str, field: str) -> Refused:
    name = field or "its content"
    return Refused(f"{where}: {name} is {short(value)}, expected {in_words(kind)}", field)


def short(value: Any, limit: int = 60) -> str:
    """Returns `value` as JSON writes it, its middle left out where that is longer than `limit`."""
    if isinstance(value, (dict, list)) and len(value) > limit:
        return f"{PLAIN[type(value)]} of {len(value)} entries"
    shown = {None: "null", True: "true", False: "false"}.get(value) if _is_constant(value) else None
    shown = shown or repr(value)
    return shown if len(shown) <= limit else f"{shown[: limit - 13]} … {shown[-10:]}"


def _is_constant(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def in_words(kind: Any) -> str:
    """Returns the type `kind` as part of an error message."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return ", ".join([in_words(arguments[0]), *(limit.words for limit in arguments[1:])])
    if origin is Literal:
        return " or ".join(short(choice) for choice in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(in_words(part) for part in arguments)
    if kind is Any:
        return "a value"
    plain: Any = types.NoneType if kind is None else origin or kind
    if origin is tuple and ... not in arguments:
        return f"a list of {len(arguments)}"
    if origin in (list, tuple) and arguments[0] in PLAIN:
        return f"a list, each entry {in_words(arguments[0])}"
    return PLAIN.get(plain, f"an object of the fields of {getattr(plain, '__name__', plain)}")
