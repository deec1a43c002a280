from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxssl import losses
from tests.losses import loops

SHAPES = [(1, 1, 2), (2, 3, 5), (7, 11), (2, 2, 3, 4)]
OPTIONS = [{}, {"label_smoothing": 0.2, "z_loss": 0.1}]


def example(shape):
    random = np.random.default_rng(len(shape))
    logits = 3 * random.normal(size=shape).astype(np.float32)
    targets = random.integers(0, shape[-1], shape[:-1])
    weights = random.uniform(size=shape[:-1]).astype(np.float32)
    weights[..., 1:2] = 0
    return jnp.asarray(logits), jnp.asarray(targets), jnp.asarray(weights)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("normalize", [True, False])
def test_is_the_loop(shape, options, normalize):
    arrays = example(shape)
    ours = jax.jit(partial(losses.cross_entropy, normalize=normalize, **options))(*arrays)
    reference = loops.masked_lm(*arrays, normalize, **options)
    np.testing.assert_allclose(ours, reference, rtol=1e-5, atol=1e-6)


def test_constants_by_hand():
    # p(target) = e / (e + 2) and 1 / 3; the second weighs three times the first.
    logits = jnp.array([[1.0, 0.0, 0.0], [2.0, 2.0, 2.0], [9.0, -9.0, 9.0]])
    weights = jnp.array([1.0, 3.0, 0.0])
    loss = losses.cross_entropy(logits, jnp.array([0, 1, 1]), weights)
    np.testing.assert_allclose(loss, (0.5514447 + 3 * 1.0986123) / 4, rtol=1e-6)
    # log-sum-exp of the first is log(e + 2) = 1.5514447
    z_loss = losses.cross_entropy(logits[:1], jnp.array([0]), jnp.ones(1), z_loss=0.5)
    np.testing.assert_allclose(z_loss, 0.5514447 + 0.5 * 1.5514447**2, rtol=1e-6)
    smooth = losses.cross_entropy(logits[:1], jnp.array([0]), jnp.ones(1), label_smoothing=0.3)
    np.testing.assert_allclose(smooth, 0.7 * 0.5514447 + 0.3 * (1.5514447 - 1 / 3), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS)
def test_numerical_gradient(options):
    logits, targets, weights = example((2, 3, 4))
    check_grads(
        lambda logits: losses.cross_entropy(logits, targets, weights, **options),
        (logits,),
        order=2,
        modes=["fwd", "rev"],
        rtol=0.02,
    )


@pytest.mark.slow
def test_scaled_weights_give_the_same_mean_and_parts_add_up():
    logits, targets, weights = example((4, 6, 5))
    mean = losses.cross_entropy(logits, targets, weights)
    np.testing.assert_allclose(losses.cross_entropy(logits, targets, 7 * weights), mean, rtol=1e-6)
    part = lambda rows: losses.cross_entropy(  # noqa: E731
        logits[rows], targets[rows], weights[rows], normalize=False
    )
    whole = losses.cross_entropy(logits, targets, weights, normalize=False)
    np.testing.assert_allclose(part(slice(1)) + part(slice(1, 4)), whole, rtol=1e-6)


@pytest.mark.parametrize("normalize", [True, False])
def test_weight_zero_is_exactly_zero_whatever_the_logits(normalize):
    logits = jnp.full((2, 3, 4), jnp.nan)
    loss = lambda z: losses.cross_entropy(  # noqa: E731
        z, jnp.full((2, 3), -100), jnp.zeros((2, 3)), normalize=normalize, z_loss=0.1
    )
    value, gradient = jax.value_and_grad(loss)(logits)
    assert value == 0
    assert (gradient == 0).all()


def test_what_weight_zero_hides_may_be_nan():
    logits, targets, weights = example((2, 3, 5))
    used = losses.cross_entropy(logits, targets, weights)
    value, gradient = jax.value_and_grad(losses.cross_entropy)(
        logits.at[:, 1].set(jnp.inf), targets.at[:, 1].set(-100), weights
    )
    np.testing.assert_array_equal(value, used)
    assert (gradient[:, 1] == 0).all()
    assert jnp.isfinite(gradient).all()


@pytest.mark.parametrize("target", [-1, 5])
def test_a_target_outside_the_classes_gives_nan(target):
    arrays = jnp.zeros((1, 5)), jnp.array([target]), jnp.ones(1)
    assert jnp.isnan(jax.jit(losses.cross_entropy)(*arrays))
    with pytest.raises(ValueError, match=f"targets hold {target} where.*0 to 4.*ignore_index=-100"):
        losses.cross_entropy(*arrays)


def test_ignored_targets_have_no_loss():
    logits, targets, weights = example((2, 3, 5))
    marked = jnp.where(weights > 0, targets, -100)
    expected = losses.cross_entropy(logits, targets, weights > 0, z_loss=0.1)
    options = {"ignore_index": -100, "z_loss": 0.1}
    value, gradient = jax.value_and_grad(partial(losses.cross_entropy, **options))(logits, marked)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    each = losses.cross_entropy_per_example(logits, marked, **options)
    assert (each[:, 1] == 0).all()
    assert (gradient[:, 1] == 0).all()
    np.testing.assert_allclose(each.sum() / 4, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="ignore_index=1.5 must be an integer"):
        losses.cross_entropy(logits, marked, ignore_index=1.5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_logits_have_a_float32_softmax(dtype):
    logits, targets, weights = example((2, 3, 5))
    narrow = logits.astype(dtype)
    loss = losses.cross_entropy(narrow, targets, weights)
    assert loss.dtype == jnp.float32
    reference = loops.masked_lm(narrow.astype(jnp.float32), targets, weights)
    np.testing.assert_allclose(loss, reference, rtol=1e-5)
    assert jax.grad(losses.cross_entropy)(narrow, targets, weights).dtype == dtype


def test_float64_stays():
    with jax.enable_x64(True):
        logits = jnp.array([[0.1, 0.2, 0.3]], jnp.float64)
        loss = losses.cross_entropy(logits, jnp.array([2]), jnp.ones(1))
        assert loss.dtype == jnp.float64
        np.testing.assert_allclose(loss, loops.masked_lm(logits, [2], [1]), rtol=1e-14)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("normalize", [True, False])
def test_is_masked_lm_and_a_sharded_batch_is_the_whole_one(options, normalize):
    """Four devices of one row each, by vmap: value, and gradient outside and inside."""
    logits, targets, weights = example((4, 6, 5))
    options = options | {"normalize": normalize}
    whole = jax.value_and_grad(partial(losses.cross_entropy, **options))
    expected = whole(logits, targets, weights)
    same = jax.value_and_grad(partial(losses.masked_lm, **options))(logits, targets, weights)
    jax.tree.map(np.testing.assert_array_equal, same, expected)
    sharded = jax.vmap(partial(losses.cross_entropy, axis_name="i", **options), axis_name="i")
    np.testing.assert_allclose(sharded(logits, targets, weights), [expected[0]] * 4, rtol=1e-6)
    gradient = jax.grad(lambda z: sharded(z, targets, weights).mean())(logits)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-5, atol=1e-7)


def test_weights_may_be_a_mask_or_left_out():
    logits, targets, weights = example((2, 5, 7))
    mask = weights > 0
    by_mask = losses.cross_entropy(logits, targets, mask)
    np.testing.assert_array_equal(
        by_mask, losses.cross_entropy(logits, targets, mask.astype(float))
    )
    each = losses.cross_entropy_per_example(logits, targets)
    np.testing.assert_allclose(losses.cross_entropy(logits, targets), each.mean(), rtol=1e-6)


def test_errors_name_both_shapes():
    logits, targets = jnp.zeros((2, 3, 5)), jnp.zeros((2, 3), int)
    with pytest.raises(
        ValueError, match=r"\(2, 3, 5\) need targets of shape \(2, 3\), not \(3, 2\)"
    ):
        losses.cross_entropy(logits, targets.T)
    with pytest.raises(ValueError, match=r"weights of shape \(2, 1\) must be \(2, 3\)"):
        losses.cross_entropy(logits, targets, jnp.zeros((2, 1)))
    with pytest.raises(ValueError, match="label_smoothing=1.5 must be between 0 and 1"):
        losses.cross_entropy(logits, targets, label_smoothing=1.5)
