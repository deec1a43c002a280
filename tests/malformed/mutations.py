"""Seeded mutations of files: their bytes, their structure as JSON, their lines."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

VALUES = [
    None,
    True,
    -1,
    0,
    -32,
    2.5,
    1e308,
    10**9,
    2**64,
    "",
    "x",
    "../../x",
    "/etc/passwd",
    "a\0b",
    "\ud800",
    "9" * 5000,
    [],
    {},
    ["a"],
    [[[]]],
    {"type": "x"},
]


def of_bytes(data: bytes, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yields `count` named variants of `data`: shorter, longer, with bytes changed, moved or replaced."""
    picked = random.Random(seed)
    fixed = {
        "as it is": data,
        "empty": b"",
        "one byte": data[:1],
        "half": data[: len(data) // 2],
        "all but one byte": data[:-1],
        "twice": data + data,
        "random": picked.randbytes(max(8, min(len(data), 4096))),
        "zeros": bytes(max(8, min(len(data), 4096))),
        "text": b"hello world\n" * 3,
        "html": b"<!DOCTYPE html><html><body>404</body></html>",
        "UTF-16": "hello".encode("utf-16"),
    }
    yield from list(fixed.items())[:count]
    for number in range(count - len(fixed)):
        changed = bytearray(data)
        for _ in range(picked.choice([1, 1, 2, 8])):
            at = picked.randrange(len(changed)) if changed else 0
            kind = picked.choice(["flip", "insert", "delete"])
            if kind == "flip" and changed:
                changed[at] ^= 1 << picked.randrange(8)
            elif kind == "insert":
                changed[at:at] = picked.randbytes(picked.randrange(1, 20))
            else:
                del changed[at : at + picked.randrange(1, 20)]
        yield f"bytes {number}", bytes(changed)


def of_json(text: str, count: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Yields `count` named variants of a JSON document: truncated, of another type, with entries changed."""
    fixed = {
        "as it is": text,
        "empty": "",
        "null": "null",
        "list": "[]",
        "object": "{}",
        "number": "1",
        "half": text[: len(text) // 2],
        "nesting": "[" * 100_000,
        "NaN": "NaN",
        "integer": "9" * 5000,
    }
    yield from list(fixed.items())[:count]
    picked = random.Random(seed)
    document = json.loads(text)
    paths = [path for path in _paths(document) if path]
    for number in range(count - len(fixed)):
        changed = copy.deepcopy(document)
        for _ in range(picked.choice([1, 1, 1, 3])):
            _change(changed, picked.choice(paths), picked)
        yield f"json {number}", json.dumps(changed)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for name in list(value)[:30]:
            yield from _paths(value[name], (*path, name))
    elif isinstance(value, list):
        for index in range(min(len(value), 6)):
            yield from _paths(value[index], (*path, index))


def _change(document: Any, path: tuple[Any, ...], picked: random.Random) -> None:
    *inner, last = path
    try:
        for part in inner:
            document = document[part]
        if picked.random() < 0.3:
            del document[last]
        else:
            document[last] = picked.choice(VALUES)
    except (KeyError, IndexError, TypeError):
        return  # an earlier change has removed this path
