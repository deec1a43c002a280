"""Losses whose rows stand for themselves or for their statistics, against loops and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxssl import losses
from tests.losses import loops

SHAPES = [(1, 2), (5, 3), (6, 1)]


def example(rows, dim):
    random = np.random.default_rng(10 * rows + dim)
    first, second = (random.normal(size=(rows, dim)).astype(np.float32) for _ in range(2))
    negatives = random.normal(size=(rows, 2, dim)).astype(np.float32)
    weights = random.integers(1, 4, rows).astype(np.float32)
    weights[1:2] = 0
    return first, second, negatives, weights


@pytest.mark.parametrize("shape", SHAPES)
def test_are_the_loops(shape):
    first, second, negatives, weights = example(*shape)
    views, teacher = np.stack([first, second, first + second]), np.stack([second, first])
    center = second[0] / 2

    @jax.jit
    def ours(first, second, negatives, weights, views, teacher, center):
        return {
            "rtd": losses.replaced_token_detection(first[:, 0], second[:, 0] > 0, weights),
            "negative": losses.negative_sampling(first, second, negatives, weights),
            "plain": losses.masked_reconstruction(first, second, weights),
            "byol": losses.byol(first, second, weights),
            "barlow": losses.barlow_twins(first, second, weights, off_diagonal_weight=0.1),
            "vicreg": losses.vicreg(first, second),
            "dino": losses.dino(views, teacher, center, weights),
        }

    detections = [
        loops.logistic_loss(float(z), r > 0) for z, r in zip(first[:, 0], second[:, 0], strict=True)
    ]
    rows = list(zip(first, second, strict=True))
    expected = {
        "rtd": loops.weighted(detections, weights),
        "negative": loops.negative_sampling(first, second, negatives, weights),
        "plain": loops.masked_reconstruction(first, second, weights, False),
        "byol": loops.weighted([2 - 2 * loops.cosine(*row) for row in rows], weights),
        "barlow": loops.barlow_twins(first, second, weights, 0.1),
        "dino": loops.dino(views, teacher, center, weights, 0.1, 0.04),
    }
    if shape[0] > 1:
        expected["vicreg"] = loops.vicreg(first, second)
    values = ours(first, second, negatives, weights, views, teacher, center)
    for name, value in expected.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_normalized_target_is_the_loop():
    first, second, _, weights = example(5, 3)
    loss = losses.masked_reconstruction(first, second, weights, normalize_target=True)
    expected = loops.masked_reconstruction(first, second, weights, True)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_by_hand():
    weights = jnp.array([1.0, 3.0])
    # log(1 + e^-1) replaced, log(1 + e^2) not replaced
    loss = losses.replaced_token_detection(jnp.array([1.0, 2.0]), jnp.array([True, False]), weights)
    np.testing.assert_allclose(loss, (0.3132617 + 3 * 2.1269280) / 4, rtol=1e-6)
    one = jnp.array([[1.0, 0.0]])
    loss = losses.negative_sampling(one, one, -2 * one[None])  # log(1 + e^-1) + log(1 + e^-2)
    np.testing.assert_allclose(loss, 0.3132617 + 0.1269280, rtol=1e-6)
    loss = losses.masked_reconstruction(jnp.zeros((2, 2)), jnp.array([[1.0, 3], [2, 2]]), weights)
    np.testing.assert_allclose(loss, (5 + 3 * 4) / 4)
    views = jnp.array([[[0.0, 0.0]], [[np.log(3.0), 0.0]]])  # teacher shares (1/2, 1/2), (3/4, 1/4)
    loss = losses.dino(views, views, jnp.zeros(2), temperature=1.0, teacher_temperature=1.0)
    expected = (-(np.log(0.75) + np.log(0.25)) / 2 + np.log(2)) / 2
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_electra_is_the_sum_of_its_terms():
    first, second, _, weights = example(5, 3)
    targets, replaced, valid = jnp.arange(5) % 3, jnp.arange(5) == 2, jnp.arange(5) < 4
    masked = weights > 1  # masks serve as weights
    loss = losses.electra(first, second[:, 0], targets, masked, replaced, valid)
    generator = losses.masked_lm(first, targets, masked.astype(float))
    detector = losses.replaced_token_detection(second[:, 0], replaced, valid.astype(float))
    np.testing.assert_allclose(loss, generator + 50 * detector, rtol=1e-6)


def test_numerical_gradients():
    first, second, negatives, weights = example(5, 3)

    @jax.jit
    def total(first, second, negatives):
        fixed = jax.lax.stop_gradient(second)
        return (
            losses.replaced_token_detection(first[:, 0], weights > 1, weights)
            + losses.negative_sampling(first, second, negatives, weights)
            + losses.masked_reconstruction(first, fixed * 0 + 0.3, weights)
            + losses.byol(first, jnp.ones_like(first), weights)
            + losses.barlow_twins(first, second, weights)
            + losses.vicreg(first, second, weights)
            + losses.dino(jnp.stack([first, second]), jnp.ones((1, 5, 3)), jnp.zeros(3), weights)
        )

    arrays = (first, second, negatives)
    check_grads(total, arrays, order=1, modes=["fwd", "rev"], rtol=0.03, atol=0.03)


def all_of(first, second, weights):
    detection = losses.replaced_token_detection(first[:, 0], second[:, 0] > 0, weights)
    views = jnp.stack([first, second])
    center = jnp.zeros(first.shape[1], first.dtype)
    return {
        "rtd": detection,
        "negative": losses.negative_sampling(first, second, second[:, None], weights),
        "reconstruction": losses.masked_reconstruction(
            first, second, weights, normalize_target=True
        ),
        "byol": losses.byol(first, second, weights),
        "barlow": losses.barlow_twins(first, second, weights),
        "vicreg": losses.vicreg(first, second, weights),
        "dino": losses.dino(views, views, center, weights),
    }


def test_weight_zero_hides_anything_and_no_weight_is_zero():
    first, second, _, weights = example(5, 3)
    used = weights > 0
    dirty = np.where(used[:, None], first, np.nan)
    ours = jax.jit(all_of)(dirty, second, weights)
    without = all_of(first[used], second[used], weights[used])
    for name, value in ours.items():
        np.testing.assert_allclose(value, without[name], rtol=1e-5, err_msg=name)
    total = jax.jit(jax.value_and_grad(lambda *a: sum(all_of(*a).values())))
    _, gradient = total(dirty, second, weights)
    assert jnp.isfinite(gradient).all()
    value, gradient = total(np.full_like(first, np.nan), second, np.zeros_like(weights))
    assert value == 0
    assert (gradient == 0).all()


def test_scaled_weights_change_nothing():
    first, second, _, weights = example(5, 3)
    ours, scaled = (
        jax.jit(all_of)(first, second, weights),
        jax.jit(all_of)(first, second, 3 * weights),
    )
    for name, value in ours.items():
        np.testing.assert_allclose(scaled[name], value, rtol=1e-5, err_msg=name)


def test_dino_center_moves_to_the_mean_of_the_weighted_rows():
    teacher = jnp.array([[[1.0], [5.0], [jnp.nan]], [[3.0], [7.0], [jnp.nan]]])
    center = losses.dino_center(jnp.zeros(1), teacher, jnp.array([3.0, 1.0, 0.0]), momentum=0.75)
    np.testing.assert_allclose(center, 0.25 * (3 * 2 + 6) / 4)
    still = losses.dino_center(jnp.ones(1), teacher, jnp.zeros(3))
    np.testing.assert_array_equal(still, [1.0])


def test_errors_name_both_shapes():
    rows, other = jnp.ones((3, 2)), jnp.ones((2, 2))
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(3, 2\)"):
        losses.byol(rows, other)
    with pytest.raises(ValueError, match=r"\(3, 2\).*\(2, 2\)"):
        losses.vicreg(rows, other)
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(3, 2\)"):
        losses.negative_sampling(rows, other, rows[:, None])
    with pytest.raises(ValueError, match=r"negatives of shape \(3, 2\)"):
        losses.negative_sampling(rows, rows, rows)
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(3, 2\)"):
        losses.masked_reconstruction(rows, other, jnp.ones(3))
    with pytest.raises(ValueError, match=r"teacher \(1, 3, 2\).*center \(3,\)"):
        losses.dino_center(jnp.zeros(3), rows[None])
    with pytest.raises(ValueError, match="views"):
        losses.dino(rows[None], rows[None], jnp.zeros(2))
    with pytest.raises(ValueError, match=r"replaced of shape \(2,\)"):
        losses.replaced_token_detection(jnp.ones(3), jnp.ones(2) > 0, jnp.ones(3))
