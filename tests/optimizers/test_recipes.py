"""Recipes: schedules by hand, what decays, and that stacked layers are updated as if they were not."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxssl import optimizers
from jaxssl.errors import InputError
from jaxssl.models.resnet import ResNetConfig
from jaxssl.optimizers import Adafactor, AdamW, Lamb, Lars, Lion, Muon, Recipe, Sgd
from jaxssl.optimizers.recipes import _matrices, decays
from jaxssl.sharding.layout import path_of

RECIPES = [AdamW(), Lamb(), Lars(), Sgd(), Lion(), Adafactor(), Muon()]


def parameters_of(tree):
    return {path_of(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(tree)}


def is_numbers(part):
    return isinstance(part, optax.contrib.MuonDimensionNumbers)


def parameters(key, depth=3):
    keys = jax.random.split(key, depth)
    stacked = jax.vmap(lambda k: jax.random.normal(k, (160, 144)))(keys)
    scales = jnp.arange(1.0, depth + 1)[:, None, None] ** 2
    return {
        "encoder": {
            "layers": {
                "up": {"kernel": stacked * scales, "bias": jnp.ones((depth, 144))},
                "norm": {"scale": jnp.ones((depth, 144))},
            },
            "tokens": {"embedding": jax.random.normal(key, (200, 144))},
        },
        "output_bias": jnp.ones(200),
    }


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        ("linear", {0: 0.0, 5: 0.5, 10: 1.0, 55: 0.55, 100: 0.1}),
        ("cosine", {0: 0.0, 10: 1.0, 55: 0.55, 100: 0.1}),
        ("constant", {0: 0.0, 10: 1.0, 100: 1.0}),
        ("warmup_stable_decay", {5: 0.5, 10: 1.0, 80: 1.0, 90: 0.55, 100: 0.1}),
    ],
)
def test_schedules(schedule, values):
    rate = AdamW(peak=1.0, warmup=10, schedule=schedule, final=0.1).rate(100)
    for step, value in values.items():
        np.testing.assert_allclose(rate(step), value, atol=1e-6)


def test_warmup_is_at_most_a_tenth_of_the_run_and_says_so():
    recipe = AdamW(peak=1.0, warmup=1000)
    assert float(recipe.rate(50)(5)) == 1.0
    assert recipe.cautions(50, {}) == ["warmup=1000 is cut to 5, a tenth of the run's 50 steps"]
    assert recipe.cautions(10_000, {}) == AdamW(warmup=0).cautions(50, {}) == []


def test_muon_orthogonalises_convolutions_behind_the_stem(key):
    """The update of a kernel, as a matrix of 3 x 3 x inputs rows, has singular values near one another."""
    config = ResNetConfig(10, width=8)
    shapes = jax.eval_shape(lambda key: config.make(key, 3), key)
    kernels = {p for p in parameters_of(shapes) if p.endswith("/kernel") and p != "stem/kernel"}
    chosen = jax.tree_util.tree_leaves_with_path(_matrices(shapes), is_leaf=is_numbers)
    assert {path_of(keys) for keys, found in chosen if is_numbers(found)} == kernels
    assert len(kernels) == 4 * 2 + 3  # two of each block, and three shortcuts
    assert Muon(warmup=0).cautions(10, shapes) == []
    (line,) = Muon(warmup=0).cautions(10, {"words": {"embedding": jnp.ones((4, 4))}})
    assert "AdamW" in line

    model = {"blocks": [{"kernel": jax.random.normal(key, (3, 3, 8, 16))}]}
    transform = Muon(decay=0.0).transform(lambda step: 1.0)
    updates, _ = transform.update(model, transform.init(model), model)
    values = np.linalg.svd(updates["blocks"][0]["kernel"].reshape(72, 16), compute_uv=False)
    size = 0.2 * 72**0.5  # of O, all whose singular values are about one
    assert (values > 0.6 * size).all()
    assert (values < 1.3 * size).all()


def test_adafactors_decay_follows_the_schedule():
    model = {"kernel": jnp.ones((4, 4))}
    nothing = {"kernel": jnp.zeros((4, 4))}
    transform = Adafactor(decay=0.1).transform(lambda step: jnp.where(step == 0, 0.5, 0.01))
    state = transform.init(model)
    for rate in (0.5, 0.01):
        updates, state = transform.update(nothing, state, model)
        np.testing.assert_allclose(updates["kernel"], -rate * 0.1, rtol=1e-5)


def test_biases_and_scales_do_not_decay(key):
    decayed = {
        path_of(keys)
        for keys, yes in jax.tree_util.tree_leaves_with_path(decays(parameters(key)))
        if yes
    }
    assert decayed == {"encoder/layers/up/kernel", "encoder/tokens/embedding"}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: type(r).__name__)
def test_a_stacked_layer_is_updated_as_a_layer_alone(recipe, key):
    """Layer 1 of three, and the same layer in a model of one: the same update to 1e-5."""
    model = parameters(key)
    gradient = jax.tree.map(lambda p: 0.01 * jnp.sin(p * 7.0), model)

    def only(tree):
        layers = jax.tree.map(lambda leaf: leaf[1:2], tree["encoder"]["layers"])
        return {**tree, "encoder": {**tree["encoder"], "layers": layers}}

    transform = recipe.transform(lambda step: 0.1)
    together, _ = transform.update(gradient, transform.init(model), model)
    alone, _ = transform.update(only(gradient), transform.init(only(model)), only(model))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), only(together), alone
    )


def test_lars_is_optax_lars_on_what_is_not_stacked(key):
    """Layers of a perceptron have numbers and are no stack; biases and scales take the plain step."""
    keys = jax.random.split(key, 3)
    head = [{"kernel": jax.random.normal(k, (7, 5)), "bias": jnp.ones(5)} for k in keys[:2]]
    model = {"projector": {"layers": head}, "norm": {"scale": jnp.full(5, 3.0)}}
    recipe = Lars(decay=0.1)
    slow = optax.lars(0.3, 0.1, decays, 1e-3, trust_ratio_mask=decays, momentum=0.9)
    fast = recipe.transform(lambda step: 0.3)
    states = [transform.init(model) for transform in (slow, fast)]
    for number in range(3):
        gradient = jax.tree.map(lambda p, n=number: jnp.cos(p + n), model)
        (wanted, states[0]), (found, states[1]) = (
            transform.update(gradient, state, model)
            for transform, state in zip((slow, fast), states, strict=True)
        )
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), wanted, found)
    first = 1e-3 * optax.tree.norm(head[0]["kernel"]) * 0.3  # of a step without momentum
    gradient = jax.tree.map(jnp.cos, model)
    step = fast.update(gradient, fast.init(model), model)[0]["projector"]["layers"][0]
    assert float(optax.tree.norm(step["kernel"])) == pytest.approx(float(first), rel=1e-5)
    np.testing.assert_allclose(step["bias"], -0.3 * np.cos(1.0) * np.ones(5), rtol=1e-5)
    slower = Lars(decay=0.1, biases=0.5).transform(lambda step: 0.3)
    again = slower.update(gradient, slower.init(model), model)[0]["projector"]["layers"][0]
    np.testing.assert_allclose(again["bias"], 0.5 * step["bias"], rtol=1e-6)
    np.testing.assert_array_equal(again["kernel"], step["kernel"])


def test_sgd_by_hand():
    """velocity <- 0.9 velocity + gradient + 0.1 parameter; the step is -0.2 of it; biases do not decay."""
    model = {"kernel": jnp.array([[2.0]]), "bias": jnp.array([3.0])}
    gradient = {"kernel": jnp.array([[1.0]]), "bias": jnp.array([1.0])}
    transform = Sgd(decay=0.1).transform(lambda step: 0.2)
    state = transform.init(model)
    for kernel, bias in ((-0.24, -0.2), (-0.456, -0.38)):
        step, state = transform.update(gradient, state, model)
        np.testing.assert_allclose(step["kernel"], [[kernel]], rtol=1e-6)
        np.testing.assert_allclose(step["bias"], [bias], rtol=1e-6)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: type(r).__name__)
def test_every_recipe_goes_downhill(recipe, key):
    target = parameters(key)
    model = jax.tree.map(lambda p: p + 0.5, target)

    def loss(model):
        parts = jax.tree.map(lambda p, t: jnp.square(p - t).mean(), model, target)
        return sum(jax.tree.leaves(parts))

    transform = recipe.make(20)
    state, begin = transform.init(model), float(loss(model))

    @jax.jit
    def step(model, state):
        updates, state = transform.update(jax.grad(loss)(model), state, model)
        return optax.apply_updates(model, updates), state

    for _ in range(20):
        model, state = step(model, state)
    assert float(loss(model)) < begin


def test_clipping_is_by_the_norm_of_the_whole_gradient():
    transform = AdamW(clip=1.0, decay=0.0).make(10)
    huge = {"kernel": jnp.full((4, 4), 1e20)}
    updates, _ = transform.update(huge, transform.init(huge), huge)
    assert np.isfinite(np.asarray(updates["kernel"])).all()


def test_muon_uses_its_epsilon():
    """A huge epsilon halts AdamW's part; with the usual one, the first step is the learning rate."""
    model = {"bias": jnp.array([0.0])}
    gradient = {"bias": jnp.array([2.0])}
    steps = []
    for epsilon in (1e-8, 1e8):
        transform = Muon(epsilon=epsilon).transform(lambda step: 0.1)
        updates, _ = transform.update(gradient, transform.init(model), model)
        steps.append(float(jnp.abs(updates["bias"][0])))
    assert steps[0] > 0.05
    assert steps[1] < 1e-6


def test_the_package_exports_every_optimizer():
    found, names = [Recipe], set()
    while found:  # those that no other class inherits from
        kind = found.pop()
        found += kind.__subclasses__()
        if not kind.__subclasses__() and "jaxssl" in kind.__module__:
            names.add(kind.__name__)
    assert names == {type(recipe).__name__ for recipe in RECIPES}
    assert names <= set(optimizers.__all__)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdamW(peak=0.0), "peak=0.0 must be above 0"),
        (lambda: AdamW(peak=float("nan")), "peak=nan must be a number"),
        (
            lambda: AdamW(schedule="step"),
            "schedule='step' is unknown; use cosine, linear, constant",
        ),
        (lambda: AdamW(schedule=None), "schedule=None is unknown"),
        (lambda: AdamW(moments="float16"), "moments='float16' is unknown; use float32 or bfloat16"),
        (lambda: AdamW(warmup=-5), "warmup=-5 must be at least 0"),
        (lambda: AdamW(warmup=0.1), "warmup=0.1 must be a whole number"),
        (lambda: Sgd(final=-3.0), "final=-3.0 must be at least 0 and at most 1"),
        (lambda: Lion(stable=1.5), "stable=1.5 must be at least 0 and at most 1"),
        (lambda: Lamb(clip=-1.0), "clip=-1.0 must be at least 0"),
        (lambda: Adafactor(decay=-0.1), "decay=-0.1 must be at least 0"),
        (lambda: AdamW(b1=2), "b1=2 must be at least 0 and below 1"),
        (lambda: Lamb(b2=1.0), "b2=1.0 must be at least 0 and below 1"),
        (lambda: AdamW(epsilon=-1e-8), "epsilon=-1e-08 must be at least 0"),
        (lambda: Lars(momentum=1.0), "momentum=1.0 must be at least 0 and below 1"),
        (lambda: Lars(trust=0.0), "trust=0.0 must be above 0"),
        (lambda: Lars(biases=-1.0), "biases=-1.0 must be at least 0"),
        (lambda: Sgd(momentum=-0.9), "momentum=-0.9 must be at least 0 and below 1"),
        (lambda: Lion(b2=1.0), "b2=1.0 must be at least 0 and below 1"),
        (lambda: Muon(momentum=2.0), "momentum=2.0 must be at least 0 and below 1"),
        (lambda: Muon(epsilon=-1.0), "epsilon=-1.0 must be at least 0"),
    ],
)
def test_values_outside_their_domain(make, message):
    with pytest.raises(InputError, match=message):
        make()
