"""Splits documents into training ("train") and held-out ("valid") ones, by a hash of their names.

Which side a document is on depends on its own name only, not on the rest of the source.
"""

import hashlib
from dataclasses import dataclass

from jaxssl.errors import InputError


@dataclass(frozen=True)
class SplitByName:
    """The rule of the split: a document is held out if the hash of its name is below a threshold."""

    valid: float
    """Threshold, which is also the expected fraction of the documents that are held out, in (0, 1)."""
    moved: str | None = None
    """Name of the one document that is moved to the other side, because otherwise one side would be
    empty; None if neither is."""

    def of(self, name: str) -> str:
        """Returns the split, "train" or "valid", of the document called `name`."""
        held_out = (name_hash(name) < self.valid) != (name == self.moved)
        return "valid" if held_out else "train"


def name_hash(name: str) -> float:
    """Returns a hash of `name` in [0, 1): uniformly distributed, and the same on every machine."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


class SplitSeeker:
    """Reads all names once, and finds the split that has at least one document on each side.

    Args:
      valid: Fraction of the documents to hold out, in (0, 1).

    Raises:
      InputError: `valid` is not in (0, 1).
    """

    def __init__(self, valid: float):
        if not 0 < valid < 1:
            raise InputError(
                f"valid={valid} must be a fraction between 0 and 1, e.g. 0.02, or a source of its own"
            )
        self._valid = valid
        self._lowest: tuple[float, str] = (2.0, "")
        self._highest: tuple[float, str] = (-1.0, "")
        self._documents = 0

    def add(self, name: str) -> bool:
        """Adds the `name` of one more document; returns whether its hash is below the threshold."""
        hashed = (name_hash(name), name)
        self._lowest = min(self._lowest, hashed)
        self._highest = max(self._highest, hashed)
        self._documents += 1
        return hashed[0] < self._valid

    def split(self) -> SplitByName:
        """Returns the split of all names that were added.

        Raises:
          InputError: There are fewer than two documents.
        """
        if self._documents < 2:
            raise InputError(
                f"{self._documents} document(s) cannot be split into train and valid; split the text into "
                "more documents (documents_are='blank_line'), or set valid to a source of its own"
            )
        if self._lowest[0] >= self._valid:
            return SplitByName(self._valid, moved=self._lowest[1])
        if self._highest[0] < self._valid:
            return SplitByName(self._valid, moved=self._highest[1])
        return SplitByName(self._valid)
