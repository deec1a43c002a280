"""Reading compiled programs: trips, collectives and memory traffic of small ones, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxssl.planning.collectives import collectives_of, group_of, totals
from jaxssl.planning.program_text import bits, read_program, shapes_of
from jaxssl.planning.traffic import memory_traffic

LOOP = """\
HloModule jit_step, is_scheduled=true

%add.1 (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%gather_fusion (param_0.1: bf16[2,8]) -> bf16[16,8] {
  %param_0.1 = bf16[2,8]{1,0} parameter(0)
  ROOT %all-gather.1 = bf16[16,8]{1,0} all-gather(%param_0.1), channel_id=7, \
replica_groups=[2,8]<=[16], dimensions={0}
}

%all-reduce-scatter.1 (param_0.2: f32[64,4]) -> f32[4,4] {
  %param_0.2 = f32[64,4]{1,0} parameter(0)
  %all-reduce.5 = f32[64,4]{1,0} all-reduce(%param_0.2), channel_id=9, \
replica_groups={{0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15}}, to_apply=%add.1
  %zero = s32[] constant(0)
  ROOT %dynamic-slice.1 = f32[4,4]{1,0} dynamic-slice(%all-reduce.5, %zero, %zero), dynamic_slice_sizes={4,4}
}

%body.2 (state: (s32[], bf16[2,8])) -> (s32[], bf16[2,8]) {
  %state = (s32[], bf16[2,8]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %x = bf16[2,8]{1,0} get-tuple-element(%state), index=1
  %async-collective-start.3 = (bf16[2,8]{1,0}, bf16[16,8]{1,0}) fusion(%x), kind=kCustom, calls=%gather_fusion
  %y = bf16[2,8]{1,0} multiply(%x, %x)
  %fused = bf16[2,8]{1,0} fusion(%y), kind=kLoop, calls=%square
  %async-collective-done.3 = bf16[16,8]{1,0} fusion(%async-collective-start.3), kind=kCustom, \
calls=%gather_fusion
  ROOT %next = (s32[], bf16[2,8]{1,0}) tuple(%i, %fused)
}

%square (p: bf16[2,8]) -> bf16[2,8] {
  %p = bf16[2,8]{1,0} parameter(0)
  ROOT %m = bf16[2,8]{1,0} multiply(%p, %p)
}

%condition.2 (state.1: (s32[], bf16[2,8])) -> pred[] {
  %state.1 = (s32[], bf16[2,8]{1,0}) parameter(0)
  %j = s32[] get-tuple-element(%state.1), index=0
  %limit = s32[] constant(12)
  ROOT %less = pred[] compare(%j, %limit), direction=LT
}

ENTRY %main.9 (x.1: bf16[2,8], g: f32[64,4]) -> (s32[], bf16[2,8]) {
  %x.1 = bf16[2,8]{1,0} parameter(0)
  %g = f32[64,4]{1,0} parameter(1)
  %zero.1 = s32[] constant(0)
  %all-reduce.2 = f32[64,4]{1,0} all-reduce(%g), channel_id=1, \
replica_groups=mesh['x'=4,'y'=4] {'y'}, to_apply=%add.1
  %scattered = f32[4,4]{1,0} fusion(%all-reduce.2), kind=kCustom, calls=%all-reduce-scatter.1
  %alone = f32[4,4]{1,0} all-reduce(%scattered), channel_id=2, replica_groups={{0},{1},{2}}, to_apply=%add.1
  %collective-permute-start.1 = (f32[4,4]{1,0}, f32[4,4]{1,0}, u32[], u32[]) \
collective-permute-start(%alone), channel_id=3, source_target_pairs={{0,1},{1,2},{2,0}}
  %collective-permute-done.1 = f32[4,4]{1,0} collective-permute-done(%collective-permute-start.1)
  %started = (s32[], bf16[2,8]{1,0}) tuple(%zero.1, %x.1)
  ROOT %loop = (s32[], bf16[2,8]{1,0}) while(%started), condition=%condition.2, body=%body.2
}
"""


def test_a_loop_counts_as_often_as_it_goes_round():
    program = read_program(LOOP)
    assert program.times["main.9"] == 1
    assert program.times["body.2"] == program.times["gather_fusion"] == 12
    known = LOOP.replace(
        "body=%body.2", 'body=%body.2, backend_config={"known_trip_count":{"n":"5"}}'
    )
    assert read_program(known).times["body.2"] == 5
    with pytest.raises(ValueError, match="no ENTRY"):
        read_program("HloModule nothing")


def test_collectives_by_hand():
    """The gather is printed in two fusions and has one channel; a group of one moves nothing."""
    found = {c.kind: c for c in collectives_of(read_program(LOOP), 16)}
    assert set(found) == {"all-gather", "all-reduce", "reduce-scatter", "collective-permute"}
    gather = found["all-gather"]
    assert (gather.times, gather.array, gather.group) == (12, 2 * 8 * 2 * 8, tuple(range(8)))
    assert gather.sent == 12 * 256 * 7 / 8
    assert gather.is_overlapped
    reduce = found["all-reduce"]
    assert (reduce.times, reduce.array, reduce.group) == (1, 1024, (0, 1, 2, 3))
    assert reduce.sent == 1024 * 2 * 3 / 4
    assert found["reduce-scatter"].sent == 1024 * 15 / 16
    assert found["collective-permute"].sent == 64
    assert not found["collective-permute"].is_overlapped  # nothing stands between start and end
    by_kind = {total.kind: total for total in totals(list(found.values()))}
    assert (by_kind["all-gather"].count, by_kind["all-gather"].runs) == (1, 12)
    assert by_kind["all-gather"].overlapped == 1


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("replica_groups={{0,3},{1,4}}, x", (0, 3)),
        ("replica_groups=[4,2]<=[8], x", (0, 1)),
        ("replica_groups=[2,4]<=[4,2]T(1,0), x", (0, 2, 4, 6)),
        ("replica_groups=mesh['a'=2,'b'=4] {'a'}, x", (0, 4)),
        ("replica_groups=mesh['a'=2,'b'=2,'c'=2] {'a','c'}, x", (0, 1, 4, 5)),
        ("replica_groups=mesh['a'=4,'b'=1,'c'=2], device_ids=([2,4]T(1,0)) {'a'}, x", (0, 1, 2, 3)),
        ("replica_groups=mesh['a'=4,'b'=1,'c'=2], device_ids=([2,4]T(1,0)) {'c'}, x", (0, 4)),
        ("source_target_pairs={{0,0},{1,2}}, x", (1, 2)),
        ("to_apply=%add", tuple(range(8))),
    ],
)
def test_groups_in_every_way_that_they_are_printed(text, group):
    assert group_of(text, 8) == group


def test_shapes():
    printed = "(f32[8,4]{1,0:T(8,128)S(1)}, /*index=1*/s32[], bf16[3]{0}, pred[7], f8e4m3fn[5])"
    shapes = shapes_of(printed)
    assert [shape.bytes for shape in shapes] == [128, 4, 6, 7, 5]
    assert [shape.fast for shape in shapes] == [True, False, False, False, False]
    assert bits("s4") == 4
    with pytest.raises(ValueError, match="no element type"):
        bits("tuple")


def compiled_on_devices(function, specs, *shapes):
    mesh = jax.make_mesh((4,), ("x",), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])
    shardings = [NamedSharding(mesh, spec) for spec in specs]
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    out = NamedSharding(mesh, PartitionSpec())
    return jax.jit(function, in_shardings=shardings, out_shardings=out).lower(*arrays).compile()


def test_a_real_program_inside_a_loop():
    """Rows cut over four devices: each of six turns sums a product of [8, 8] over them."""

    def turn(carry, kernel):
        return carry + kernel.T @ kernel, None

    def loop(kernels):
        return jax.lax.scan(turn, jnp.zeros((8, 8)), kernels)[0]

    compiled = compiled_on_devices(loop, [PartitionSpec(None, "x")], (6, 16, 8))
    found = collectives_of(read_program(compiled.as_text()), 4)
    assert {c.kind for c in found} == {"all-reduce"}
    (reduce,) = found
    assert reduce.array == 8 * 8 * 4
    assert reduce.times in (1, 6)  # XLA may move the sum behind the loop
    assert reduce.sent == reduce.times * 256 * 2 * 3 / 4


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
