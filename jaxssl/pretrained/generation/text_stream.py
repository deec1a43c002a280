"""Turns tokens into text while they are made, a whole character at a time, up to a stop string."""

from collections.abc import Callable, Sequence

INCOMPLETE = "\ufffd"  # what tokenizers decode the first bytes of a character to


class TextStream:
    """The text behind a prompt, which grows token by token.

    A tokenizer decodes many tokens otherwise at the beginning of a text than within it (sentencepiece drops
    the space before a word). So a token is decoded together with the one before it, and the text of that one
    is then removed.

    Attributes:
      stopped: Whether a stop string has occurred. The text ends before it.

    Args:
      decode: Function from token ids to text.
      before: The last tokens of the prompt, which the text goes on from; may be empty.
      stop: Strings at which the text ends.
    """

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        before: Sequence[int],
        stop: Sequence[str] = (),
    ):
        self.stopped = False
        self._decode, self._stop = decode, tuple(stop)
        self._ids = [int(id) for id in before]
        self._from, self._read = 0, len(self._ids)
        self._held = ""  # text that may be the beginning of a stop string

    def push(self, id: int) -> str:
        """Adds the token `id`, and returns the text that is certain now; it may be empty."""
        self._ids.append(int(id))
        text = self._fresh()
        if text.endswith(INCOMPLETE):
            return ""
        self._from, self._read = self._read, len(self._ids)
        return self._released(text)

    def finish(self) -> str:
        """Returns the rest of the text, when no token will follow."""
        if self.stopped:
            return ""
        rest = self._released(self._fresh())
        self._from = self._read = len(self._ids)
        rest, self._held = rest + self._held, ""
        return rest

    def _fresh(self) -> str:
        """The text of the tokens that were not read."""
        known = self._decode(self._ids[self._from : self._read])
        return self._decode(self._ids[self._from :])[len(known) :]

    def _released(self, text: str) -> str:
        """The part of the held and the new text that belongs to no stop string."""
        if self.stopped:
            return ""
        held = self._held + text
        found = [place for stop in self._stop if (place := held.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return held[: min(found)]
        kept = max((_overlap(held, stop) for stop in self._stop), default=0)
        self._held = held[len(held) - kept :]
        return held[: len(held) - kept]


def _overlap(text: str, stop: str) -> int:
    """Characters at the end of a text that are the beginning of a stop string."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
