"""What a masked LM has learned, for a person to read: masked words of held-out text and its guesses."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.data.rows import RowReader
from jaxssl.objectives.batches.batch import Vocabulary
from jaxssl.objectives.masked_lm import guess

CONTEXT = 18  # tokens shown on either side of the mask


def show_guesses(
    model: Any, held_out: RowReader, *, sentences: int = 6, count: int = 5, seed: int = 0
) -> str:
    """Masks one whole-word token in each of a few held-out rows; the best guesses, most probable first."""
    spec = held_out.spec
    tokens = held_out.batch(0)["tokens"]
    random = np.random.default_rng(seed)
    rows, places = [], []
    for row in random.permutation(len(tokens)):
        candidates = _whole_words(tokens[row], spec)
        if len(candidates):
            rows.append(row)
            places.append(random.choice(candidates))
        if len(rows) == sentences:
            break
    if not rows:
        return "no held-out row has a word to mask"
    chosen, positions = tokens[rows].copy(), np.array(places)
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
        lines.append(f"… {text} …\n    is: {_plain(tokenizer, [answers[i]])}\n    guesses: {best}")
    return "\n".join(lines)


def _whole_words(row: np.ndarray, spec: Any) -> np.ndarray:
    """Places of tokens that are a whole word of at least three bytes, with text around them."""
    starts = spec.starts_word[row] | spec.special[row]
    ends = np.append(starts[1:], True)
    wide = spec.byte_length[row] >= 4
    inner = np.zeros(len(row), bool)
    inner[5:-5] = True
    return np.flatnonzero(starts & ends & ~spec.special[row] & wide & inner)


def _context(row: np.ndarray, place: int, spec: Any) -> tuple[np.ndarray, np.ndarray]:
    """The tokens around a place that belong to the same document."""
    breaks = np.flatnonzero((row == spec.begin) | (row == spec.pad) | (row == spec.end))
    first = max([place - CONTEXT] + [b + 1 for b in breaks if b < place])
    last = min([place + CONTEXT + 1] + [b for b in breaks if b > place])
    return row[first:place], row[place + 1 : last]


def _plain(tokenizer: Any, ids: Any) -> str:
    return " ".join(tokenizer.decode([int(i) for i in ids]).split())
