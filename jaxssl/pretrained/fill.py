"""Fills the masks of texts with the guesses of a masked language model.

filler = MaskFiller.of(load_pretrained("runs/quickstart"))
filler(["the [MASK] of the list"])[0][0]        # [Guess(text="end", probability=0.21), …]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from jaxssl.data.tokenizers.given_texts import given_texts
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError
from jaxssl.objectives.batches.batch import Vocabulary
from jaxssl.objectives.masked_lm import MaskedLM, guess
from jaxssl.pretrained.load import Pretrained

MASK = "[MASK]"
ANCHOR = "a"  # text that stands in for a mask while the text behind it is encoded
ROW_MULTIPLE = 16  # rows are padded to a multiple of it, so that few lengths are compiled


class Guess(NamedTuple):
    """A token that a masked position may have held."""

    text: str
    """Text of the token."""
    probability: float
    """Probability of the token, among all that are not special tokens."""


@dataclass(frozen=True)
class MaskFiller:
    """A masked language model with its tokenizer."""

    model: Any
    """The network with its vocabulary head, a `MaskedLanguageModel`."""
    tokenizer: Tokenizer
    """Tokenizer of the texts."""
    limit: int
    """Largest number of tokens of a text, with begin and end."""
    spec: Any
    """Description of the texts, whose vocabulary may be larger than the tokenizer's."""
    batch: int = 32
    """Number of masks whose guesses are computed at once."""

    @classmethod
    def of(cls, pretrained: Pretrained) -> "MaskFiller":
        """Makes the filler of a run.

        Args:
          pretrained: What the run has made.

        Raises:
          InputError: The objective of the run is not `MaskedLM`.
        """
        objective = pretrained.objective
        if not isinstance(objective, MaskedLM):
            raise InputError(
                f"a run with the objective {type(objective).__name__} has no guesses for masks; load a "
                "run with the objective MaskedLM"
            )
        limit = objective.encoder.max_length
        return cls(pretrained.model, pretrained.tokenizer, limit, pretrained.spec)

    def __call__(self, texts: Sequence[str], count: int = 5) -> list[list[list[Guess]]]:
        """Guesses the token at every mask of every text; the other masks of the text stay masked.

        Args:
          texts: Texts with one `[MASK]` or several, each of which stands for one token.
          count: Number of guesses for each mask.

        Returns:
          For each text, for each of its masks in their order, the most probable tokens, best first.

        Raises:
          InputError: `texts` is a single string, a text has no mask or too many tokens, or `count` is not
            from 1 to the number of tokens that can be guessed.
        """
        texts = given_texts(texts)
        possible = int((~self.tokenizer.special).sum())
        if not 1 <= count <= possible:
            raise InputError(
                f"count={count} must be from 1 to the {possible} tokens of the vocabulary"
            )
        rows = [self._row(text) for text in texts]
        positions = [np.flatnonzero(row == self.tokenizer.mask).tolist() for row in rows]
        masks = [(row, p) for row, own in zip(rows, positions, strict=True) for p in own]
        guesses: list[list[Guess]] = []
        for first in range(0, len(masks), self.batch):
            guesses += self._guesses(masks[first : first + self.batch], count)
        parts = iter(guesses)
        return [[next(parts) for _ in own] for own in positions]

    def _guesses(self, masks: list[tuple[np.ndarray, int]], count: int) -> list[list[Guess]]:
        """The guesses at one position of each row."""
        longest = max(len(row) for row, _ in masks)
        length = min(-(-longest // ROW_MULTIPLE) * ROW_MULTIPLE, self.limit)
        tokens = np.full((len(masks), length), self.tokenizer.pad, np.int32)
        for number, (row, _) in enumerate(masks):
            tokens[number, : len(row)] = row
        positions = np.array([place for _, place in masks], np.int32)
        probabilities, ids = jax.device_get(
            self._compiled(self.model, tokens, self._vocabulary, positions, count=count)
        )
        return [
            [Guess(self._text(id), float(p)) for id, p in zip(*pair, strict=True)]
            for pair in zip(ids, probabilities, strict=True)
        ]

    def _row(self, text: str) -> Int[np.ndarray, " length"]:
        """[begin] text [end], with the mask's id for every mask."""
        parts = text.split(MASK)
        if len(parts) == 1:
            raise InputError(f"the text {text!r} has no mask; write {MASK} for the token to guess")
        special = self.tokenizer
        ids = [np.array([special.begin]), self.tokenizer.encode([parts[0].rstrip()])[0]]
        for part in parts[1:]:
            ids += [np.array([special.mask]), self._encode_behind_mask(part.rstrip())]
        row = np.concatenate([*ids, [special.end]]).astype(np.int32)
        if len(row) > self.limit:
            raise InputError(
                f"a text has {len(row)} tokens, and the network reads {self.limit}; shorten {text!r}"
            )
        return row

    def _encode_behind_mask(self, part: str) -> Int[np.ndarray, " length"]:
        """The ids of a part of a text that follows a mask, as they are in running text.

        Tokenizers take the begin of what they encode for the begin of a word, which the full stop behind a
        mask is not. So the part is encoded behind an anchor, whose ids are then removed.
        """
        if not part:
            return np.zeros(0, np.int32)
        anchor, whole, alone = self.tokenizer.encode([ANCHOR, ANCHOR + part, part.lstrip()])
        size = len(anchor)
        return whole[size:] if np.array_equal(whole[:size], anchor) else alone

    def _text(self, id: int) -> str:
        """The text of a token; of a byte or of white space its readable form, such as "<0xE2>" or "' '"."""
        text, piece = self.tokenizer.decode([int(id)]).strip(" "), self.tokenizer.piece(int(id))
        if text and text.isprintable() and "\ufffd" not in text:
            return text
        return piece if piece.strip() else repr(piece)

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary.of(self.spec)

    @cached_property
    def _compiled(self) -> Any:
        return jax.jit(guess, static_argnames="count")
