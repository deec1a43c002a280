"""The Unicode normalisation of a sentencepiece model, as a sequence of normalisers of `tokenizers`.

A sentencepiece model holds its normalisation as rules, key -> value ("ﬁ" -> "fi", "e" + U+0301 -> "é"). At
each position of a text the longest key that fits is replaced, and the next position is behind it.
`tokenizers` has a normaliser `Precompiled` for such rules, but it looks up whole grapheme clusters and drops
what stands behind a shorter key, so that it gives other text for many combining characters, Hangul syllables
and half-width kana. It is exact for single characters. The sequence here isolates them before it:

    1  INNER between the characters of each key of several characters, found by what stands before
    2  SEPARATOR before every other character that could be joined with the one before it
    3  Precompiled, which then sees single characters only; INNER is removed
    4  NFC, which composes what the keys of several characters compose, within the separators
    5  SEPARATOR is removed

Both marks are unassigned code points that end a grapheme cluster; where a text contains them, they are
escaped before and restored after. Whether steps 3 and 4 give the value of every key is checked for all of
them; keys of later versions of Unicode than that of NFC here are replaced one by one.
"""

import base64
import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenizers import normalizers

from jaxssl.errors import InputError

SEPARATOR, INNER, ESCAPE = "\ufff0", "\ufff4", "\ufff1"
ESCAPED = {ESCAPE: "\ufff2", SEPARATOR: "\ufff3", INNER: "\ufff5"}
SHIELDS = ("\ufff6",)
# Before these a separator costs time and is never needed: ASCII, and the large blocks of ideographs
APART = r"\x{0}-\x{7f}\x{3400}-\x{4dbf}\x{4e00}-\x{9fff}"
MOST_SINGLE_RULES = 200  # keys that are replaced one by one, each in a pass of its own
MOST_RULES = 2**20
LONGEST_KEY = 64  # bytes
Part = dict[str, Any]


def rules_of(charsmap: bytes) -> dict[str, str]:
    """Returns the rules of a precompiled charsmap: what each key is replaced by.

    The bytes are a double-array trie, behind its size in 4 bytes, and the values, each ended by a zero byte.

    Args:
      charsmap: The field `precompiled_charsmap` of a sentencepiece model; may be empty.

    Raises:
      InputError: The bytes are no charsmap.
    """
    found: dict[str, str] = {}
    try:
        size = struct.unpack_from("<I", charsmap)[0] // 4 if charsmap else 0
        units = struct.unpack_from(f"<{size}I", charsmap, 4) if charsmap else ()
        values = charsmap[4 + 4 * size :]
        children = defaultdict(list)
        for node, unit in enumerate(units):
            if not unit >> 31 and unit & 0xFF:
                children[node ^ unit & 0xFF].append((node, bytes([unit & 0xFF])))
        unvisited = [(0, b"")] if units else []
        while unvisited:
            node, key = unvisited.pop()
            unit = units[node]
            base = node ^ (unit >> 10 << ((unit & 512) >> 6))
            if unit >> 8 & 1 and key:
                start = units[base] & 0x7FFFFFFF
                found[key.decode()] = values[start : values.index(b"\0", start)].decode()
            if len(found) > MOST_RULES or len(key) > LONGEST_KEY:
                raise ValueError("it has too many rules, or longer ones than sentencepiece writes")
            unvisited += [(child, key + byte) for child, byte in children[base]]
    except (struct.error, ValueError, IndexError) as error:
        raise InputError(
            f"the normalisation of the sentencepiece model is damaged: {error}"
        ) from error
    return found


def normalizers_of(charsmap: bytes) -> list[Part]:
    """Returns the normalisers of a tokenizer.json that do to any text what a charsmap does to it.

    Args:
      charsmap: The field `precompiled_charsmap` of a sentencepiece model; may be empty.

    Raises:
      InputError: The charsmap is damaged, or has rules that these normalisers cannot express.
    """
    rules = rules_of(charsmap)
    if not rules:
        return []
    marks = {*ESCAPED, *ESCAPED.values(), *SHIELDS}
    if used := sorted(marks & set("".join(rules))):
        raise InputError(
            f"the normalisation of the sentencepiece model has a rule for {ascii(used[0])}, an unassigned "
            "character that a tokenizer.json needs for itself; choose another normalisation"
        )
    several = [key for key in rules if len(key) > 1]
    shields, late = _exceptions(rules, several)
    escaped = {**ESCAPED, **{shield: chr(ord(shield) + 1) for shield in shields.values()}}
    # Never at the beginning: there the library has wrong offsets for what is inserted, and fails later
    hazard = (
        rf"(?<=[^{INNER}])(?=[^{APART}{INNER}])|(?<=[^{APART}{INNER}])(?=[\x{{0}}-\x{{7f}}])"
        r"|(?<=\r)(?=\n)"
    )
    precompiled = {
        "type": "Precompiled",
        "precompiled_charsmap": base64.b64encode(charsmap).decode(),
    }
    return [
        *(replace(key, rules[key]) for key in sorted(late, key=len, reverse=True)),
        *(replace(mark, ESCAPE + second) for mark, second in escaped.items()),
        *([replace(_inside(several), INNER, regex=True)] if several else []),
        *(replace(INNER + tail, INNER + shield) for tail, shield in shields.items()),
        replace(hazard, SEPARATOR, regex=True),
        precompiled,
        *(replace(INNER + shield, INNER + tail) for tail, shield in shields.items()),
        replace(INNER, ""),
        {"type": "NFC"},
        replace(SEPARATOR, ""),
        *(replace(ESCAPE + second, mark) for mark, second in reversed(escaped.items())),
    ]


def replace(found: str, content: str, *, regex: bool = False) -> Part:
    """Returns the normaliser that replaces `found`, a text or (`regex`) an expression, by `content`."""
    return {
        "type": "Replace",
        "pattern": {"Regex" if regex else "String": found},
        "content": content,
    }


def _inside(keys: Iterable[str]) -> str:
    """Returns the regular expression of the positions between two characters of a key.

    The beginning of every key of several characters is a key too (`_exceptions` checks that), so that what
    stands before a position decides.
    """
    firsts: dict[tuple[str, str], set[str]] = defaultdict(
        set
    )  # by the characters between, and the last
    for key in keys:
        firsts[key[1:-1], key[-1]].add(key[0])
    lasts: dict[tuple[str, frozenset[str]], set[str]] = defaultdict(set)
    for (between, last), first in firsts.items():
        lasts[between, frozenset(first)].add(last)
    alternatives = "|".join(
        f"(?={_one_of(last)})(?<={_one_of(first)}{''.join(map(_code, between))})"
        for (between, first), last in sorted(
            lasts.items(), key=lambda one: (one[0][0], min(one[1]))
        )
    )
    every = {character for last in lasts.values() for character in last}
    return f"(?={_one_of(every)})(?:{alternatives})"


def _exceptions(
    rules: Mapping[str, str], several: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    """Returns which keys of several characters need more than steps 3 and 4, after checking all of them.

    Returns:
      Characters that step 3 must not see behind the first one of a key, each with the character that stands
      for it meanwhile (U+0345 where case is folded); and the keys that are replaced one by one.
    """
    single = {key: value for key, value in rules.items() if len(key) == 1}
    late = _not_composed(rules, several, single)
    compose = normalizers.NFC().normalize_str
    behind = {character for key in late for character in key[1:] if character in single}
    hidden = sorted(character for character in behind if compose(character) != single[character])
    shields = dict(zip(hidden, SHIELDS, strict=False))
    if shields:
        late = _not_composed(rules, several, single, shields)
    known = set(several)
    tails = {character for key in several for character in key[1:]}
    odd = [
        key
        for key in known.difference(late)
        if key[0] in tails or (len(key) > 2 and key[:-1] not in known)
    ] + [key for key in late if rules[key] in rules]
    if odd or len(late) > MOST_SINGLE_RULES:
        raise InputError(
            f"the normalisation of the sentencepiece model has {len(odd) + len(late):,} rules that a "
            f"tokenizer.json cannot express, such as that for {ascii((odd or late)[0])}"
        )
    return shields, late


def _not_composed(
    rules: Mapping[str, str],
    several: Sequence[str],
    single: Mapping[str, str],
    shields: Iterable[str] = (),
) -> list[str]:
    """Returns the keys of several characters whose value steps 3 and 4 do not give."""
    later = {key: value for key, value in single.items() if key not in shields}
    mapped = (
        single.get(key[0], key[0])
        + "".join(later.get(character, character) for character in key[1:])
        for key in several
    )
    composed = normalizers.NFC().normalize_str(SEPARATOR.join(mapped)).split(SEPARATOR)
    return [key for key, text in zip(several, composed, strict=True) if text != rules[key]]


def _one_of(characters: Iterable[str]) -> str:
    """Returns the regular expression of a class of characters, neighbours as ranges."""
    ranges: list[list[int]] = []
    for code in sorted(map(ord, characters)):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "[" + "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in ranges) + "]"


def _code(character: str) -> str:
    return f"\\x{{{ord(character):x}}}"
