"""Every objective on every mesh of eight devices: the same losses as on one, and no needless traffic.

A new objective is one more line of OBJECTIVES.
"""

import dataclasses
import os
import re
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest

from jaxssl.models.recipes import bart, bert, gpt2, modern, modernbert, t5, vit
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives import (
    BYOL,
    DINO,
    BarlowTwins,
    CausalLM,
    Colorization,
    Denoising,
    Electra,
    ImageAutoencoder,
    ImageText,
    MaskedAutoencoder,
    MaskedEmbedding,
    MaskedLM,
    NextSentence,
    Rotation,
    SimCLR,
    SimCSE,
    SimSiam,
    SpanCorruption,
    VICReg,
    WordVectors,
)
from jaxssl.sharding.mesh import Mesh, batch_sharding
from jaxssl.training.step import (
    abstract_batch,
    abstract_state,
    create_state,
    make_step,
    place_batch,
)
from tests.objectives.tiny_views import CROPS, GENTLE, OTHER, tiny_captions
from tests.tiny import tiny_image_spec, tiny_images, tiny_rows, tiny_spec

SPEC = tiny_spec(batch=16, length=32, vocab_size=96)
PICTURES = tiny_image_spec(batch=16)
PAIRS = dataclasses.replace(PICTURES, captions=tiny_spec(batch=16, length=16, vocab_size=96))
SHAPE = {"depth": 2, "width": 64, "heads": 8, "max_length": 32, "dropout": 0.1}
HALF = {**SHAPE, "depth": 1}
BLOCK = vit(depth=1, width=64, heads=8, dropout=0.1)
PATCHES, BOTH, WIDTHS = VisionTransformerConfig(BLOCK, patch=4), (GENTLE, OTHER), (32, 16)
OBJECTIVES = {
    "words": MaskedLM(encoder=modernbert(**SHAPE), masking="words"),
    "spans": MaskedLM(encoder=modern(**SHAPE), masking="spans"),
    "next": MaskedLM(encoder=bert(**SHAPE), second_task=NextSentence()),
    "causal": CausalLM(decoder=gpt2(**SHAPE)),
    "long": CausalLM(decoder=gpt2(**SHAPE, sequence_parallel=True)),
    "electra": Electra(discriminator=bert(**SHAPE, embedding_width=32)),
    "prefix": CausalLM(decoder=gpt2(**HALF), prefix=True),
    "corruption": SpanCorruption(t5(**HALF), t5(**HALF, causal=True), sentinels=32),
    "denoising": Denoising(bart(**HALF), bart(**HALF, causal=True), deletion=0.1, bottleneck=8),
    "simcse": SimCSE(bert(**SHAPE), "projector", texts=2, masked_lm_weight=0.1, block_size=8),
    "skip-gram": WordVectors(width=64),
    "teacher": MaskedEmbedding(encoder=bert(**SHAPE), last=2, momentum=0.9),
    "masked-image": MaskedAutoencoder(VisionTransformerConfig(BLOCK, patch=4, registers=1), BLOCK),
    "image": ImageAutoencoder(ResNetConfig(10, width=8, norm="batch"), code=16, mask_ratio=0.2),
    "rotation": Rotation(PATCHES, hidden=(32,)),
    "colorization": Colorization(PATCHES, decoder_width=8),
    "simclr": SimCLR(PATCHES, GENTLE, WIDTHS, block_size=8),
    # With batch norm in a head that another follows, 20 steps turn rounding of 1e-7 into 1e-4;
    # the gradient with it, on eight devices, is in tests/objectives/test_joint_embedding.py.
    "byol": BYOL(PATCHES, BOTH, WIDTHS, WIDTHS, norm="layer"),
    "simsiam": SimSiam(PATCHES, GENTLE, WIDTHS, WIDTHS, norm="layer"),
    "barlow-twins": BarlowTwins(ResNetConfig(10, width=8, norm="batch"), BOTH, WIDTHS),
    "vicreg": VICReg(PATCHES, BOTH, WIDTHS),
    "dino": DINO(PATCHES, CROPS, WIDTHS, prototypes=48),
    "pairs": ImageText(PATCHES, bert(**HALF), width=16, views=GENTLE, block_size=8),
}
# what contrasts compares rows with all others
CONTRASTS = {"simcse", "simclr", "byol", "simsiam", "barlow-twins", "vicreg", "dino", "pairs"}
IMAGES = CONTRASTS - {"simcse"} | {"masked-image", "image", "rotation", "colorization"}
MESHES = {
    "8x1x1": Mesh(8),
    "1x8x1": Mesh(1, 8),
    "2x2x2": Mesh(2, 2, 2),
    "1x1x8": Mesh(1, 1, 8),
    "4x1x2": Mesh(4, 1, 2),
}
STEPS = 20
IS_THOROUGH = "JAXSSL_THOROUGH" in os.environ


def config(name, **changes):
    fields = {
        "objective": OBJECTIVES[name],
        "steps": STEPS,
        "seed": 0,
        "average": 0.9,
        "microbatches": 1,
        "compiler_options": None,
        "gradient_sums": "computed",
    }
    return SimpleNamespace(**{**fields, **changes})


def spec_of(objective):
    is_of_images = any(objective is OBJECTIVES[name] for name in IMAGES)
    of_images = PAIRS if isinstance(objective, ImageText) else PICTURES
    return of_images if is_of_images else SPEC


def train(run, mesh, steps=STEPS):
    """(losses of every step, norms of their gradients, the last state)."""
    optimizer = optax.adamw(1e-3)
    spec = spec_of(run.objective)
    state = create_state(run, optimizer, spec, mesh)
    step = make_step(run, optimizer, spec, mesh)
    losses, norms = [], []
    for number in range(steps):
        batch = {"tokens": tiny_rows(number, batch=16, vocab_size=96)}
        if spec is not SPEC:
            batch = {"images": tiny_images(number), "tokens": tiny_captions(number)}
            batch = {name: batch[name] for name in abstract_batch(spec, mesh)}
        state, metrics = step(state, place_batch(batch, batch_sharding(mesh)))
        losses.append(metrics["loss"].number())
        norms.append(float(metrics["gradient_norm"].total))
    return losses, norms, state


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_mesh_trains_as_one_device(name):
    """On 2x2x2, which has all axes; on every one with JAXSSL_THOROUGH in the environment.

    Losses of 20 steps to 1e-4: masks and the bits of dropout are those of one device;
    norms of the first gradients to 1e-3: Adam makes the same step of a gradient of another size.
    """
    exact, exact_norms, _ = train(config(name), Mesh().make(jax.devices()[:1]))
    for shape, mesh in MESHES.items() if IS_THOROUGH else [("2x2x2", MESHES["2x2x2"])]:
        losses, norms, state = train(config(name), mesh.make())
        np.testing.assert_allclose(norms[:3], exact_norms[:3], rtol=1e-3, err_msg=shape)
        np.testing.assert_allclose(losses, exact, rtol=1e-4, err_msg=shape)
        layers = jax.tree.leaves(state.model)
        parts = mesh.fsdp * mesh.tensor
        assert max(leaf.size // leaf.addressable_shards[0].data.size for leaf in layers) == parts


def collectives(name, mesh):
    """[(kind, shape of the result)] of the step's optimised program."""
    run, optimizer, mesh = config(name), optax.adamw(1e-3), mesh.make()
    spec = spec_of(run.objective)
    state, batch = abstract_state(run, optimizer, spec, mesh), abstract_batch(spec, mesh)
    program = make_step(run, optimizer, spec, mesh).lower(state, batch).compile().as_text()
    kinds = "all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute"
    found = []
    for line in program.splitlines():
        if match := re.search(rf"= (.*?) ({kinds})(?:-start)?\(", line):
            shapes = re.findall(r"[a-z0-9]+\[([\d,]*)\]", match[1])
            found += [(match[2], tuple(map(int, filter(None, s.split(","))))) for s in shapes]
    return found


@pytest.mark.slow
def test_data_parallel_steps_exchange_sums_alone():
    """Nothing of the batch is gathered, and parameters are not: gradients and counts are summed."""
    # "next" takes texts from other rows
    for name in OBJECTIVES.keys() - {"next", "prefix"} - CONTRASTS:
        assert {kind for kind, _ in collectives(name, MESHES["8x1x1"])} == {"all-reduce"}, name


@pytest.mark.slow
def test_a_vocabulary_that_is_cut_is_never_gathered():
    vocab, width, rows = SPEC.vocab_size, SHAPE["width"], SPEC.batch
    for shape in ("1x1x8", "2x2x2"):
        found = collectives("causal", MESHES[shape])
        gathered = [size for kind, size in found if kind in ("all-gather", "all-to-all")]
        assert (vocab, width) not in gathered, shape
        assert not [size for size in gathered if size[:1] == (rows,)], shape  # nor the batch
        logits = [
            size for _, size in found if len(size) > 1 and vocab in size and width not in size
        ]
        assert not logits, shape


@pytest.mark.slow
def test_sequence_parallel_keeps_an_eighth_of_every_layers_input():
    """16 rows of 256 places of 64 numbers in six layers: 6 MiB are kept without it, 3/4 MiB with it."""

    def peak(sequence_parallel):
        shape = {**SHAPE, "depth": 6, "max_length": 256, "dropout": 0.0, "remat": "inputs"}
        decoder = gpt2(**shape, sequence_parallel=sequence_parallel)
        run, optimizer = config("causal", objective=CausalLM(decoder)), optax.adamw(1e-3)
        spec, mesh = tiny_spec(batch=16, length=256, vocab_size=96), MESHES["1x1x8"].make()
        state, batch = abstract_state(run, optimizer, spec, mesh), abstract_batch(spec, mesh)
        compiled = make_step(run, optimizer, spec, mesh).lower(state, batch).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert peak(False) - peak(True) > 4 << 20


@pytest.mark.slow
def test_fsdp_gathers_the_heads_kernel_and_scatters_its_gradient():
    """Once each: for the lookup the table does not move, and no gradient of it is ever whole elsewhere."""
    found = collectives("causal", MESHES["1x8x1"])
    vocab, width, ways = SPEC.vocab_size, SHAPE["width"], 8
    part = vocab * width // ways
    tables = [(kind, size) for kind, size in found if vocab in size and np.prod(size) >= part]
    assert sorted(kind for kind, _ in tables) == ["all-gather", "reduce-scatter"]
    assert {int(np.prod(size)) for _, size in tables} == {vocab * width, part}
    batches = [size for kind, size in found if kind == "all-gather" and len(size) == 3]
    assert not [size for size in batches if size[:2] == (SPEC.batch, SPEC.length)]
