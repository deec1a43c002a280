"""Shows what a masked language model predicts for masked words of held-out text."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.data.rows import RowReader
from jaxssl.objectives.batches.batch import Vocabulary
from jaxssl.objectives.masked_lm import guess

CONTEXT = 18  # tokens shown on either side of the mask


def show_predictions(
    model: Any, held_out: RowReader, *, sentences: int = 6, count: int = 5, seed: int = 0
) -> str:
    """Masks one token in each of a few held-out rows, and formats the most probable tokens.

    A masked token is a whole word of at least three bytes, with text around it.

    Args:
      model: Masked language model.
      held_out: Reader of held-out rows; the rows are chosen from its first batch.
      sentences: Largest number of rows.
      count: Number of predicted tokens for each row.
      seed: Seed of the choice of rows and tokens.

    Returns:
      Three lines for each row: the text around the mask, the true word, and the predicted tokens with their
      probabilities, most probable first.
    """
    spec = held_out.spec
    tokens = held_out.batch(0)["tokens"]
    random = np.random.default_rng(seed)
    rows, chosen_positions = [], []
    for row in random.permutation(len(tokens)):
        candidates = _whole_words(tokens[row], spec)
        if len(candidates):
            rows.append(row)
            chosen_positions.append(random.choice(candidates))
        if len(rows) == sentences:
            break
    if not rows:
        return "no held-out row has a word to mask"
    chosen, positions = tokens[rows].copy(), np.array(chosen_positions)
    answers = chosen[np.arange(len(rows)), positions]
    chosen[np.arange(len(rows)), positions] = spec.mask
    compiled = jax.jit(guess, static_argnames="count")
    probabilities, ids = compiled(
        model, jnp.asarray(chosen), Vocabulary.of(spec), jnp.asarray(positions), count=count
    )
    tokenizer = held_out.tokenizer
    lines = []
    for i in range(len(rows)):
        before, after = _context(chosen[i], positions[i], spec)
        text = f"{_plain(tokenizer, before)} [____] {_plain(tokenizer, after)}"
        best = "  ".join(
            f"{_plain(tokenizer, [t]) or '␣'} {p:.0%}"
            for t, p in zip(np.asarray(ids[i]), np.asarray(probabilities[i]), strict=True)
        )
        answer = _plain(tokenizer, [answers[i]])
        lines.append(f"… {text} …\n    is: {answer}\n    predicted: {best}")
    return "\n".join(lines)


def _whole_words(row: np.ndarray, spec: Any) -> np.ndarray:
    """Returns the positions of tokens that are a whole word, not among the first or last five of the row."""
    starts = spec.starts_word[row] | spec.special[row]
    ends = np.append(starts[1:], True)
    wide = spec.byte_length[row] >= 4  # a space and three bytes of text
    inner = np.zeros(len(row), bool)
    inner[5:-5] = True
    return np.flatnonzero(starts & ends & ~spec.special[row] & wide & inner)


def _context(row: np.ndarray, position: int, spec: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the tokens of the same document before and after a position."""
    breaks = np.flatnonzero((row == spec.begin) | (row == spec.pad) | (row == spec.end))
    first = max([position - CONTEXT] + [b + 1 for b in breaks if b < position])
    last = min([position + CONTEXT + 1] + [b for b in breaks if b > position])
    return row[first:position], row[position + 1 : last]


def _plain(tokenizer: Any, ids: Any) -> str:
    """Decodes tokens to text on one line."""
    return " ".join(tokenizer.decode([int(i) for i in ids]).split())
