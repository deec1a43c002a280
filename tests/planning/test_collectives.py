"""Collectives of a program: their bytes and groups by hand, and those of a real loop."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxssl.planning.collectives import collectives_of, group_of, overlapped_share, totals
from jaxssl.planning.program_text import read_program
from tests.planning.loop_program import LOOP


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
    assert by_kind["all-gather"].sent_overlapped == 12 * 256 * 7 / 8
    assert by_kind["all-reduce"].sent_overlapped == 0
    sent = 12 * 256 * 7 / 8 + 1024 * 2 * 3 / 4 + 1024 * 15 / 16 + 64
    assert overlapped_share(list(by_kind.values())) == pytest.approx(12 * 256 * 7 / 8 / sent)
    assert overlapped_share([]) is None


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


SPARSE = """\
HloModule jit_step, is_scheduled=true

%called.1 (p.1: bf16[64,8]) -> bf16[8,8] {
  %p.1 = bf16[64,8]{1,0} parameter(0)
  ROOT %reduce-scatter.1 = bf16[8,8]{1,0} reduce-scatter(%p.1), channel_id=4, \
replica_groups=[1,8]<=[8], dimensions={0}
}

%called.2 (p.2: bf16[64,8]) -> bf16[8,8] {
  %p.2 = bf16[64,8]{1,0} parameter(0)
  ROOT %reduce-scatter.2 = bf16[8,8]{1,0} reduce-scatter(%p.2), channel_id=4, \
replica_groups=[1,8]<=[8], dimensions={0}
}

ENTRY %main.1 (x: bf16[64,8]) -> bf16[8,8] {
  %x = bf16[64,8]{1,0} parameter(0)
  %first = ((bf16[64,8]{1,0}), bf16[8,8]{1,0}) call-start(%x), \
async_execution_thread="sparsecore", to_apply=%called.1
  %product = bf16[64,8]{1,0} fusion(%x), kind=kOutput, calls=%product_of
  %first.done = bf16[8,8]{1,0} call-done(%first)
  %second = ((bf16[64,8]{1,0}), bf16[8,8]{1,0}) call-start(%product), \
async_execution_thread="sparsecore", to_apply=%called.2
  %prepared = s32[] custom-call(), custom_call_target="PrepareAsyncCallStart"
  %scattered = bf16[8,8]{1,0} fusion(%x), kind=kCustom, calls=%all-reduce-scatter.1
  ROOT %second.done = bf16[8,8]{1,0} call-done(%second)
}
"""


def test_collectives_on_sparse_cores():
    """Two of the same channel are told apart, and only the first has a product beside it."""
    found = collectives_of(read_program(SPARSE), 8)
    assert [(c.kind, c.array, c.times) for c in found] == [("reduce-scatter", 1024, 1)] * 2
    assert [c.is_overlapped for c in found] == [True, False]
    assert overlapped_share(totals(found)) == 0.5


UNROLLED = """
HloModule jit_step, is_scheduled=true

%all-reduce-scatter.1 (a: bf16[64,8]) -> bf16[8,8] {
  %a = bf16[64,8]{1,0} parameter(0)
  %all-reduce.1 = bf16[64,8]{1,0} all-reduce(%a), channel_id=4, replica_groups=[1,8]<=[8]
  ROOT %part.1 = bf16[8,8]{1,0} slice(%all-reduce.1), slice={[0:8], [0:8]}
}

%all-reduce-scatter.2 (b: bf16[64,8]) -> bf16[8,8] {
  %b = bf16[64,8]{1,0} parameter(0)
  %all-reduce.2 = bf16[64,8]{1,0} all-reduce(%b), channel_id=4, replica_groups=[1,8]<=[8]
  ROOT %part.2 = bf16[8,8]{1,0} slice(%all-reduce.2), slice={[0:8], [0:8]}
}

ENTRY %main.1 (x: bf16[64,8]) -> (bf16[8,8], bf16[8,8]) {
  %x = bf16[64,8]{1,0} parameter(0)
  %first = bf16[8,8]{1,0} fusion(%x), kind=kCustom, calls=%all-reduce-scatter.1
  %second = bf16[8,8]{1,0} fusion(%x), kind=kCustom, calls=%all-reduce-scatter.2
  ROOT %both = (bf16[8,8]{1,0}, bf16[8,8]{1,0}) tuple(%first, %second)
}
"""


def test_the_scatters_of_layers_without_a_loop_have_one_channel_and_all_count():
    found = collectives_of(read_program(UNROLLED), 8)
    assert [(c.kind, c.array, c.times) for c in found] == [("reduce-scatter", 1024, 1)] * 2
