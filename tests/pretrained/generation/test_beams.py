"""Beam search by hand on small tables of probabilities, and against all texts of a length."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.pretrained.generation.beams import Beams, BeamSearch, Candidates, best_candidates

END = 0
# Log probabilities of the next token after each token (a Markov chain), rows from begin (row 3) on.
CHAIN = np.log(
    [[0.25, 0.25, 0.25, 0.25], [0.5, 0.1, 0.3, 0.1], [0.1, 0.6, 0.2, 0.1], [0.15, 0.4, 0.35, 0.1]]
).astype(np.float32)


def search(how, limit, chain=CHAIN, begin=3):
    """Searches from `begin`, with the arrays of a single row."""
    beams = Beams(how, 1, (END,), np.array([limit]))
    last, steps = np.full((1, how.beams), begin), 0
    while not beams.done.all():
        found = best_candidates(
            jnp.asarray(chain[last[0]]), jnp.asarray(beams.scores), how.candidates(1)
        )
        _, last = beams.advance(Candidates(*map(np.asarray, found)))
        steps += 1
    (text, score), *_ = beams.best()
    return text.tolist(), score, steps


def every_text(limit, penalty, chain=CHAIN, begin=3):
    """The best of all texts that end, or have as many tokens as the limit."""
    found = []
    for length in range(1, limit + 1):
        for text in itertools.product(range(len(chain)), repeat=length):
            if END in text[:-1] or (length < limit and text[-1] != END):
                continue
            total = sum(chain[a, b] for a, b in zip((begin, *text[:-1]), text, strict=True))
            found.append((total / length**penalty, list(text)))
    return max(found)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_many_beams_find_the_best_of_all_texts(penalty):
    how = BeamSearch(beams=64, length_penalty=penalty, early_stopping="never")
    text, score, _ = search(how, limit=4)
    wanted_score, wanted = every_text(4, penalty)
    assert text == wanted
    assert score == pytest.approx(wanted_score, rel=1e-5)


def test_two_beams_by_hand():
    """First 1 (0.4) and 2 (0.35); then 21 (0.21) and 10 (0.2), which ends; 12 (0.12) runs on; 210 (0.105)."""
    how = BeamSearch(beams=2, length_penalty=0.0, early_stopping=True)
    text, score, steps = search(how, limit=5)
    assert (text, steps) == ([1, END], 3)
    assert score == pytest.approx(np.log(0.2), rel=1e-5)


def test_one_beam_is_greedy():
    text, _, _ = search(BeamSearch(beams=1, early_stopping=True), limit=5)
    assert text == [1, END]


def test_a_limit_ends_all_texts():
    chain = np.where(np.arange(4) == END, np.float32(-50), CHAIN)
    text, _, steps = search(BeamSearch(beams=2), limit=3, chain=chain)
    assert (len(text), steps) == (3, 3)
    assert END not in text


def test_candidates_by_hand():
    logits = jnp.log(jnp.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]))
    scores = jnp.log(jnp.array([[0.5, 0.4]]))
    found = best_candidates(logits, scores, 3)  # 0.4 * 0.8, 0.5 * 0.5, 0.5 * 0.3
    np.testing.assert_allclose(np.exp(found[0][0]), [0.32, 0.25, 0.15], rtol=1e-5)
    assert found[1].tolist() == [[1, 0, 0]]
    assert found[2].tolist() == [[2, 0, 1]]


def test_what_is_refused():
    with pytest.raises(InputError, match="beams=0 must be at least 1"):
        BeamSearch(beams=0)
    with pytest.raises(InputError, match="early_stopping='no'"):
        BeamSearch(early_stopping="no")
