"""Runs that cannot work: what is refused, and the way out that the message names."""

import dataclasses

import pytest

from jaxssl.errors import InputError
from jaxssl.models.recipes import bert
from jaxssl.objectives import MaskedLM
from jaxssl.planning import refusals
from jaxssl.planning.targets import read_target
from tests.planning.tiny_runs import MASKED, SHAPE, SIZES


def test_what_the_compiler_says_of_memory_is_read():
    said = (
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries "
        "(720.00G) exceeds available HBM (15.75G)."
    )
    assert refusals.memory_asked(said) == (720 * 2**30, 15.75 * 2**30)
    said = "Ran out of memory in memory space hbm. Used 27.62G of 15.75G hbm. Exceeded by 11.87G."
    assert refusals.memory_asked(said) == (27.62 * 2**30, 15.75 * 2**30)
    assert refusals.memory_asked("INTERNAL: something else") is None


def on(batch: int, microbatches: int = 1):
    data = dataclasses.replace(MASKED.data, batch=batch)
    return dataclasses.replace(MASKED, data=data, microbatches=microbatches)


@pytest.mark.parametrize(
    ("batch", "microbatches", "message"),
    [
        (4, 1, "batch 4 is smaller than the 8 devices .* set data.batch to 8 or a multiple"),
        (12, 1, "batch 12 does not divide .* set data.batch to 16"),
        (16, 4, "have 4 rows, which do not divide .* set microbatches to 2"),
    ],
)
def test_batches_that_do_not_divide(batch, microbatches, message):
    with pytest.raises(InputError, match=message):
        refusals.check_batch(on(batch, microbatches), SIZES)


def test_a_batch_that_divides_is_accepted():
    refusals.check_batch(on(32, 4), SIZES)
    assert refusals.largest_divisor(12, 5) == 4
    assert refusals.largest_divisor(7, 0) == 1


def test_heads_stay_on_one_device():
    refusals.check_heads(MASKED, {"data": 1, "fsdp": 1, "tensor": 4})
    with pytest.raises(InputError, match="encoder has 4 heads, .* set mesh.tensor to 4"):
        refusals.check_heads(MASKED, {"data": 1, "fsdp": 1, "tensor": 8})
    grouped = MaskedLM(encoder=bert(**SHAPE, kv_heads=2))
    config = dataclasses.replace(MASKED, objective=grouped)
    with pytest.raises(InputError, match="encoder has 2 kv_heads, .* set mesh.tensor to 2"):
        refusals.check_heads(config, {"data": 1, "fsdp": 1, "tensor": 4})


def test_the_tensor_axis_stays_within_a_slice():
    target = read_target("v5e:2x2", 2)
    refusals.check_slices({"data": 2, "fsdp": 1, "tensor": 4}, target)
    with pytest.raises(InputError, match="over 2 slices .* multiple of 2, or mesh.tensor to 4"):
        refusals.check_slices({"data": 1, "fsdp": 1, "tensor": 8}, target)


def test_ways_out_begin_with_the_cheapest():
    target = read_target("v5e:2x2")  # 15.75 GiB a device
    sizes = {"data": 4, "fsdp": 1, "tensor": 1}
    small, half, large = 2**20, int(9 * 2**30), int(20 * 2**30)
    assert refusals.ways_out(on(16), sizes, target, small) == (
        "set microbatches to 2, or set objective.encoder.remat to 'inputs'"
    )
    ways = refusals.ways_out(on(16), sizes, target, half)
    assert ways.startswith("set mesh.fsdp to 4 and mesh.data to 1, or set microbatches to 2")
    assert refusals.ways_out(on(16), {**sizes, "data": 1}, target, large) == "use more devices"
    remat = MaskedLM(encoder=bert(**SHAPE, remat="inputs"))
    config = dataclasses.replace(on(4), objective=remat)
    assert refusals.ways_out(config, sizes, target, small) == (
        "set data.batch to less, or use more devices"
    )


def test_what_does_not_fit_is_refused():
    target = read_target("v5e:2x2")
    sizes = {"data": 4, "fsdp": 1, "tensor": 1}
    gib = 2**30
    refusals.check_state(15 * gib, MASKED, sizes, target)
    refusals.check_memory(15.5 * gib, gib, MASKED, sizes, target)
    with pytest.raises(InputError, match=r"state takes 16.0 GiB of a device, and v5e:2x2 has 15.8"):
        refusals.check_state(16 * gib, MASKED, sizes, target)
    with pytest.raises(
        refusals.DoesNotFit, match=r"16.00 GiB of a device \(1.00 of them state\), and v5e:2x2"
    ):
        refusals.check_memory(16 * gib, gib, MASKED, sizes, target)


def test_networks_of_an_objective():
    assert list(refusals.networks(MASKED.objective)) == ["encoder"]
    assert refusals.networks(MASKED.objective)["encoder"].width == 32
