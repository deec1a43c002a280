"""Memory traffic of small programs: against XLA's own count, and of a loop over slices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.planning.program_text import read_program
from jaxssl.planning.traffic import memory_traffic


def test_traffic_is_xla_s_where_there_is_no_loop():
    def function(a, b):
        return jnp.tanh(a @ b) @ b

    arrays = [jax.ShapeDtypeStruct((256, 256), jnp.float32)] * 2
    compiled = jax.jit(function).lower(*arrays).compile()
    counted = memory_traffic(read_program(compiled.as_text()))
    assert counted == pytest.approx(compiled.cost_analysis()["bytes accessed"], rel=0.1)


def test_traffic_of_a_loop_reads_each_slice_once():
    """Six kernels of 64 KiB: not the whole stack at every turn."""

    def loop(x, kernels):
        return jax.lax.scan(lambda x, kernel: (jnp.tanh(x @ kernel), None), x, kernels)[0]

    stack = jax.ShapeDtypeStruct((6, 128, 128), jnp.float32)
    x = jax.ShapeDtypeStruct((128, 128), jnp.float32)
    traffic = memory_traffic(read_program(jax.jit(loop).lower(x, stack).compile().as_text()))
    one = 128 * 128 * 4
    assert 6 * 3 * one <= traffic <= 6 * 9 * one
    assert np.isfinite(traffic)
