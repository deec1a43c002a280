"""How a causal language model continues a text: its own choices, token by token, and no special ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.data.rows import Rows
from jaxssl.models.recipes import gpt2
from jaxssl.objectives import CausalLM
from jaxssl.pretrained.continuation import PROMPT, continue_text, show_continuation

OBJECTIVE = CausalLM(gpt2(1, 16, 2, max_length=32))


class Counts:
    """A model that is certain of the id after the last one."""

    def __init__(self, vocab_size):
        self.vocab_size = vocab_size

    def decoder(self, tokens, segments, prefix=None):
        return 100.0 * jax.nn.one_hot(tokens + 1, self.vocab_size)

    def output_embedding(self):
        return jnp.eye(self.vocab_size)


jax.tree_util.register_static(Counts)


@pytest.fixture(scope="module")
def held_out(word_rows):
    return Rows(word_rows, batch=8).open("valid", seed=0, shuffle=False)


def test_every_token_depends_on_the_one_before():
    tokens, refused = np.array([[3, 5, 0, 0, 0]]), np.zeros(20, bool)
    found = continue_text(Counts(20), tokens, 2, refused, jax.random.key(0))
    assert found.tolist() == [[3, 5, 6, 7, 8]]
    refused[7] = True
    found = continue_text(Counts(20), tokens, 2, refused, jax.random.key(0))
    assert found.tolist()[0][:3] == [3, 5, 6]
    assert 7 not in found.tolist()[0]


def test_a_held_out_document_goes_on(held_out):
    model = jax.jit(lambda key: OBJECTIVE.init(key, held_out.spec))(jax.random.key(0))
    shown = show_continuation(model, held_out)
    first, second = shown.splitlines()
    before = first.removesuffix(" …")
    rows = [" ".join(held_out.tokenizer.decode(row).split()) for row in held_out.batch(0)["tokens"]]
    assert any(before in row for row in rows)
    assert 0 < len(held_out.tokenizer.encode([before])[0]) <= PROMPT
    assert second.startswith("    goes on: ")
    assert shown == show_continuation(model, held_out)
    assert show_continuation(model, held_out, prefix=True).startswith(before)
