"""FLOPs by hand: small formulas, written anew here, against what is counted in the jaxpr."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from jaxssl.models.layers.attention_choice import choices_made
from jaxssl.models.recipes import bert, gpt2, modern, t5, vit
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives import (
    BYOL,
    CausalLM,
    Electra,
    MaskedEmbedding,
    MaskedLM,
    Rotation,
    SimCLR,
    SpanCorruption,
)
from jaxssl.training.flops import StepFlops, forward_flops, step_flops
from tests.objectives.tiny_views import BLOCKS, ENCODER, GENTLE, OTHER, WIDTHS
from tests.tiny import tiny_image_spec, tiny_spec

BATCH, LENGTH, VOCAB = 8, 32, 50
MASKED = 5  # round(0.15 x 32)
SPEC = tiny_spec(BATCH, LENGTH, VOCAB)
BERT = bert(depth=2, width=16, heads=2, max_length=LENGTH)


def array(*shape: int, dtype=jnp.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)


def layers(depth: int, width: int, length: int, memory: int = 0) -> float:
    """One row through layers with inner width 4 x width; with cross-attention to `memory` states."""
    tokens = depth * length * (8 * width**2 + 16 * width**2 + 4 * length * width)
    across = depth * (4 * width**2 * (length + memory) + 4 * length * memory * width)
    return tokens + (across if memory else 0)


def images(encoder, heads: tuple[int, ...], size: int = 16) -> float:
    """One view through a vision transformer with patches of 4 x 4 and the layers behind it."""
    width, patches = encoder.blocks.width, (size // 4) ** 2
    widths = (width, *heads)
    behind = sum(2 * a * b for a, b in zip(widths, widths[1:], strict=False))
    return 2 * patches * 48 * width + layers(encoder.blocks.depth, width, patches) + behind


def test_products_and_convolutions():
    def loss(model, state, x, maps):
        product = jnp.einsum("bij,bjk->bik", x, model["matrix"])
        layout = {
            "dimension_numbers": ("NHWC", "HWIO", "NHWC"),
            "padding": ((1, 1), (1, 1)),
        }
        strided = jax.lax.conv_general_dilated(maps, model["kernel"], (2, 2), **layout)
        grouped = jax.lax.conv_general_dilated(
            maps, model["grouped"], (1, 1), feature_group_count=2, **layout
        )
        spread = jax.lax.conv_general_dilated(
            maps, model["kernel"], (1, 1), lhs_dilation=(2, 2), **layout
        )
        return product.sum() + strided.sum() + grouped.sum() + spread.sum()

    model = {"matrix": array(5, 3, 7), "kernel": array(3, 3, 4, 6), "grouped": array(3, 3, 2, 8)}
    flops = forward_flops(loss, model, (), array(5, 2, 3), array(2, 8, 10, 4))
    product = 2 * 5 * 2 * 3 * 7
    strided = 2 * (2 * 4 * 5 * 6) * 9 * 4
    grouped = 2 * (2 * 8 * 10 * 8) * 9 * 2
    spread = 2 * (2 * 15 * 19 * 6) * 9 * 4 / 4  # three of four inputs are zero
    assert flops == StepFlops(differentiated=product + strided + grouped + spread)
    assert flops.total == 3 * flops.differentiated


def test_a_product_counts_by_what_it_depends_on():
    def loss(model, state, x):
        views = x @ x  # of nothing learned
        student = views @ model
        teacher = views @ state
        stopped = jax.lax.stop_gradient(student) @ x
        chosen = jnp.argmax(student, axis=-1).astype(jnp.float32) @ x
        return (student * teacher).sum() + stopped.sum() + chosen.sum() + (student @ teacher).sum()

    flops = forward_flops(loss, array(4, 4), array(4, 4), array(4, 4))
    product, vector = 2 * 4**3, 2 * 4**2
    assert flops == StepFlops(2 * product, 2 * product + vector, product)
    assert flops.total == 3 * 2 * product + 2 * product + vector


def test_loops_branches_and_calls():
    def scanned(model, state, x):
        # The carry depends on the parameters from its second round on, and its product with it.
        def body(carry, row):
            return carry @ x + model, row @ x

        return jax.lax.scan(body, x, jnp.stack([x] * 5))[0].sum()

    flops = forward_flops(scanned, array(4, 4), (), array(4, 4))
    assert flops == StepFlops(differentiated=5 * 128, augmentation=5 * 128)

    def branched(model, state, x):
        small, large = (lambda m: m), (lambda m: m @ m @ m)
        return jax.lax.cond(x[0, 0] > 0, small, large, model).sum()

    assert forward_flops(branched, array(4, 4), (), array(4, 4)) == StepFlops(2 * 128)

    def repeated(model, state, x):
        return jax.lax.while_loop(lambda y: y[0, 0] < 9, lambda y: y @ model, x).sum()

    assert forward_flops(repeated, array(4, 4), (), array(4, 4)) == StepFlops(
        128, uncounted=("while",)
    )

    @jax.custom_vjp
    def product(a, b):
        return a @ b

    product.defvjp(lambda a, b: (a @ b, (a, b)), lambda kept, pull: (pull, pull))
    pair = array(2, 4, 4)
    for called in (jax.jit(product), jax.checkpoint(product), jax.vmap(product), product):
        flops = forward_flops(lambda model, _, x, f=called: f(model, x).sum(), pair, (), pair)
        assert flops == StepFlops(2 * 128)


def test_shard_map_counts_all_devices():
    def loss(model, state, x):
        mapped = jax.shard_map(
            lambda x, model: x @ model,
            mesh=AbstractMesh((8,), ("data",), axis_types=(AxisType.Auto,)),
            in_specs=(PartitionSpec("data"), PartitionSpec()),
            out_specs=PartitionSpec("data"),
        )
        return mapped(x, model).sum()

    assert forward_flops(loss, array(4, 4), (), array(16, 4)) == StepFlops(2 * 16 * 4 * 4)


def test_sums():
    first, second = StepFlops(1, 2, 3, ("while",)), StepFlops(10, 20, 30, ("pallas_call", "while"))
    assert first + second == StepFlops(11, 22, 33, ("pallas_call", "while"))
    assert first * 3 == StepFlops(3, 6, 9, ("while",))


def test_masked_and_causal_lm():
    head = 2 * MASKED * 16 * (16 + VOCAB)
    flops = step_flops(MaskedLM(BERT), SPEC)
    assert flops.differentiated == BATCH * (layers(2, 16, LENGTH) + head)
    assert flops.forward_only == 2 * BATCH * MASKED  # accuracy: which tokens are right, by weights
    assert (flops.augmentation, flops.uncounted) == (0, ())
    # Attention counts in full, and dropout and recomputation change nothing.
    causal = gpt2(depth=2, width=16, heads=2, max_length=LENGTH)
    expected = BATCH * (layers(2, 16, LENGTH) + 2 * LENGTH * 16 * VOCAB)
    for network in (causal, replace(causal, dropout=0.0), replace(causal, remat="inputs")):
        assert step_flops(CausalLM(network), SPEC).differentiated == expected


def test_fewer_key_heads_gates_and_windows():
    """2 key heads of 8 beside 4 query heads; gated inner width 24; a local layer counts in full."""
    network = modern(2, 32, 4, kv_heads=2, mlp=24, window=8, global_every=2, max_length=LENGTH)
    products = 2 * 32 * 32 * 2 + 2 * 32 * 16 * 2 + 3 * 2 * 32 * 24
    expected = LENGTH * (2 * products + 2 * 4 * 32 * LENGTH) + 2 * MASKED * 32 * (32 + VOCAB)
    assert step_flops(MaskedLM(network), SPEC).differentiated == BATCH * expected


def test_a_wish_for_fused_attention_is_counted_as_the_plain_formula():
    """A kernel hides its products. Nothing of the count is among the choices of the step itself."""
    with choices_made() as choices:
        flops = step_flops(MaskedLM(replace(BERT, attention="fused")), SPEC)
    assert flops == step_flops(MaskedLM(BERT), SPEC)
    assert choices == []


def test_electra_trains_both_networks():
    objective = Electra(replace(BERT, heads=4), generator_size=0.5)
    # The generator reads the tables of the discriminator, 16 wide, and widens or narrows them.
    generator = layers(2, 8, LENGTH) + 2 * LENGTH * 16 * 8 + 2 * MASKED * 16 * (8 + VOCAB)
    discriminator = layers(2, 16, LENGTH) + 2 * LENGTH * 16 * (16 + 1)
    assert step_flops(objective, SPEC).differentiated == BATCH * (generator + discriminator)


def test_an_encoder_and_a_decoder():
    objective = SpanCorruption(t5(2, 32, 4), t5(2, 32, 4, causal=True), sentinels=14)
    read, written = objective.lengths(LENGTH)
    mlps = 16 * 32**2 * (read + written) * 2
    gated = 6 * 32 * objective.encoder.inner * (read + written) * 2
    both = layers(2, 32, read) + layers(2, 32, written, memory=read) - mlps + gated
    head = 2 * written * 32 * (VOCAB + 14)
    assert step_flops(objective, SPEC).differentiated == BATCH * (both + head)


def test_teachers_have_no_backward_pass():
    text = step_flops(MaskedEmbedding(BERT, last=2), SPEC)
    assert text.differentiated == BATCH * (layers(2, 16, LENGTH) + 8 * MASKED * 16**2)
    assert text.forward_only == BATCH * layers(2, 16, LENGTH)
    frozen = step_flops(MaskedEmbedding(BERT, targets="frozen"), SPEC)
    assert frozen == replace(text, forward_only=0.0)

    objective = BYOL(ENCODER, (GENTLE, OTHER), WIDTHS, WIDTHS)
    flops = step_flops(objective, tiny_image_spec(batch=BATCH))
    student = images(ENCODER, (*WIDTHS, *WIDTHS))
    assert flops.differentiated == pytest.approx(2 * BATCH * student, rel=0.01)
    metrics = 3 * 2 * BATCH**2 * 8  # cosines of all pairs, twice, and the covariance
    teacher = images(ENCODER, WIDTHS)
    assert flops.forward_only == pytest.approx(2 * BATCH * teacher + metrics, rel=0.001)
    # Two crops of 16 x 16 x 3, each two products: by rows, then by columns.
    assert flops.augmentation >= 2 * BATCH * 2 * (2 * 16 * 16 * 16 * 3)


def test_contrasts_grow_with_the_square_of_the_batch():
    objective = SimCLR(ENCODER, GENTLE, WIDTHS)
    for batch in (8, 16):
        flops = step_flops(objective, tiny_image_spec(batch=batch))
        pairs = 2 * (2 * batch) ** 2 * WIDTHS[-1]
        rows = 2 * batch * images(ENCODER, WIDTHS)
        assert flops.differentiated == pytest.approx(rows + pairs, rel=1e-3)


def test_rotation_turns_every_image_four_times():
    encoder = VisionTransformerConfig(BLOCKS, patch=4, pooling="mean")
    flops = step_flops(Rotation(encoder), tiny_image_spec(batch=BATCH))
    assert flops.differentiated == 4 * BATCH * images(encoder, (4,))


def test_networks_of_published_sizes():
    """He et al. 2016, table 1, counts multiply-adds: 1.8, 3.6 and 3.8 (4.1 with the stride in 3 x 3) G.

    ViT-B/16 has 17.6 G (Dosovitskiy et al. 2021).
    """
    published = {18: 1.8e9, 34: 3.6e9, 50: 4.1e9, None: 17.6e9}
    for depth, expected in published.items():
        config = (
            VisionTransformerConfig(vit(), patch=16)
            if depth is None
            else ResNetConfig(depth, stem="imagenet")
        )
        model = jax.eval_shape(lambda key, c=config: c.make(key, 3), jax.random.key(0))
        flops = forward_flops(lambda model, _, x: model(x)[0], model, (), array(1, 224, 224, 3))
        assert flops.differentiated / 2 == pytest.approx(expected, rel=0.03)
