from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxssl import losses
from tests.losses import loops

SIZES = [(1, 3), (2, 1), (7, 4)]
BLOCKS = [None, 1, 3]


def example(count, dim):
    random = np.random.default_rng(count)
    first, second = (random.normal(size=(count, dim)).astype(np.float32) for _ in range(2))
    weights = random.uniform(0.2, 2, count).astype(np.float32)
    weights[2:4] = 0
    return first, second, weights


def functions(block):
    options = {"temperature": 0.4, "block_size": block}
    return {
        "nt_xent": partial(losses.nt_xent, **options),
        "info_nce": partial(losses.info_nce, **options),
        "one way": partial(losses.info_nce, symmetric=False, **options),
        "sigmoid": partial(losses.sigmoid_contrastive, bias=-1.0, **options),
    }


@pytest.mark.parametrize("size", SIZES)
def test_are_the_loops(size):
    arrays = example(*size)
    expected = {
        "nt_xent": loops.nt_xent(*arrays, 0.4),
        "info_nce": loops.info_nce(*arrays, 0.4, symmetric=True),
        "one way": loops.info_nce(*arrays, 0.4, symmetric=False),
        "sigmoid": loops.sigmoid_contrastive(*arrays, 0.4, -1.0),
    }
    for block in BLOCKS:
        ours = jax.jit(
            lambda *a, block=block: {name: loss(*a) for name, loss in functions(block).items()}
        )(*arrays)
        for name, value in expected.items():
            np.testing.assert_allclose(ours[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_by_hand():
    # Cosines: 1 with the partner, 0 with both others, temperature 1/2: log(e^2 + 2) - 2.
    eye = jnp.eye(2)
    np.testing.assert_allclose(losses.nt_xent(eye, 3 * eye, temperature=0.5), 0.2395448, rtol=1e-6)
    # log(1 + e^-2)
    np.testing.assert_allclose(losses.info_nce(eye, eye, temperature=0.5), 0.1269280, rtol=1e-6)
    # Per row: log(1 + e^-(2 - 1)) + log(1 + e^-1)
    loss = losses.sigmoid_contrastive(eye, eye, temperature=0.5, bias=-1.0)
    np.testing.assert_allclose(loss, 2 * 0.3132617, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("block", [None, 2])
def test_numerical_gradients(block):
    first, second, weights = example(5, 3)

    def total(first, second, temperature, bias):
        options = {"temperature": temperature, "block_size": block}
        values = losses.nt_xent(first, second, weights, **options)
        values += losses.info_nce(first, second, weights, **options)
        values += losses.info_nce(first, second, weights, symmetric=False, **options)
        return values + losses.sigmoid_contrastive(first, second, weights, bias=bias, **options)

    arrays = (first, second, jnp.float32(0.5), jnp.float32(-1.0))
    check_grads(jax.jit(total), arrays, order=1, modes=["fwd", "rev"], rtol=0.02, atol=0.02)


@pytest.mark.slow
def test_blocks_have_the_gradients_of_the_whole():
    arrays = example(7, 4)

    def gradients(block):
        total = lambda *a: sum(loss(*a, arrays[2]) for loss in functions(block).values())  # noqa: E731
        return jax.jit(jax.grad(total, (0, 1)))(*arrays[:2])

    expected = gradients(None)
    for block in (1, 3, 99):
        for ours, reference in zip(gradients(block), expected, strict=True):
            assert jnp.linalg.norm(ours - reference) < 1e-5 * jnp.linalg.norm(reference)


@pytest.mark.slow
def test_weight_zero_is_as_if_the_pair_were_not_there():
    first, second, weights = example(7, 4)
    used = weights > 0
    dirty = np.where(used[:, None], first, np.nan)
    for block in (None, 3):
        for name, loss in functions(block).items():
            value, gradient = jax.jit(jax.value_and_grad(loss))(dirty, second, weights)
            without = loss(first[used], second[used], weights[used])
            np.testing.assert_allclose(value, without, rtol=1e-5, err_msg=name)
            assert jnp.isfinite(gradient).all()
            assert (gradient[~used] == 0).all()


def test_per_example_forms_have_the_loss_as_mean():
    first, second, _ = example(7, 4)
    pairs = [
        (losses.nt_xent_per_example, losses.nt_xent, {}),
        (losses.info_nce_per_example, losses.info_nce, {"symmetric": False}),
        (losses.sigmoid_contrastive_per_example, losses.sigmoid_contrastive, {"bias": -1.0}),
    ]
    for each, whole, options in pairs:
        options = options | {"temperature": 0.4}
        mean = each(first, second, **options).mean()
        np.testing.assert_allclose(mean, whole(first, second, **options), rtol=1e-6)


def test_no_matrix_of_all_pairs():
    rows = jax.ShapeDtypeStruct((1024, 8), jnp.float32)

    def temporaries(block):
        loss = jax.grad(partial(losses.nt_xent, block_size=block))
        return jax.jit(loss).lower(rows, rows).compile().memory_analysis().temp_size_in_bytes

    matrix = 4 * 2048 * 2048
    assert temporaries(None) > matrix / 2
    assert temporaries(64) < matrix / 8


def test_errors_name_both_shapes():
    with pytest.raises(ValueError, match=r"first \(3, 2\) and second \(2, 3\)"):
        losses.nt_xent(jnp.ones((3, 2)), jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"weights of shape \(2,\).*\(3, 2\)"):
        losses.info_nce(jnp.ones((3, 2)), jnp.ones((3, 2)), jnp.ones(2))
    with pytest.raises(ValueError, match="temperature=0 must"):
        losses.nt_xent(jnp.ones((3, 2)), jnp.ones((3, 2)), temperature=0)
    with pytest.raises(ValueError, match="block_size=0 must"):
        losses.nt_xent(jnp.ones((3, 2)), jnp.ones((3, 2)), block_size=0)
