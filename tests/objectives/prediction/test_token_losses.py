"""The vocabulary head: the plain formula on one device, and the same numbers on any mesh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.objectives.prediction import token_losses as file
from jaxssl.objectives.prediction.token_losses import (
    block_on_gpu,
    token_losses,
    token_losses_and_samples,
)
from jaxssl.sharding.mesh import Mesh

STATES, KERNEL, BIAS = (
    jax.random.normal(jax.random.key(number), shape)
    for number, shape in enumerate(((8, 3, 16), (24, 16), (24,)))
)
TARGETS = jax.random.randint(jax.random.key(4), (8, 3), 0, 24)
WEIGHTS = jnp.ones((8, 3)).at[::2, 1].set(0.0) / 20
WORDS = jax.random.bits(jax.random.key(5), (8, 3, 2), jnp.uint32)


def test_is_the_formula():
    nats, right = token_losses(STATES, KERNEL, TARGETS, WEIGHTS, BIAS)
    logits = STATES @ KERNEL.T + BIAS[None, None]
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), TARGETS[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(nats, -(WEIGHTS * picked).sum(), rtol=1e-5)
    np.testing.assert_allclose(right, (WEIGHTS * (logits.argmax(-1) == TARGETS)).sum(), rtol=1e-5)


@pytest.mark.parametrize("sizes", [{"data": 8}, {"data": 2, "fsdp": 2, "tensor": 2}])
def test_any_mesh_gives_the_same(sizes):
    """Loss, what is right and the drawn tokens; and the kernel's gradient to 1e-5 of its largest."""
    arrays = STATES, KERNEL, TARGETS, WEIGHTS, BIAS, WORDS
    mesh = Mesh(**sizes).make()

    def compute(kernel):
        nats, right, drawn = token_losses_and_samples(STATES, kernel, *arrays[2:])
        return nats, (right, drawn)

    def on_mesh(kernel):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return compute(kernel)

    whole = jax.jit(jax.value_and_grad(compute, has_aux=True))(KERNEL)
    (nats, (right, drawn)), slope = jax.jit(jax.value_and_grad(on_mesh, has_aux=True))(
        jax.device_put(KERNEL, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))
    )
    np.testing.assert_allclose(nats, whole[0][0], rtol=1e-5)
    np.testing.assert_allclose(right, whole[0][1][0], rtol=1e-5)
    np.testing.assert_array_equal(drawn, whole[0][1][1])
    np.testing.assert_allclose(slope, whole[1], atol=1e-5 * float(jnp.abs(whole[1]).max()))


def test_blocks_of_the_head_are_larger_on_gpus(monkeypatch):
    states = jax.ShapeDtypeStruct((8, 1024, 768), jnp.bfloat16)
    assert block_on_gpu(states, 50_304) == {}
    monkeypatch.setattr(file, "platform_of_mesh", lambda: "gpu")
    assert block_on_gpu(states, 50_304) == {"block_size": 4096}
    assert block_on_gpu(states, 10_000_000) == {"block_size": 256}
    assert block_on_gpu(STATES, 24) == {}
