"""SimSiam against the mean cosine, and that its targets get no gradient."""

import dataclasses

import jax
import jax.numpy as jnp
import optax
import pytest

from jaxssl.errors import InputError
from jaxssl.objectives.joint_embedding.batch_statistics import in_every_row
from jaxssl.objectives.joint_embedding.two_views import Embeddings
from tests.objectives.learned_by_heart import check_learned
from tests.objectives.tiny_views import ENCODER, OBJECTIVES
from tests.objectives.two_views_by_hand import SPEC, batch_of, check_formula, cosine
from tests.tiny import tiny_image_spec


def test_is_the_formula(key):
    def loss(z, y, p, q, *_):
        return -(cosine(p, y) + cosine(q, z)).mean() / 2

    check_formula("simsiam", key, loss)


def relative_difference(first, second):
    difference = jax.tree.map(lambda a, b: a - b, first, second)
    return float(optax.tree.norm(difference) / optax.tree.norm(first))


@pytest.mark.slow
def test_simsiam_holds_its_targets_fixed(key):
    """Its gradient is that of a loss whose targets are numbers, to 1e-6; without the stop it is not."""
    objective = OBJECTIVES["simsiam"]
    model, examples = objective.init(key, SPEC), objective.corrupt(batch_of(), key)
    state = objective.init_state(model)
    features = jax.random.normal(key, (16, 2, ENCODER.features))
    embeddings = Embeddings(features, in_every_row((), 16))
    fixed = objective.run_heads(model, state, embeddings)[0]

    def with_numbers(model):
        predicted = objective.run_heads(model, state, embeddings)[1]
        norms = (jnp.linalg.norm(x, axis=2) for x in (predicted, fixed))
        products = (predicted * fixed[:, ::-1]).sum(axis=2)
        ours, theirs = norms
        return -(products / ours / theirs[:, ::-1]).mean()

    def gradient(objective):
        def contrast(model):
            return objective.contrast(model, state, embeddings, examples)[0]

        return jax.jit(jax.grad(contrast))(model)

    wanted = jax.jit(jax.grad(with_numbers))(model)
    free = dataclasses.replace(objective, stop_gradient=False)
    assert relative_difference(wanted, gradient(objective)) < 1e-6
    assert relative_difference(wanted, gradient(free)) > 0.1


@pytest.mark.slow
def test_one_batch_is_learned_by_heart():
    check_learned(OBJECTIVES["simsiam"], tiny_image_spec(batch=8), 80, -0.5, -0.9)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"predictor": (0, 8)}, r"predictor=\(0, 8\) must be the widths"),
        ({"projector": ()}, r"projector=\(\) must be the widths"),
    ],
)
def test_bad_fields(changes, line):
    with pytest.raises(InputError, match=line):
        dataclasses.replace(OBJECTIVES["simsiam"], **changes)
