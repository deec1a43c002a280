"""Tables of a vocabulary that has grown: old text has the numbers that it had."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.data.rows import TextSpec
from jaxssl.data.tokenizers.grow import grow
from jaxssl.data.tokenizers.hugging_face_tokenizer import from_vocabulary
from jaxssl.errors import InputError
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives import MaskedLM
from jaxssl.pretrained.grown_tables import grown_tables
from jaxssl.training.begin import parameters

WORDS = "[PAD]\n[unused0]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nphoto\n##syn\n##thesis\nthe\nozo\n##ne"


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def both(request):
    """A network and its tokenizer, before and after."""
    old = from_vocabulary(WORDS)
    new = grow(old, ["photosynthesis", "ozone"])
    shape = TransformerConfig(
        depth=1, width=8, heads=2, mlp=8, max_length=8, tied_head=request.param
    )
    objective = MaskedLM(shape)

    def made(tokenizer):
        spec = TextSpec.of(tokenizer, batch=1, length=8)
        shapes = jax.eval_shape(lambda key: objective.init(key, spec), jax.random.key(0))
        draw = np.random.default_rng(0).normal
        return jax.tree.map(lambda leaf: draw(size=leaf.shape).astype(np.float32), shapes)

    small, large = made(old), made(new)
    grown = grown_tables(parameters(small), small, old.vocab_size, new)
    leaves, form = jax.tree.flatten(large)
    large = jax.tree.unflatten(form, [grown[path] for path in parameters(large)])
    assert [leaf.shape for leaf in jax.tree.leaves(large)] == [leaf.shape for leaf in leaves]
    return old, new, small, large


def test_new_rows_are_means_of_the_old_pieces(both):
    _, _, small, large = both
    before, after = (parameters(model)["encoder/tokens/embedding"] for model in (small, large))
    assert after.shape == (13, 8)
    np.testing.assert_allclose(after[1], (before[6] + before[7] + before[8]) / 3, rtol=1e-6)
    np.testing.assert_allclose(after[12], (before[10] + before[11]) / 2, rtol=1e-6)
    np.testing.assert_array_equal(np.delete(after[:12], 1, 0), np.delete(before, 1, 0))
    before, after = (parameters(model)["output_bias"] for model in (small, large))
    np.testing.assert_allclose(
        after[[1, 12]], [before[6:9].mean(), before[10:12].mean()], rtol=1e-6
    )


@pytest.mark.slow
def test_the_loss_of_old_text_is_unchanged(both):
    """Logits of old tokens are equal; a new word takes at most the mean of its pieces' probabilities."""
    old, new, small, large = both
    (ids,) = old.encode(["the photo the ozo"])
    assert new.encode(["the photo the ozo"])[0].tolist() == ids.tolist()
    tokens = jnp.array(ids)[None]

    @jax.jit
    def logits(model):
        states = model.token_head(model.encoder(tokens))[0]
        return states @ model.output_embedding().T + model.output_bias[...][None]

    before, after = (np.asarray(logits(jax.tree.map(jnp.asarray, one))) for one in (small, large))
    kept = np.array([0, *range(2, 12)])
    np.testing.assert_allclose(after[:, kept], before[:, kept], rtol=1e-6, atol=1e-6)
    losses = [-jax.nn.log_softmax(one[:, kept]) for one in (before, after)]
    np.testing.assert_allclose(*losses, rtol=1e-6, atol=1e-6)
    chances = jax.nn.softmax(after)
    assert (chances[..., 1] <= chances[..., 6:9].mean(-1) + 1e-7).all()
    assert (chances[..., 12] <= chances[..., 10:12].mean(-1) + 1e-7).all()


def test_rows_behind_the_vocabulary_stay_behind_it(both):
    old, new, small, _ = both
    table = np.arange(14.0 * 8).reshape(14, 8)
    path = "encoder/tokens/embedding"
    grown = grown_tables({path: table}, small, old.vocab_size, new)[path]
    np.testing.assert_array_equal(grown[-2:], table[-2:])
    assert grown.shape == (15, 8)
    with pytest.raises(InputError, match="embedding has 11 rows, and the vocabulary 12 ids"):
        grown_tables({path: table[:11]}, small, old.vocab_size, new)
