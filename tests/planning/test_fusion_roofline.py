"""The roofline of every operation of a program for GPUs, by hand."""

import pytest

from jaxssl.planning.forecast import COLLECTIVES, forecast
from jaxssl.planning.fusion_roofline import flops_of, fusions_of
from jaxssl.planning.program_text import read_program
from jaxssl.planning.source_lines import SourceLines
from jaxssl.training.chips import find_chip

H100 = find_chip("h100")
# Two products and a sum; attention by cuDNN; an all-reduce, which other code estimates
TEXT = """HloModule step

%inside (p0: bf16[4096,1024], p1: bf16[1024,2048]) -> bf16[4096,2048] {
  %p0 = bf16[4096,1024]{1,0} parameter(0)
  %p1 = bf16[1024,2048]{1,0} parameter(1)
  ROOT %dot.1 = bf16[4096,2048]{1,0} dot(%p0, %p1), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

ENTRY %main (a: bf16[4096,1024], b: bf16[1024,2048], q: bf16[2,128,4,64], x: f32[8,8]) -> bf16[4096,2048] {
  %a = bf16[4096,1024]{1,0} parameter(0)
  %b = bf16[1024,2048]{1,0} parameter(1)
  %q = bf16[2,128,4,64]{3,2,1,0} parameter(2)
  %x = f32[8,8]{1,0} parameter(3)
  %all-reduce.1 = f32[8,8]{1,0} all-reduce(%x), replica_groups={}
  %mixed = (bf16[2,4,128,64]{3,2,1,0}) custom-call(%q, %q, %q), custom_call_target=\
"__cudnn$fmhaScaleBiasSoftmax", backend_config={"cudnn_fmha_backend_config": {\
"intermediate_tensor_shape": {"element_type": "BF16", "dimensions": ["2", "4", "128", \
"128"]}, "mask_type": "CAUSAL"}}
  %dot.2 = f32[8,8]{1,0} dot(%x, %x), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %images = f32[2,8,8,4]{3,2,1,0} parameter(4)
  %kernel = f32[3,3,4,16]{3,2,1,0} parameter(5)
  %windows = f32[2,8,8,16]{3,2,1,0} convolution(%images, %kernel), window={size=3x3 pad=1_1x1_1}, \
dim_labels=b01f_01io->b01f
  %sum = bf16[4096,2048]{1,0} add(%product, %product)
  ROOT %product = bf16[4096,2048]{1,0} fusion(%a, %b), kind=kCustom, calls=%inside
}
"""
OPERATIONS = {o.name: o for o in fusions_of(read_program(TEXT), SourceLines(TEXT), H100)}


def test_an_operation_takes_the_longer_of_arithmetic_and_memory():
    product = 2 * 4096 * 1024 * 2048 / H100.peak  # its memory takes half of that
    assert OPERATIONS["product"].cycles == pytest.approx(product * H100.clock, rel=1e-3)
    moved = 3 * 4096 * 2048 * 2 / H100.bandwidth
    assert OPERATIONS["sum"].cycles == pytest.approx(moved * H100.clock, rel=1e-3)
    assert list(OPERATIONS) == ["product", "sum", "mixed", "windows"]


def test_products_attention_and_convolutions_are_counted():
    program = read_program(TEXT)
    entry = program.computations[program.entry]
    mixed = entry.instructions["mixed"]
    assert flops_of(mixed, entry, program) == 2 * 2 * (2 * 4 * 128 * 128) * 64 / 2  # half is causal
    assert flops_of(entry.instructions["dot.2"], entry, program) == 2 * 8**3
    windows = entry.instructions["windows"]
    assert flops_of(windows, entry, program) == 2 * (2 * 8 * 8 * 16) * 3 * 3 * 4
    assert flops_of(entry.instructions["x"], entry, program) == 0


def test_a_forecast_for_gpus_says_whose_it_is():
    found = forecast(read_program(TEXT), SourceLines(TEXT), H100, flops=1e9, exposed=1e-5)
    operations = sum(operation.total for operation in OPERATIONS.values())
    assert found.cycles == pytest.approx(operations + 1e-5 * H100.clock)
    assert found.parts[COLLECTIVES] == pytest.approx(1e-5 * H100.clock)
    assert "ours" in found.source
