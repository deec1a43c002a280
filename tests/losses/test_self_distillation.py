import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl import losses
from tests.losses import loops
from tests.losses.rows import SHAPES, check_gradient, check_weights, example


@pytest.mark.parametrize("shape", SHAPES)
def test_are_the_loops(shape):
    first, second, weights = example(*shape)
    views, teacher = np.stack([first, second, first + second]), np.stack([second, first])
    center = second[0] / 2
    dino = jax.jit(losses.dino)(views, teacher, center, weights)
    expected = loops.dino(views, teacher, center, weights, 0.1, 0.04)
    np.testing.assert_allclose(dino, expected, rtol=1e-5, atol=1e-6)
    distances = [2 - 2 * loops.cosine(*row) for row in zip(first, second, strict=True)]
    byol = losses.byol(first, second, weights)
    np.testing.assert_allclose(byol, loops.weighted(distances, weights), rtol=1e-5, atol=1e-6)


def test_dino_by_hand():
    # The teacher's shares are (1/2, 1/2) and (3/4, 1/4).
    views = jnp.array([[[0.0, 0.0]], [[np.log(3.0), 0.0]]])
    loss = losses.dino(views, views, jnp.zeros(2), temperature=1.0, teacher_temperature=1.0)
    expected = (-(np.log(0.75) + np.log(0.25)) / 2 + np.log(2)) / 2
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_the_teacher_is_not_differentiated():
    first, second, _ = example(5, 3)
    views = jnp.stack([jnp.asarray(first), jnp.asarray(second)])
    assert (jax.grad(losses.byol, 1)(first, second) == 0).all()
    assert (jax.grad(losses.dino, 1)(views, views, jnp.zeros(3)) == 0).all()
    assert (jax.grad(lambda c: losses.dino_center(c, views).sum())(jnp.zeros(3)) == 0).all()


def test_center_moves_to_the_mean_of_the_weighted_rows():
    teacher = jnp.array([[[1.0], [5.0], [jnp.nan]], [[3.0], [7.0], [jnp.nan]]])
    center = losses.dino_center(jnp.zeros(1), teacher, jnp.array([3.0, 1.0, 0.0]), momentum=0.75)
    np.testing.assert_allclose(center, 0.25 * (3 * 2 + 6) / 4)
    still = losses.dino_center(jnp.ones(1), teacher, jnp.zeros(3))
    np.testing.assert_array_equal(still, [1.0])


def test_weights_and_gradients():
    def dino(first, second, weights):
        return losses.dino(jnp.stack([first, second]), jnp.stack([second]), jnp.zeros(3), weights)

    check_weights(losses.byol)
    check_weights(dino)
    _, fixed, weights = example(5, 3)
    check_gradient(lambda first, second: losses.byol(first, fixed, weights) + 0 * second.sum())
    teacher = jnp.asarray(fixed)[None]
    check_gradient(lambda *views: losses.dino(jnp.stack(views), teacher, jnp.zeros(3), weights))


def test_errors_name_both_shapes():
    rows = jnp.ones((3, 2))
    with pytest.raises(ValueError, match=r"targets of shape \(2, 2\).*\(3, 2\)"):
        losses.byol(rows, rows[:2])
    with pytest.raises(ValueError, match=r"teacher \(1, 3, 2\).*center \(3,\)"):
        losses.dino_center(jnp.zeros(3), rows[None])
    with pytest.raises(ValueError, match="student has 1 views and teacher 1"):
        losses.dino(rows[None], rows[None], jnp.zeros(2))
    views = jnp.stack([rows, rows])
    with pytest.raises(ValueError, match=r"center of shape \(3,\) must be \[2\]"):
        losses.dino(views, views, jnp.zeros(3))
