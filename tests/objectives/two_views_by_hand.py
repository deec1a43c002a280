"""Views, heads and batch norms of joint embeddings written out in numpy, for the tests of their losses."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.augment import fold
from jaxssl.objectives.batches.batch import Images, Text, Vocabulary
from tests.objectives.tiny_views import OBJECTIVES, tiny_captions, tiny_pairs_spec
from tests.tiny import tiny_images

SPEC = tiny_pairs_spec()
VOCABULARY = Vocabulary.of(SPEC.captions)


def batch_of(seed=1):
    """Sixteen images with captions."""
    return Images(
        jnp.asarray(tiny_images(seed)), Text(jnp.asarray(tiny_captions(seed)), VOCABULARY)
    )


def unit(rows):
    """Rows of length one."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def cosine(first, second):
    """The cosine of each pair of rows."""
    return (unit(first) * unit(second)).sum(axis=1)


def normed(rows):
    """Columns of mean 0 and variance 1, then a ReLU."""
    return np.maximum((rows - rows.mean(axis=0)) / np.sqrt(rows.var(axis=0) + 1e-5), 0)


def head(layers, rows, norm, normed_outputs=False):
    """Two layers, a norm between them: over the rows for "batch", over their width for "layer"."""
    hidden, last = layers
    rows = rows @ np.asarray(hidden.kernel[...]) + np.asarray(hidden.bias[...])
    rows = normed(rows) if norm == "batch" else normed(rows.T).T
    rows = rows @ np.asarray(last.kernel[...])
    if normed_outputs:
        return (rows - rows.mean(axis=0)) / np.sqrt(rows.var(axis=0) + 1e-5)
    return rows + np.asarray(last.bias[...])


def check_formula(name, key, expected):
    """The loss of an objective is `expected(z, z', p, p', t, t')`, to 2e-4.

    Given are projections, predictions and targets of both views, views one by one and heads in numpy.
    """
    objective = OBJECTIVES[name]
    model, other = objective.init(key, SPEC), objective.init(jax.random.key(8), SPEC)
    state, examples = objective.init_state(other), objective.corrupt(batch_of(), key)
    np.testing.assert_allclose(examples.weights.sum(), 1.0, rtol=1e-6)
    loss, (_, metrics) = jax.jit(objective.loss)(model, state, examples, key)
    kinds = objective.views if isinstance(objective.views, tuple) else (objective.views,) * 2

    @jax.jit
    def written_out(model, teacher):
        views = [
            kind(examples.pixels, fold(examples.keys, number)) for number, kind in enumerate(kinds)
        ]
        return [[part.encoder(view)[0] for view in views] for part in (model, teacher)]

    def both(layers, rows, normed_outputs=False):
        """Batch norms take one view at a time."""
        return [head(layers, view, objective.norm, normed_outputs) for view in rows]

    teacher = state.get("teacher", model)
    features, theirs = jax.device_get(written_out(model, teacher))
    views, targets = (
        both(part.projector.layers, rows, objective.norm_projections)
        for part, rows in ((model, features), (teacher, theirs))
    )
    predicted = views if model.predictor is None else both(model.predictor.layers, views)
    np.testing.assert_allclose(loss, expected(*views, *predicted, *targets), rtol=2e-4)
    np.testing.assert_allclose(metrics["loss"].number(), loss, rtol=1e-6)
    assert metrics["loss"].weight == 16
    apart = np.square(unit(views[0]) - unit(views[1])).sum(axis=1).mean()
    np.testing.assert_allclose(metrics["alignment"].number(), apart, rtol=1e-3)
