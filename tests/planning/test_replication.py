"""Replication that the layout tables do not ask for is found, and nothing else is taken for it."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxssl.errors import InputError
from jaxssl.models.recipes import bert
from jaxssl.objectives import MaskedLM
from jaxssl.planning import replication
from jaxssl.planning.collectives import Collective, collectives_of
from jaxssl.planning.program_text import read_program
from tests.planning.tiny_runs import MASKED, SHADES, SHAPE, SIZES


def test_a_state_in_another_layout_is_found():
    gib = 2**30
    replication.check_layout(1.1 * gib, 0.1 * gib, 1.0 * gib)
    with pytest.raises(
        InputError, match="takes 8.00 GiB per device, but by the layout tables it should be 1.00"
    ):
        replication.check_layout(8.0 * gib, 0.0, 1.0 * gib)
    with pytest.raises(InputError, match="returns 8.00 GiB per device that do not replace the old"):
        replication.check_layout(1.0 * gib, 8.0 * gib, 1.0 * gib)


def sharded_model(spec: PartitionSpec):
    mesh = jax.make_mesh((1, 8, 1), ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
    kernel = jax.ShapeDtypeStruct((6, 64, 64), jnp.float32, sharding=NamedSharding(mesh, spec))
    return {"layers": {"kernel": kernel}}, mesh


def refusal_of(function, *arrays, config=MASKED, length=32):
    """What `check_sharding` says of a program that takes the model and `arrays`."""
    model, mesh = sharded_model(PartitionSpec(None, "fsdp", None))
    rows = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
    arrays = [jax.ShapeDtypeStruct(a, jnp.float32, sharding=rows) for a in arrays]
    compiled = jax.jit(function, out_shardings=rows).lower(model, *arrays).compile()
    program = read_program(compiled.as_text())
    found = collectives_of(program, 8)
    replication.check_sharding(program, found, model, config, SIZES, length=length)


def layer_by_layer(model, x):
    def layer(x, kernel):
        return jnp.tanh(x @ kernel), None

    return jax.lax.scan(layer, x, model["layers"]["kernel"])[0]


def test_parameters_that_are_gathered_whole_are_found():
    def whole(model, x):
        mesh = sharded_model(PartitionSpec())[1]
        copied = NamedSharding(mesh, PartitionSpec())
        kernels = jax.lax.with_sharding_constraint(model["layers"]["kernel"], copied)
        return layer_by_layer({"layers": {"kernel": kernels}}, x)

    with pytest.raises(InputError, match="layers/kernel of all layers is complete on every device"):
        refusal_of(whole, (16, 32, 64))


def test_states_that_are_gathered_are_found():
    def gathered(model, x):
        mesh = sharded_model(PartitionSpec())[1]
        x = jax.lax.with_sharding_constraint(x, NamedSharding(mesh, PartitionSpec()))
        return x @ model["layers"]["kernel"][0]

    with pytest.raises(InputError, match="states of 512 tokens are gathered on one device"):
        refusal_of(gathered, (16, 32, 64))
    with pytest.raises(InputError, match="states of 16 images are gathered on one device"):
        refusal_of(gathered, (16, 8, 64), config=SHADES, length=None)


def test_a_table_that_is_gathered_is_not_taken_for_states():
    """bert_base of 4,096 rows on 32 x 8 devices: 512 rows of 512 are as many as 8 times 32,768 ids."""
    mesh = sharded_model(PartitionSpec())[1]
    sharded = NamedSharding(mesh, PartitionSpec(None, "fsdp"))
    model = {"table": jax.ShapeDtypeStruct((64, 64), jnp.float32, sharding=sharded)}
    shape = "f32[512,8]{1,0}"
    text = f"""ENTRY %step (a: f32[64,8]) -> {shape} {{
  %a = f32[64,8]{{1,0}} parameter(0)
  ROOT %b = {shape} all-gather(%a), replica_groups={{{{0,1,2,3,4,5,6,7}}}}, dimensions={{0}}
}}"""
    config = dataclasses.replace(MASKED, objective=MaskedLM(encoder=bert(**{**SHAPE, "width": 8})))
    for size, rows in {"512,8": 0, "512,16": 512, "16,32,8": 512}.items():
        program = read_program(text.replace("[512,8]", f"[{size}]").replace("{1,0}", ""))
        assert replication.gathered_rows(program, model, config, SIZES, length=32) == rows


def test_embeddings_that_meet_are_not_taken_for_images():
    """simsiam_resnet50 gathers its embeddings as [512, 1, 2048]."""
    text = """ENTRY %step (a: f32[2,1,8]) -> f32[16,1,8] {
  %a = f32[2,1,8] parameter(0)
  ROOT %b = f32[16,1,8] all-gather(%a), replica_groups={{0,1,2,3,4,5,6,7}}, dimensions={0}
}"""
    for size, rows in {"16,1,8": 0, "16,8": 0, "16,2,8": 16, "16,3,1,8": 16}.items():
        program = read_program(text.replace("[16,1,8]", f"[{size}]"))
        assert replication.gathered_rows(program, {}, SHADES, SIZES, length=None) == rows


def test_parameters_that_never_reach_the_rows_are_found():
    def alone(model, x):
        return x + 1

    with pytest.raises(InputError, match="should be gathered by a device in a step, but 0.0 are"):
        refusal_of(alone, (16, 32, 64))


def test_parameters_that_are_summed_instead_of_gathered_are_found():
    """What XLA made of fsdp over 256 devices at width 768: an all-reduce of every layer's kernels."""
    model, _ = sharded_model(PartitionSpec(None, "fsdp", None))
    table = Collective("all-gather", 1, 10**9, tuple(range(8)), 1000, False)
    layer = Collective("all-reduce", 6, 64 * 64 * 4, tuple(range(8)), 64, False)
    assert replication.gathered_in_layers([table, layer], model) == 0
    assert replication.sharded_bytes(model, MASKED) == 6 * 64 * 64 * 4
    gather = dataclasses.replace(layer, kind="all-gather")
    assert replication.gathered_in_layers([table, gather], model) == 6 * 64 * 64 * 4 * 7 / 8
    unrolled = [dataclasses.replace(gather, times=1)] * 6
    assert replication.gathered_in_layers([table, *unrolled], model) == 6 * 64 * 64 * 4 * 7 / 8
