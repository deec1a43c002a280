"""Beam search: the most probable texts are looked for, several at a time, beside the rows of a batch.

    score = sum of log probabilities / tokens ** length_penalty

Each step extends every running text of a row by every token and looks at the best of them: those that end
compete for the finished ones, the best others run on. What is decided and when a row is done is defined as in
transformers, token for token. The texts of a row are together never more than `beams`.

batch      rows                        beams      texts of a row that run on
candidates extended texts of a row that are looked at, best first
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from jaxssl.errors import check_at_least, checked

NEVER = -1e9  # score of a text that does not exist


@dataclass(frozen=True)
@checked
class BeamSearch:
    """How beams are searched."""

    beams: int = 4
    """Texts of a prompt that are followed at a time."""
    length_penalty: float = 1.0
    """Power of the number of tokens that scores are divided by; greater values favour longer texts."""
    early_stopping: bool | Literal["never"] = False
    """When a prompt is done: True, as soon as there are as many finished texts as beams; False, when the best
    running text could not be among them at its present length; "never", when it could not at any length."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "beams")

    def candidates(self, ends: int) -> int:
        """Returns how many extended texts are looked at: so many that as many as beams run on.

        Args:
          ends: Number of token ids that end a text.
        """
        return max(2, 1 + ends) * self.beams


class Candidates(NamedTuple):
    """The best extended texts of every row, best first."""

    scores: Float[np.ndarray, "batch candidates"]
    """Sums of log probabilities, float32."""
    parents: Int[np.ndarray, "batch candidates"]
    """Numbers of the texts that were extended."""
    tokens: Int[np.ndarray, "batch candidates"]
    """Tokens that extended them."""


def best_candidates(
    logits: Float[Array, "texts vocab"], scores: Float[Array, "batch beams"], count: int
) -> tuple[Array, Array, Array]:
    """Finds the best of all texts that are longer by a token.

    Args:
      logits: Logits of the next token of every text, `[batch * beams, vocab]`.
      scores: Sums of log probabilities of the texts, `[batch, beams]`.
      count: Number of candidates.

    Returns:
      Scores, numbers of the extended texts, and tokens, `[batch, candidates]` each, as in `Candidates`.
    """
    batch, beams = scores.shape
    vocab = logits.shape[-1]
    longer = jax.nn.log_softmax(logits, axis=-1).reshape(batch, beams, vocab) + scores[:, :, None]
    best, places = jax.lax.top_k(longer.reshape(batch, beams * vocab), min(count, beams * vocab))
    return best, places // vocab, places % vocab


class Beams:
    """The texts of a search: those that run on, and those that are finished.

    Attributes:
      scores: Sums of log probabilities of the running texts, float32 `[batch, beams]`.
      done: Whether nothing of a row can change any more, bool `[batch]`.

    Args:
      search: How beams are searched.
      batch: Number of rows.
      ends: Token ids that end a text.
      limits: Largest number of tokens of each row's texts, `[batch]`.
    """

    def __init__(
        self,
        search: BeamSearch,
        batch: int,
        ends: tuple[int, ...],
        limits: Int[np.ndarray, " batch"],
    ):
        shape = (batch, search.beams)
        self._search, self._ends, self._limits = search, ends, limits
        self.scores = np.full(shape, NEVER, np.float32)
        self.scores[:, 0] = 0  # at first all texts of a row are the same, and one of them counts
        self.done = np.zeros(batch, bool)
        self._tokens = np.zeros((*shape, 0), np.int32)
        self._finished_scores = np.full(shape, NEVER, np.float32)
        self._finished: list[list[np.ndarray]] = [[np.zeros(0, np.int32)] * search.beams] * batch
        self._is_finished = np.zeros(shape, bool)

    def advance(
        self, found: Candidates
    ) -> tuple[Int[np.ndarray, "batch beams"], Int[np.ndarray, "batch beams"]]:
        """Takes the best candidates over, and finishes those that end.

        Args:
          found: Candidates, `[batch, candidates]`.

        Returns:
          For each text that runs on, the number of the text that it extends, and its new token,
          `[batch, beams]` each.
        """
        beams, length = self._search.beams, self._tokens.shape[2] + 1
        is_last = (length >= self._limits)[:, None]
        is_end = np.isin(found.tokens, self._ends) | is_last
        for row in np.flatnonzero(~self.done):
            self._finish(int(row), found, np.flatnonzero(is_end[row, :beams]), length)
        running = found.scores + is_end * np.float32(NEVER)
        order = np.argsort(-running, axis=1, kind="stable")[:, :beams]
        self.scores = np.take_along_axis(running, order, axis=1)
        parents = np.take_along_axis(found.parents, order, axis=1)
        tokens = np.take_along_axis(found.tokens, order, axis=1)
        kept = np.take_along_axis(self._tokens, parents[:, :, None], axis=1)
        self._tokens = np.concatenate([kept, tokens[:, :, None]], axis=2)
        self.done |= ~self._can_improve(length) | is_last[:, 0]
        return parents, tokens

    def best(self) -> list[tuple[Int[np.ndarray, " length"], float]]:
        """Returns the best finished text of every row, as token ids `[length]`, and its score."""
        return [
            (texts[0], float(scores[0]))
            for texts, scores in zip(self._finished, self._finished_scores, strict=True)
        ]

    def _finish(self, row: int, found: Candidates, ended: np.ndarray, length: int) -> None:
        """Adds the candidates of a row that have ended to its finished texts, and keeps the best."""
        own = found.scores[row, ended] / np.float32(length**self._search.length_penalty)
        texts = [
            np.append(self._tokens[row, found.parents[row, one]], found.tokens[row, one])
            for one in ended
        ]
        scores = np.concatenate([self._finished_scores[row], own])
        every = self._finished[row] + [text.astype(np.int32) for text in texts]
        is_text = np.concatenate([self._is_finished[row], np.ones(len(own), bool)])
        order = np.argsort(-scores, kind="stable")[: self._search.beams]
        self._finished_scores[row], self._is_finished[row] = scores[order], is_text[order]
        self._finished[row] = [every[one] for one in order]

    def _can_improve(self, length: int) -> np.ndarray:
        """Whether a running text of a row may still become one of its best, [batch]."""
        search = self._search
        is_full = self._is_finished.all(axis=1)
        if search.early_stopping is True:
            return np.asarray(~is_full)
        reached: np.ndarray | int = length
        if search.early_stopping == "never" and search.length_penalty > 0:
            reached = self._limits
        best = self.scores[:, 0] / np.asarray(reached**search.length_penalty, np.float32)
        can: np.ndarray = ~is_full | (best > self._finished_scores.min(axis=1))
        return can
