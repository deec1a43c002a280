"""Which part of the text is held out for evaluation: a share by length, the same on every machine.

Of many documents, those are held out whose hashed name is below a threshold. Whether a document is held out
then depends on its name alone, not on the other documents.

Of few documents, such a draw may be far from the share. There, a long document has a section of its own
held out, which begins and ends at a line or a space. The others are held out whole, in the order of their
hashes, as long as they fit, and what is then missing is a section of the next one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from jaxssl.data.preparing.split import name_hash
from jaxssl.data.sources.texts import Document
from jaxssl.errors import InputError

MANY = 200  # a draw of at least so many documents to hold out is close to the share
WHOLE = 0.5  # documents up to this fraction of the text to hold out are not divided
NEAR = 0.1  # the share may be missed by this fraction of it before another document is divided
SHORTEST = (
    300  # characters; a document whose section would be shorter is held out whole or not at all
)


@dataclass(frozen=True)
class HeldOut:
    """The rule that divides documents into training and held-out text."""

    below: float = 0.0
    """Documents whose hashed name is below this number are held out; 0 where the documents are few."""
    whole: tuple[str, ...] = ()
    """Names of few documents that are held out."""
    sections: dict[str, tuple[int, int]] = field(default_factory=dict)
    """First and last character (exclusive) of the section that is held out, by name of the document."""

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.whole)

    def parts(self, document: Document) -> Iterator[tuple[str, Document]]:
        """Yields "train" or "valid" and the document, or the up to three parts that it is divided into."""
        name, text = document
        key = _key(name)
        if key not in self.sections:
            held_out = name_hash(name) < self.below or key in self._names
            yield "valid" if held_out else "train", document
            return
        section = self.sections[key]
        most = (section[1] - section[0]) // 4  # so that the section keeps about its length
        start, stop = (_near_break(text, position, most) for position in section)
        for split, begin, end in (
            ("train", 0, start),
            ("valid", start, stop),
            ("train", stop, None),
        ):
            if (part := text[begin:end]).strip():
                yield split, Document(f"{name}@{begin}" if begin else name, part)


def choose_held_out(documents: Iterable[Document], share: float) -> HeldOut:
    """Chooses what is held out.

    Args:
      documents: The documents. Not all are read where they are many.
      share: Fraction of the text to hold out, in (0, 1).

    Returns:
      The rule.

    Raises:
      InputError: `share` is not in (0, 1), or there is too little text to divide.
    """
    check_share_to_hold_out(share)
    most = int(MANY / min(share, 1 - share))
    sizes: dict[str, int] = {}
    for number, document in enumerate(documents):
        if number == most:
            return HeldOut(below=share)
        key = _key(document.name)
        sizes[key] = sizes.get(key, 0) + len(document.text)
    return _of_few(sizes, share)


def check_share_to_hold_out(share: float) -> None:
    """Raises InputError unless `share` is a number between 0 and 1."""
    if not 0 < share < 1:
        raise InputError(
            f"valid={share} must be a fraction between 0 and 1, e.g. 0.02, or a source of its own"
        )


def _key(name: str) -> str:
    """Returns `name`, or its escaped form where it is a file's name that is not UTF-8, as JSON has to be."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return ascii(name)
    return name


def _of_few(sizes: dict[str, int], share: float) -> HeldOut:
    """Chooses what is held out of few documents, whose lengths are known by name."""
    goal = share * sum(sizes.values())
    long = {
        n: size for n, size in sizes.items() if size > WHOLE * goal and share * size >= SHORTEST
    }
    sections = {name: _section(name, size, share * size) for name, size in long.items()}
    others = sorted(sizes.keys() - long.keys(), key=lambda name: (name_hash(name), name))
    left = share * sum(sizes[name] for name in others)
    whole: dict[str, None] = {}
    for name in others:
        if sizes[name] <= left:
            whole[name] = None
            left -= sizes[name]
    for name in others:
        if name not in whole and (left > NEAR * goal or not (whole or sections)):
            sections[name] = _section(name, sizes[name], left)
            break
    return HeldOut(whole=tuple(whole), sections=sections)


def _section(name: str, size: int, length: float) -> tuple[int, int]:
    """Returns a section of a document of `size` characters, at a position that its name decides."""
    rounded = max(1, round(length))
    start = round(name_hash(f"{name}@") * (size - rounded))
    return start, start + rounded


def _near_break(text: str, position: int, most: int) -> int:
    """Returns the position after the next line break within `most` characters, else after a space."""
    for mark in ("\n", " "):
        found = text.find(mark, max(position - 1, 0), position + most)
        if found >= 0 and position > 0:
            return found + 1
    return position
