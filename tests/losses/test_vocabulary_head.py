from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec
from jax.test_util import check_grads

from jaxssl import losses
from jaxssl.losses.blockwise import token_blocks
from tests.losses import loops

SIZES = [(1, 1, 1), (13, 4, 7), (40, 3, 11)]
BLOCKS = [None, 1, 7]
OPTIONS = [{}, {"label_smoothing": 0.2, "z_loss": 0.1}]


def example(tokens, dim, vocab, dtype=np.float32):
    random = np.random.default_rng(tokens)
    hidden, kernel = random.normal(size=(tokens, dim)), random.normal(size=(vocab, dim))
    targets = random.integers(0, vocab, tokens)
    weights = random.uniform(size=tokens) * (np.arange(tokens) % 3 != 1)
    floats = [jnp.asarray(a, dtype) for a in (hidden, kernel, weights, random.normal(size=vocab))]
    return floats[0], floats[1], jnp.asarray(targets), floats[2], floats[3]


def dense(hidden, kernel, targets, weights, bias, **options):
    logits = jnp.einsum("td,vd->tv", hidden, kernel, preferred_element_type=jnp.float32)
    return losses.masked_lm(logits + bias[None], targets, weights, **options)


def blocked(hidden, kernel, targets, weights, bias, **options):
    return losses.linear_cross_entropy(hidden, kernel, targets, weights, bias=bias, **options)


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    """So that a few tokens already are ordered in several groups."""
    monkeypatch.setattr(token_blocks, "SMALLEST_GROUP", 8)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("normalize", [True, False])
def test_is_the_loop(sizes, options, normalize):
    hidden, kernel, targets, weights, bias = arrays = example(*sizes)
    logits = np.zeros((sizes[0], sizes[2]))
    for t, h in enumerate(np.asarray(hidden, np.float64)):
        for v, k in enumerate(np.asarray(kernel, np.float64)):
            logits[t, v] = sum(h * k) + float(bias[v])
    reference = loops.masked_lm(logits, targets, weights, normalize, **options)
    rows = zip(logits, np.asarray(targets), np.asarray(weights), strict=True)
    right = sum(weight for scores, target, weight in rows if scores.argmax() == target)
    for block in BLOCKS:
        function = partial(
            losses.linear_cross_entropy_with_accuracy,
            block_size=block,
            normalize=normalize,
            **options,
        )
        ours, share = jax.jit(function)(*arrays[:4], bias=bias)
        np.testing.assert_allclose(ours, reference, rtol=1e-5)
        np.testing.assert_allclose(share, right / (weights.sum() if normalize else 1), rtol=1e-5)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("options", OPTIONS)
def test_value_and_gradients_are_those_of_the_logits(sizes, block, options):
    hidden, kernel, targets, weights, bias = example(*sizes)
    differentiated = (0, 1, 4)
    arrays = (hidden, kernel, targets, weights, bias)
    expected = jax.value_and_grad(partial(dense, **options), differentiated)(*arrays)
    ours = jax.jit(
        jax.value_and_grad(partial(blocked, block_size=block, **options), differentiated)
    )
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), ours(*arrays), expected)


def test_gradient_by_positive_weights():
    arrays = example(13, 4, 7)
    expected = jax.grad(dense, 3)(*arrays)
    ours = jax.grad(partial(blocked, block_size=4), 3)(*arrays)
    used = arrays[3] > 0
    np.testing.assert_allclose(ours[used], expected[used], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_numerical_gradients_and_forward_mode():
    hidden, kernel, targets, weights, bias = example(6, 3, 4)

    def loss(hidden, kernel, bias):
        options = {"block_size": 2, "label_smoothing": 0.1, "z_loss": 0.1}
        return blocked(hidden, kernel, targets, weights, bias, **options)

    check_grads(loss, (hidden, kernel, bias), order=1, modes=["fwd", "rev"], rtol=0.02)


def test_by_hand():
    # Logits (1, 0) and (0, 2), targets 0: log(1 + 1/e) = .3132617 and log(1 + e^2) = 2.1269280.
    hidden, kernel = jnp.array([[1.0, 0.0], [0.0, 2.0]]), jnp.eye(2)
    loss, share = losses.linear_cross_entropy_with_accuracy(
        hidden, kernel, jnp.array([0, 0]), jnp.array([3.0, 1.0])
    )
    np.testing.assert_allclose(loss, (3 * 0.3132617 + 2.1269280) / 4, rtol=1e-6)
    assert share == 0.75


@pytest.mark.slow
def test_scaled_weights_give_the_same_mean_and_parts_add_up():
    hidden, kernel, targets, weights, bias = example(40, 3, 11)
    mean = blocked(hidden, kernel, targets, weights, bias, block_size=8)
    scaled = blocked(hidden, kernel, targets, 5 * weights, bias, block_size=16)
    np.testing.assert_allclose(scaled, mean, rtol=1e-6)

    def part(rows):
        pieces = hidden[rows], kernel, targets[rows], weights[rows], bias
        return jax.grad(partial(blocked, normalize=False), 1)(*pieces)

    whole = part(slice(40))
    np.testing.assert_allclose(part(slice(13)) + part(slice(13, 40)), whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("block", [None, 4])
@pytest.mark.parametrize("normalize", [True, False])
def test_weight_zero_is_exactly_zero_whatever_it_hides(block, normalize):
    _, kernel, _, _, bias = example(13, 4, 7)
    hidden, targets = jnp.full((13, 4), jnp.nan), jnp.full((13,), -100)
    function = partial(blocked, block_size=block, normalize=normalize, z_loss=0.1)
    value, gradients = jax.value_and_grad(function, (0, 1, 4))(
        hidden, kernel, targets, jnp.zeros(13), bias
    )
    assert value == 0
    assert all((gradient == 0).all() for gradient in gradients)


@pytest.mark.parametrize("block", [None, 4])
def test_nan_of_weight_zero_reaches_nobody(block):
    hidden, kernel, targets, weights, bias = example(13, 4, 7)
    unused = weights == 0
    bad = jnp.where(unused[:, None], jnp.nan, hidden)
    function = jax.value_and_grad(partial(blocked, block_size=block), (0, 1, 4))
    clean = function(hidden, kernel, targets, weights, bias)
    dirty = function(bad, kernel, jnp.where(unused, -1, targets), weights, bias)
    jax.tree.map(np.testing.assert_array_equal, dirty, clean)


@pytest.mark.parametrize("target", [-1, 7])
def test_a_target_outside_the_vocabulary_is_loud(target):
    hidden, kernel, targets, _, bias = example(13, 4, 7)
    arrays = hidden, kernel, targets.at[3].set(target), jnp.ones(13), bias
    assert jnp.isnan(jax.jit(blocked)(*arrays))
    with pytest.raises(ValueError, match=f"targets hold {target} where.*0 to 6.*ignore_index=-100"):
        blocked(*arrays)


def test_states_of_any_leading_axes_and_ignored_targets():
    hidden, kernel, targets, weights, bias = example(12, 4, 7)
    expected = blocked(hidden, kernel, targets, weights, bias, block_size=5)
    wide, ids, each = hidden.reshape(3, 4, 4), targets.reshape(3, 4), weights.reshape(3, 4)
    np.testing.assert_array_equal(blocked(wide, kernel, ids, each, bias, block_size=5), expected)
    marked = jnp.where(each > 0, ids, -100)
    ignoring = jax.jit(partial(blocked, ignore_index=-100))(wide, kernel, marked, None, bias)
    by_mask = blocked(wide, kernel, ids, each > 0, bias)
    np.testing.assert_allclose(ignoring, by_mask, rtol=1e-6)


def test_no_tokens():
    _, kernel, _, _, bias = example(13, 4, 7)
    empty = jnp.zeros((0, 4)), kernel, jnp.zeros(0, int), jnp.zeros(0), bias
    value, gradient = jax.value_and_grad(blocked, 1)(*empty)
    assert value == 0
    assert (gradient == 0).all()


def test_bfloat16_products_with_float32_sums():
    """Value and gradients within 1 % of float32; the gradient of a float32 kernel is float32."""
    hidden, kernel, targets, weights, bias = example(40, 16, 11)
    function = jax.value_and_grad(partial(blocked, block_size=8), (0, 1))
    value, (to_hidden, to_kernel) = function(
        hidden.astype(jnp.bfloat16), kernel, targets, weights, bias
    )
    expected, gradients = function(hidden, kernel, targets, weights, bias)
    assert (value.dtype, to_hidden.dtype, to_kernel.dtype) == (
        jnp.float32,
        jnp.bfloat16,
        jnp.float32,
    )
    np.testing.assert_allclose(value, expected, rtol=0.01)
    for ours, reference in zip((to_hidden, to_kernel), gradients, strict=True):
        error = jnp.linalg.norm(ours.astype(jnp.float32) - reference)
        assert error < 0.01 * jnp.linalg.norm(reference)


@pytest.mark.slow
def test_float64_stays():
    with jax.enable_x64(True):
        arrays = example(13, 4, 7, jnp.float64)
        value, gradient = jax.value_and_grad(partial(blocked, block_size=4))(*arrays)
        expected = jax.value_and_grad(partial(dense))(*arrays)
        assert value.dtype == gradient.dtype == jnp.float64
        np.testing.assert_allclose(gradient, expected[1], atol=1e-6)


@pytest.mark.slow
def test_under_vmap_and_checkpoint():
    hidden, kernel, targets, weights, bias = example(12, 4, 7)
    function = jax.grad(jax.checkpoint(partial(blocked, block_size=2)), (0, 1))
    stacked = [jnp.stack([a, a[::-1]]) for a in (hidden, targets, weights)]
    ours = jax.vmap(function, in_axes=(0, None, 0, 0, None))(
        stacked[0], kernel, stacked[1], stacked[2], bias
    )
    expected = jax.grad(dense, (0, 1))(hidden, kernel, targets, weights, bias)
    np.testing.assert_allclose(ours[0][0], expected[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ours[0][1], expected[0][::-1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ours[1][1], expected[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("options", OPTIONS)
def test_vocabulary_cut_over_devices(check_vma, options):
    hidden, kernel, targets, weights, bias = arrays = example(32, 4, 12)
    mesh = jax.make_mesh((2, 4), ("data", "tensor"), axis_types=(AxisType.Auto,) * 2)
    data, tensor, whole = (PartitionSpec(*a) for a in (["data"], ["tensor"], []))

    def loss(hidden, kernel, targets, weights, bias):
        return losses.linear_cross_entropy(
            hidden,
            kernel,
            targets,
            weights,
            bias=bias,
            block_size=4,
            axis_name="data",
            vocab_axis_name="tensor",
            **options,
        )

    mapped = jax.shard_map(
        loss,
        mesh=mesh,
        in_specs=(data, tensor, data, data, tensor),
        out_specs=whole,
        check_vma=check_vma,
    )
    ours = jax.jit(jax.value_and_grad(mapped, (0, 1, 4)))(*arrays)
    expected = jax.value_and_grad(partial(dense, **options), (0, 1, 4))(*arrays)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), ours, expected)
    program = jax.jit(jax.grad(mapped, (0, 1))).lower(*arrays).compile().as_text()
    assert "all-gather" not in program


@pytest.mark.slow
def test_vocabulary_cut_over_devices_is_loud_outside():
    hidden, kernel, targets, _, _ = example(32, 4, 12)
    mesh = jax.make_mesh((4,), ("tensor",), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])
    mapped = jax.shard_map(
        partial(losses.linear_cross_entropy, vocab_axis_name="tensor"),
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec("tensor"), PartitionSpec(), PartitionSpec()),
        out_specs=PartitionSpec(),
    )
    for target in (-1, 12):
        assert jnp.isnan(mapped(hidden, kernel, targets.at[5].set(target), jnp.ones(32)))


def test_errors_name_both_shapes():
    hidden, kernel, targets, weights, _ = example(13, 4, 7)
    with pytest.raises(ValueError, match=r"hidden \(13, 4\) and kernel \(4, 7\)"):
        losses.linear_cross_entropy(hidden, kernel.T, targets, weights)
    with pytest.raises(ValueError, match=r"weights of shape \(12,\).*\(13, 4\)"):
        losses.linear_cross_entropy(hidden, kernel, targets, weights[:12])
    with pytest.raises(ValueError, match=r"targets of shape \(13, 7\) look one-hot.*argmax"):
        losses.linear_cross_entropy(hidden, kernel, jax.nn.one_hot(targets, 7), weights)
    with pytest.raises(ValueError, match=r"bias of shape \(4,\).*\(7, 4\)"):
        losses.linear_cross_entropy(hidden, kernel, targets, weights, bias=jnp.zeros(4))
    with pytest.raises(ValueError, match="block_size=0 must"):
        losses.linear_cross_entropy(hidden, kernel, targets, weights, block_size=0)


@pytest.mark.parametrize("options", OPTIONS)
def test_float16_with_more_words_than_its_largest_number(options):
    """At the target the entry that is multiplied is as large as the vocabulary: beyond 65504."""
    vocab, random = 70_000, np.random.default_rng(0)
    hidden = jnp.asarray(random.normal(size=(6, 2)), jnp.float16)
    kernel = jnp.asarray(0.1 * random.normal(size=(vocab, 2)), jnp.float16)
    kernel = kernel.at[3].set(20 * hidden[0])  # one token is sure, the others are not
    targets = jnp.array([3, 0, 1, 69_999, 2, 65_000])

    def gradients(hidden, kernel):
        loss = partial(losses.linear_cross_entropy, block_size=4, **options)
        return jax.grad(loss, (0, 1))(hidden, kernel, targets, jnp.ones(6))

    wide = gradients(hidden.astype(jnp.float32), kernel.astype(jnp.float32))
    for ours, reference in zip(gradients(hidden, kernel), wide, strict=True):
        assert ours.dtype == jnp.float16
        apart = np.linalg.norm(np.asarray(ours, np.float32) - np.asarray(reference))
        assert apart < 2e-3 * np.linalg.norm(reference)


def test_float16_gradients_stay_in_range_until_they_are_scaled():
    """The sum over tokens exceeds 65504 before it is divided; a loss scale saves what would underflow."""
    hidden, kernel = jnp.full((80, 1), 1000, jnp.float16), jnp.zeros((2, 1), jnp.float16)
    targets = jnp.zeros(80, int)
    gradient = jax.grad(losses.linear_cross_entropy, 1)(hidden, kernel, targets, jnp.full(80, 2.0))
    np.testing.assert_allclose(gradient, [[-500], [500]], rtol=1e-3)
    small = jnp.full(80, 1e-8 / 80)
    loss = partial(losses.linear_cross_entropy, normalize=False)
    kernel = jnp.array([[0.0], [1.0]], jnp.float16)
    scaled = jax.grad(lambda h: 2.0**20 * loss(h, kernel, targets, small))(0 * hidden)
    np.testing.assert_allclose(scaled, jnp.full((80, 1), 0.5 * 2.0**20 * 1e-8 / 80), rtol=1e-2)
