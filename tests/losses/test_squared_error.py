import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl import losses


def example(rows=4, dim=3):
    random = np.random.default_rng(0)
    predicted, target = (jnp.asarray(random.normal(size=(rows, dim)), jnp.float32) for _ in "pt")
    return predicted, target, jnp.asarray([1.0, 0.0, 2.0, 0.5])


def test_by_hand():
    predicted, target = jnp.zeros((2, 2)), jnp.array([[1.0, 3.0], [2.0, -2.0]])
    weights = jnp.array([1.0, 3.0])
    each = losses.mean_squared_error_per_example(predicted, target)
    np.testing.assert_array_equal(each, [5.0, 4.0])
    assert losses.mean_squared_error(predicted, target) == 4.5
    assert losses.mean_squared_error(predicted, target, weights) == (5 + 3 * 4) / 4
    assert losses.mean_squared_error(predicted, target, weights, normalize=False) == 5 + 3 * 4
    assert losses.mean_squared_error(predicted, target, weights > 2) == 4


def test_both_sides_are_differentiated():
    predicted, target, weights = example()
    by_both = jax.grad(losses.mean_squared_error, (0, 1))(predicted, target, weights)
    expected = 2 / 3 * (predicted - target) * weights[:, None] / 3.5
    np.testing.assert_allclose(by_both[0], expected, rtol=1e-6)
    np.testing.assert_array_equal(by_both[1], -by_both[0])


def test_is_masked_reconstruction_but_for_the_gradient_of_the_target():
    arrays = example()
    ours, same = (
        jax.value_and_grad(loss)(*arrays)
        for loss in (losses.mean_squared_error, losses.masked_reconstruction)
    )
    jax.tree.map(np.testing.assert_array_equal, ours, same)
    assert (jax.grad(losses.masked_reconstruction, 1)(*arrays) == 0).all()


@pytest.mark.parametrize("normalize", [True, False])
def test_a_sharded_batch_is_the_whole_one(normalize):
    """Four devices of one row each, by vmap."""
    arrays = example()
    loss = lambda *a, **options: losses.mean_squared_error(*a, normalize=normalize, **options)  # noqa: E731
    value, gradient = jax.value_and_grad(loss)(*arrays)
    sharded = jax.vmap(lambda *a: loss(*(x[None] for x in a), axis_name="i"), axis_name="i")
    np.testing.assert_allclose(sharded(*arrays), [value] * 4, rtol=1e-6)
    ours = jax.grad(lambda p: sharded(p, *arrays[1:]).mean())(arrays[0])
    np.testing.assert_allclose(ours, gradient, rtol=1e-6)


def test_weight_zero_hides_anything():
    predicted, target, weights = example()
    dirty = predicted.at[1].set(jnp.nan), target.at[1].set(jnp.inf), weights
    value, gradient = jax.value_and_grad(losses.mean_squared_error)(*dirty)
    assert value == losses.mean_squared_error(predicted, target, weights)
    assert jnp.isfinite(gradient).all()
    assert losses.mean_squared_error(*dirty[:2], jnp.zeros(4)) == 0


def test_half_precision_is_computed_in_float32():
    predicted, target, weights = example()
    narrow = predicted.astype(jnp.bfloat16), target.astype(jnp.bfloat16)
    loss = losses.mean_squared_error(*narrow, weights)
    assert loss.dtype == jnp.float32
    wide = (array.astype(jnp.float32) for array in narrow)
    assert loss == losses.mean_squared_error(*wide, weights)


def test_errors_name_both_shapes():
    with pytest.raises(ValueError, match=r"target of shape \(2, 2\).*\(3, 2\)"):
        losses.mean_squared_error(jnp.ones((3, 2)), jnp.ones((2, 2)))
    with pytest.raises(ValueError, match=r"weights of shape \(2,\) must be \(3,\)"):
        losses.mean_squared_error(jnp.ones((3, 2)), jnp.ones((3, 2)), jnp.ones(2))
