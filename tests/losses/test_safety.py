"""Every loss in half precision, at its extremes, in float64, and under vmap, jvp and checkpoint."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl import losses
from tests.losses.topologies import fast_to_compile

Arrays = dict[str, jax.Array]
DIM, VOCAB = 3, 5


def contrastive(name: str, block_size: int | None) -> Callable[[Arrays, Arrays], jax.Array]:
    def loss(x: Arrays, fixed: Arrays) -> jax.Array:
        options: dict[str, Any] = {"temperature": x["temperature"], "block_size": block_size}
        if name == "sigmoid_contrastive":
            options["bias"] = x["bias"]
        return getattr(losses, name)(x["first"], x["second"], fixed["weights"], **options)

    return loss


# Of (what is differentiated, what is not). Where a side has no gradient it is x["second"].
LOSSES: dict[str, Callable[[Arrays, Arrays], jax.Array]] = {
    "masked_lm": lambda x, f: losses.masked_lm(
        x["first"], f["classes"], f["weights"], label_smoothing=0.1, z_loss=0.01
    ),
    "causal_lm": lambda x, f: losses.causal_lm(x["first"], f["classes"], f["weights"]),
    "next_sentence": lambda x, f: losses.next_sentence(
        x["first"][:, :2], f["classes"] % 2, f["weights"]
    ),
    "replaced_token_detection": lambda x, f: losses.replaced_token_detection(
        x["first"][:, 0], f["classes"] == 0, f["weights"]
    ),
    "electra": lambda x, f: losses.electra(
        x["first"], x["first"][:, 0], f["classes"], f["weights"], f["classes"] == 0, f["weights"]
    ),
    "linear_cross_entropy": lambda x, f: losses.linear_cross_entropy(
        x["first"], x["kernel"], f["targets"], f["weights"], label_smoothing=0.1, z_loss=0.01
    ),
    "linear_cross_entropy in blocks": lambda x, f: losses.linear_cross_entropy(
        x["first"], x["kernel"], f["targets"], f["weights"], block_size=2
    ),
    "negative_sampling": lambda x, f: losses.negative_sampling(
        x["first"], x["second"], x["second"][:, None], f["weights"]
    ),
    "masked_reconstruction": lambda x, f: losses.masked_reconstruction(
        x["first"], x["second"], f["weights"], normalize_target=True
    ),
    "byol": lambda x, f: losses.byol(x["first"], x["second"], f["weights"]),
    "dino": lambda x, f: losses.dino(
        jnp.stack([x["first"], 0.5 * x["first"]]),
        jnp.stack([x["second"], x["second"][::-1]]),
        x["second"][:1].sum(axis=0),
        f["weights"],
        temperature=0.5,
        teacher_temperature=0.5,
    ),
    "barlow_twins": lambda x, f: losses.barlow_twins(x["first"], x["second"], f["weights"]),
    "vicreg": lambda x, f: losses.vicreg(x["first"], x["second"], f["weights"]),
} | {
    name + (f" in blocks of {block}" if block else ""): contrastive(name, block)
    for name in ("nt_xent", "info_nce", "sigmoid_contrastive")
    for block in (None, 2)
}

# Relative errors of bfloat16 by value and by gradient (norm of the difference) against float32 from the
# same numbers. A gradient in bfloat16 is rounded by up to 0.004; unit vectors that are rounded before
# their products are taken, as the contrastive ones are, cost more. float16: a quarter of these.
EXACT, ROUNDED = (1e-5, 0.006), (0.02, 0.06)
BFLOAT16 = dict.fromkeys(LOSSES, EXACT) | {
    name: ROUNDED for name in LOSSES if name.startswith(("nt_xent", "info_nce", "sigmoid"))
}


@fast_to_compile
def program(x: Arrays, fixed: Arrays) -> dict[str, tuple[jax.Array, Arrays]]:
    return {name: jax.value_and_grad(loss)(x, fixed) for name, loss in LOSSES.items()}


def example(rows: int, dtype: Any = jnp.float32, seed: int = 0) -> tuple[Arrays, Arrays]:
    random = np.random.default_rng(seed)
    shapes = {"first": (rows, DIM), "second": (rows, DIM), "kernel": (VOCAB, DIM)}
    x = {name: jnp.asarray(random.normal(size=shape), dtype) for name, shape in shapes.items()}
    wide = jnp.float64 if dtype == jnp.float64 else jnp.float32
    numbers = {"temperature": jnp.asarray(0.3, wide), "bias": jnp.asarray(-1.0, wide)}
    return x | numbers, {
        "weights": jnp.asarray(random.uniform(0.1, 2, rows) * (np.arange(rows) != 1), wide),
        "classes": jnp.arange(rows) % DIM,
        "targets": jnp.arange(rows) % VOCAB,
    }


def relative(array: Any, reference: Any) -> float:
    array, reference = np.float64(array), np.float64(reference)
    return float(np.linalg.norm(array - reference) / (np.linalg.norm(reference) + 1e-6))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision(dtype: Any) -> None:
    x, fixed = example(5, dtype)
    wide = program(jax.tree.map(lambda array: array.astype(jnp.float32), x), fixed)
    part = 1 if dtype == jnp.bfloat16 else 0.25
    for name, (value, gradients) in program(x, fixed).items():
        expected, references = wide[name]
        assert value.dtype == jnp.float32, name
        by_value, by_gradient = BFLOAT16[name]
        assert relative(value, expected) < max(part * by_value, 1e-5), name
        for side, gradient in gradients.items():
            assert gradient.dtype == x[side].dtype, name
            assert relative(gradient, references[side]) < part * by_gradient, (name, side)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "dtype"),
    [
        (5, jnp.float32),
        (5, jnp.bfloat16),
        (5, jnp.float16),
        (1, jnp.bfloat16),
        (0, jnp.bfloat16),
    ],
)
def test_extremes(rows: int, dtype: Any) -> None:
    """Temperature 0.01; equal and opposite rows, zeros, huge numbers; one row, none; no weight at all."""
    x, fixed = example(rows, dtype)
    extreme = [[1, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 0, 0], [6e4, 6e4, 1e-7]]
    first = jnp.asarray(extreme, dtype)[:rows]
    x |= {"first": first, "second": first[::-1], "temperature": jnp.float32(0.01)}
    # Squares of 6e4 have gradients beyond float16: infinite there, but no NaN.
    is_fine = (lambda a: ~jnp.isnan(a)) if dtype == jnp.float16 else jnp.isfinite
    for weights in (jnp.ones(rows), jnp.zeros(rows)):
        for name, (value, gradients) in program(x, fixed | {"weights": weights}).items():
            assert jnp.isfinite(value), name
            assert all(is_fine(g).all() for g in gradients.values()), name
            if weights.sum() == 0:
                assert value == 0, name
                assert all((g == 0).all() for g in gradients.values()), name


@pytest.mark.slow
def test_float64() -> None:
    """Stays float64, and has the slope of the numbers around it."""
    with jax.enable_x64(True):
        x, fixed = example(4, jnp.float64)
        random = np.random.default_rng(1)
        onward = {
            n: jnp.asarray(random.normal(size=a.shape)) for n, a in x.items() if n != "second"
        }
        onward["second"] = jnp.zeros_like(x["second"])

        def moved(step: float) -> Arrays:
            return {name: array + step * onward[name] for name, array in x.items()}

        ahead, behind = (program(moved(step), fixed) for step in (1e-5, -1e-5))
        for name, (value, gradients) in program(x, fixed).items():
            assert value.dtype == jnp.float64, name
            assert all(g.dtype == jnp.float64 for g in gradients.values()), name
            slope = sum(float((gradients[side] * onward[side]).sum()) for side in x)
            numerical = float(ahead[name][0] - behind[name][0]) / 2e-5
            np.testing.assert_allclose(slope, numerical, rtol=1e-6, atol=1e-8, err_msg=name)


@pytest.mark.slow
def test_vmap_jvp_and_checkpoint() -> None:
    """All three at once, of two examples, against each by itself."""
    examples = [example(5, seed=seed) for seed in (0, 1)]
    x, fixed = jax.tree.map(lambda *a: jnp.stack(a), *examples)
    onward = jax.tree.map(jnp.cos, x)

    @fast_to_compile
    @jax.vmap
    def transformed(x: Arrays, fixed: Arrays, onward: Arrays) -> dict[str, Any]:
        results = {}
        for name, loss in LOSSES.items():
            replayed = jax.checkpoint(loss)
            _, slope = jax.jvp(lambda x, f=replayed: f(x, fixed), (x,), (onward,))
            results[name] = (jax.grad(replayed)(x, fixed), slope)
        return results

    ours = transformed(x, fixed, onward)
    for number, one in enumerate(examples):
        for name, (_, gradients) in program(*one).items():
            mapped, slope = jax.tree.map(lambda a, n=number: a[n], ours[name])
            expected = sum((gradients[side] * onward[side][number]).sum() for side in gradients)
            np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-5, err_msg=name)
            for side, gradient in gradients.items():
                assert relative(mapped[side], gradient) < 1e-4, (name, side)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_vocabulary_of_256k(dtype: Any) -> None:
    random = np.random.default_rng(0)
    hidden, kernel = (jnp.asarray(random.normal(size=(n, 4)), dtype) for n in (3, 2**18))
    targets = jnp.array([0, 2**18 - 1, 77])
    loss = jax.jit(jax.value_and_grad(losses.linear_cross_entropy, (0, 1)))
    value, gradients = loss(hidden, kernel, targets, jnp.ones(3))
    logits = np.float64(hidden) @ np.float64(kernel).T
    log_sums = np.log(np.exp(logits).sum(axis=1))
    expected = (log_sums - logits[np.arange(3), targets]).mean()
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    pull = np.exp(logits - log_sums[:, None])
    pull[np.arange(3), targets] -= 1
    tolerance = 1e-5 if dtype == jnp.float32 else 0.01
    assert relative(gradients[0], pull @ np.float64(kernel) / 3) < tolerance
    assert relative(gradients[1], pull.T @ np.float64(hidden) / 3) < tolerance
