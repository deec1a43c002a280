"""Pallas kernels in a program: their blocks, products and cycles. Nothing is compiled for a TPU here."""

import json
import re

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas as pl

from jaxssl.planning.kernels import Kernel, read_kernel
from jaxssl.planning.program_text import Instruction
from jaxssl.training.chips import find_chip

SHAPES = (
    jax.ShapeDtypeStruct((512, 64), jnp.bfloat16),
    jax.ShapeDtypeStruct((64, 256), jnp.bfloat16),
)


def _multiply(left, right, out):
    out[...] = jnp.exp(jnp.dot(left[...], right[...], preferred_element_type=jnp.float32))


def _call(rest: str) -> Instruction:
    return Instruction("k", "custom-call", (), (), rest)


def _lowered() -> str:
    """The body of a kernel of 4 blocks of [128, 64] @ [64, 256], as JAX lowers it for TPUs."""
    multiply = pl.pallas_call(
        _multiply,
        grid=(4,),
        in_specs=[
            pl.BlockSpec((128, 64), lambda i: (i, 0)),
            pl.BlockSpec((64, 256), lambda i: (0, 0)),
        ],
        out_specs=pl.BlockSpec((128, 256), lambda i: (i, 0)),
        out_shape=jax.ShapeDtypeStruct((512, 256), jnp.float32),
    )
    return _body(multiply, *SHAPES)


def _body(kernel, *shapes) -> str:
    text = jax.jit(kernel).trace(*shapes).lower(lowering_platforms=("tpu",)).as_text()
    body = re.search(r"\\22body\\22: ?\\22([^\\]*)\\22", text)
    assert body is not None
    return body[1]


def test_a_kernel_is_read_from_its_body():
    kernel = read_kernel(_call(json.dumps({"body": _lowered()}, separators=(",", ":"))))
    assert kernel is not None
    assert (kernel.blocks, kernel.products) == (4, ((128, 64, 256),))
    assert kernel.transcendental == 128 * 256
    assert kernel.flops() == 2 * 512 * 64 * 256


def test_blocks_of_a_grid_that_is_not_constant_are_those_of_the_announced_flops():
    def visit(count, left, right):
        return pl.pallas_call(
            _multiply,
            grid=(count,),
            in_specs=[
                pl.BlockSpec((128, 64), lambda i: (i, 0)),
                pl.BlockSpec((64, 256), lambda i: (0, 0)),
            ],
            out_specs=pl.BlockSpec((128, 256), lambda i: (i, 0)),
            out_shape=jax.ShapeDtypeStruct((512, 256), jnp.float32),
        )(left, right)

    body = _body(visit, jax.ShapeDtypeStruct((), jnp.int32), *SHAPES)
    announced = f'"cost_estimate":{{"flops":"{3 * 2 * 128 * 64 * 256}"}}'
    kernel = read_kernel(_call(f'"body":"{body}",{announced}'))
    assert kernel is not None
    assert kernel.blocks == 3
    assert read_kernel(_call(f'"body":"{body}"')) is None


def test_cycles_are_those_of_the_busiest_unit():
    """v5e has 4 matrix units of 128 x 128; a product 64 deep takes as long as one that is 128 deep."""
    v5e = find_chip("v5e")
    deep = Kernel("k", 10, ((128, 64, 256),), arithmetic=0, transcendental=0)
    assert deep.cycles(v5e) == pytest.approx(10 * 128 * 2 / 4, rel=0.01)
    busy = Kernel("k", 10, ((128, 64, 256),), arithmetic=4096 * 100, transcendental=1024 * 300)
    assert busy.cycles(v5e) == 10 * 300


@pytest.mark.parametrize("rest", ["", '"body":"AAAA"', '"body":"not base64!"'])
def test_what_cannot_be_read_is_none(rest):
    assert read_kernel(_call(rest)) is None
