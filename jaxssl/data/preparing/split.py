"""Train or valid, by document: a hash of its name decides, whatever else the source holds."""

import hashlib
from dataclasses import dataclass

from jaxssl.errors import InputError


@dataclass(frozen=True)
class SplitByName:
    """Documents whose name hashes below `valid` (a share of 0 to 1) are held out.

    `moved` is the one document that goes to the other side, where all would fall to one.
    """

    valid: float
    moved: str | None = None

    def of(self, name: str) -> str:
        """The split of a document: "train" or "valid"."""
        held_out = (name_hash(name) < self.valid) != (name == self.moved)
        return "valid" if held_out else "train"


def name_hash(name: str) -> float:
    """A number from 0 to 1 that is even over names and the same everywhere."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


class SplitSeeker:
    """Looks at every name once and finds the split, with at least one document on each side."""

    def __init__(self, valid: float):
        if not 0 < valid < 1:
            raise InputError(
                f"valid={valid} must be a share between 0 and 1, e.g. 0.02, or a source of its own"
            )
        self._valid = valid
        self._lowest: tuple[float, str] = (2.0, "")
        self._highest: tuple[float, str] = (-1.0, "")
        self._documents = 0

    def add(self, name: str) -> bool:
        """Takes in the name of one more document; true if it is held out."""
        hashed = (name_hash(name), name)
        self._lowest = min(self._lowest, hashed)
        self._highest = max(self._highest, hashed)
        self._documents += 1
        return hashed[0] < self._valid

    def split(self) -> SplitByName:
        """The split of all names seen. Raises InputError if there are fewer than two documents."""
        if self._documents < 2:
            raise InputError(
                f"{self._documents} document(s) cannot be split into train and valid; cut the text "
                "into more documents (--documents blank_line) or give a source of its own (--valid)"
            )
        if self._lowest[0] >= self._valid:
            return SplitByName(self._valid, moved=self._lowest[1])
        if self._highest[0] < self._valid:
            return SplitByName(self._valid, moved=self._highest[1])
        return SplitByName(self._valid)
