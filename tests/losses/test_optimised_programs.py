"""What XLA makes of the losses on many devices: no array beyond a block, no kernel gathered."""

import importlib.util
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from benchmarks import losses_on_pods as pods

SIZES = pods.Sizes(rows=512, width=8, block=16, tokens=600, dim=8, vocab=1024, head_block=256)


@pytest.mark.parametrize("number", range(3))
def test_on_eight_simulated_devices(number: int) -> None:
    case = pods.every_case(jax.devices()[:8], SIZES)[number]
    program = pods.compiled(case)
    pods.check(case, program)
    assert program.elements >= case.largest / 4  # the text was read
    assert (
        set(program.collectives)
        == ({"collective-permute", "all-reduce"}, {"all-reduce"})[min(number, 1)]
    )


def test_dense_pairs_are_noticed() -> None:
    case = pods.nt_xent(jax.devices()[:8], SIZES._replace(block=10**6))
    case = case._replace(largest=pods.nt_xent(jax.devices()[:8], SIZES).largest)
    with pytest.raises(SystemExit, match=r"\[128,128\].*need no more"):
        pods.check(case, pods.compiled(case))


def test_a_gathered_kernel_is_noticed() -> None:
    case = pods.vocabulary_head(jax.devices()[:8], SIZES, tensor=4)

    def gathers(hidden: jax.Array, kernel: jax.Array, *_: jax.Array) -> jax.Array:
        whole = jax.lax.all_gather(kernel, "tensor", tiled=True)
        return jax.lax.psum(jnp.square(hidden.astype(jnp.float32) @ whole[:8].T).sum(), "data")

    mesh = case.arrays[0].sharding.mesh
    specs = tuple(array.sharding.spec for array in case.arrays)
    mapped = jax.shard_map(
        gathers, mesh=mesh, in_specs=specs, out_specs=pods.WHOLE, check_vma=False
    )
    case = case._replace(gradient=jax.grad(mapped, (0, 1)), largest=10**9)
    with pytest.raises(SystemExit, match="something is gathered"):
        pods.check(case, pods.compiled(case))


@pytest.mark.slow
def test_compiled_for_tpus() -> None:
    if importlib.util.find_spec("libtpu") is None:
        pytest.skip("libtpu is not installed")
    command = [sys.executable, "-m", "benchmarks.losses_on_pods", "--topology", "v5e:4x4"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.count(" MB ") == 3
