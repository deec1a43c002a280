"""The plan: what it predicts is what the run's own program takes; replication is found."""

import dataclasses
import multiprocessing
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxssl.data.images import Images
from jaxssl.data.preparing.images import Captions, PrepareImages
from jaxssl.data.preparing.texts import Prepare, prepare
from jaxssl.data.rows import Rows
from jaxssl.data.sources.images import ImageFiles
from jaxssl.data.sources.texts import TextFiles
from jaxssl.data.tokenizers.train_tokenizer import SentencePiece
from jaxssl.errors import InputError
from jaxssl.models.layers.attention_choice import Choice
from jaxssl.models.recipes import bert, gpt2
from jaxssl.objectives import CausalLM, MaskedLM
from jaxssl.planning import refusals
from jaxssl.planning.assumed_rows import assumed_rows
from jaxssl.planning.collectives import Collective, collectives_of
from jaxssl.planning.estimate import estimate, link_speed
from jaxssl.planning.page import as_json, as_text
from jaxssl.planning.plan import (
    Memory,
    Plan,
    count,
    device_bytes,
    largest_microbatch,
    make_plan,
    measure_apart,
)
from jaxssl.planning.program_text import read_program
from jaxssl.planning.targets import NoCompiler, read_target
from jaxssl.sharding.mesh import Mesh, batch_sharding
from jaxssl.training.config import Pretraining, load_config
from jaxssl.training.step import create_state, make_step
from tests.test_train_images import Shade

SHAPE = {"depth": 3, "width": 32, "heads": 4, "max_length": 32, "dropout": 0.0}
MASKED = Pretraining(data=Rows("nowhere", batch=16), objective=MaskedLM(encoder=bert(**SHAPE)))
CAUSAL = Pretraining(data=Rows("nowhere", batch=16), objective=CausalLM(decoder=gpt2(**SHAPE)))
SHADES = Pretraining(data=Images("nowhere", batch=16), objective=Shade())
SIZES = {"data": 1, "fsdp": 8, "tensor": 1}


def plan_on(config: Pretraining, target: str = "cpu:8") -> Plan:
    return make_plan(config, read_target(target), length=32, vocab_size=64)


def memory_of_run(config: Pretraining) -> tuple[int, int, int]:
    """Arguments, temporaries and all of the step that train.py compiles for its real state."""
    spec, _ = assumed_rows(config, 32, 64)
    grid, optimizer = config.mesh.make(jax.devices()[:8]), config.optimizer.make(config.steps)
    state = create_state(config, optimizer, spec, grid)
    tokens = jax.device_put(np.full((16, 32), 7, np.int32), batch_sharding(grid))
    assert device_bytes(state) == count(config, spec, dict(grid.shape)).state_per_device
    stats = (
        make_step(config, optimizer, spec, grid)
        .lower(state, {"tokens": tokens})
        .compile()
        .memory_analysis()
    )
    whole = stats.argument_size_in_bytes + stats.temp_size_in_bytes
    whole += stats.output_size_in_bytes - stats.alias_size_in_bytes
    whole += stats.generated_code_size_in_bytes
    return stats.argument_size_in_bytes, stats.temp_size_in_bytes, whole


def check_memory(config: Pretraining, predicted: Memory) -> None:
    """Within 5 % of `memory_analysis()`."""
    arguments, temporaries, whole = memory_of_run(config)
    assert predicted.arguments == pytest.approx(arguments, rel=0.05)
    assert predicted.temporaries == pytest.approx(temporaries, rel=0.05)
    assert predicted.total == pytest.approx(whole, rel=0.05)


def test_the_plan_is_that_of_the_run():
    """Memory; and parameters cut eight ways reach every device at least once a step."""
    config = dataclasses.replace(CAUSAL, mesh=Mesh(1, 8, 1))
    measured = plan_on(config).measured
    check_memory(config, measured.memory)
    gathers = next(total for total in measured.collectives if total.kind == "all-gather")
    assert gathers.sent > 7 / 8 * 3 * 12 * 32 * 32 * 4  # bytes of the kernels of three layers
    assert measured.attention == [Choice("xla", "there is no fused kernel for cpu")]
    assert measured.estimate is None
    assert measured.host_rows == 16


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [Mesh(1, 8, 1), Mesh(2, 2, 2), Mesh(8, 1, 1)])
def test_predicted_memory_is_that_of_the_run(mesh):
    config = dataclasses.replace(MASKED, mesh=mesh)
    check_memory(config, plan_on(config).measured.memory)


def test_what_is_counted_needs_no_compiler():
    """Adam keeps two moments of every parameter, and three counters beside the step."""
    counts = count(MASKED, assumed_rows(MASKED, 32, 64)[0], SIZES)
    spec = assumed_rows(MASKED, 32, 64)[0]
    model = jax.eval_shape(lambda: MASKED.objective.init(jax.random.key(0), spec))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(model))
    assert counts.parameters == parameters
    assert counts.state == pytest.approx(3 * 4 * parameters, abs=32)
    assert counts.state / 8 < counts.state_per_device < counts.state / 4
    assert counts.executed == counts.flops
    remat = dataclasses.replace(MASKED, objective=MaskedLM(encoder=bert(**SHAPE, remat="full")))
    again = count(remat, assumed_rows(remat, 32, 64)[0], SIZES)
    assert again.executed == pytest.approx(4 / 3 * again.flops)


def test_flops_of_bert_base_are_those_of_the_textbook():
    """6 N + 12 layers width length a token (Chowdhery et al. 2022, appendix B), N without tables.

    N = 12 layers x 12 width^2; the head works on 15 % of the places: 6 (width^2 + width vocab) each.
    """
    config = load_config("configs/bert_base.py", Pretraining)
    spec, source = assumed_rows(config)
    assert (spec.length, spec.vocab_size, source) == (512, 32_768, "assumed")
    counts = count(config, spec, {"data": 1, "fsdp": 1, "tensor": 1})
    layers = 6 * 12 * 12 * 768**2 + 12 * 12 * 768 * 512
    head = 0.15 * 6 * (768**2 + 768 * 32_768)
    assert counts.flops / counts.units == pytest.approx(layers + head, rel=0.01)
    assert counts.parameters == pytest.approx(112.4e6, rel=0.01)  # 110 M with 30,522 tokens


def test_images_are_those_of_flags_or_of_the_recipe_or_assumed():
    spec, source = assumed_rows(SHADES)
    assert (spec.in_words, source) == ("224x224x3 pixels", "assumed")
    spec, source = assumed_rows(SHADES, size=(8, 6))
    assert (spec.in_words, source) == ("8x6x3 pixels", "from --size")
    captions, source = assumed_rows(SHADES, length=16)
    assert (captions.captions.length, source) == (16, "assumed, but --length")
    how = PrepareImages(ImageFiles("files"), 8, 6, channels=1, captions=Captions(length=12))
    recipe = dataclasses.replace(SHADES, data=Images("nowhere", prepare=how))
    spec, source = assumed_rows(recipe, vocab_size=64)
    assert spec.in_words == "8x6x1 pixels, captions of 12 tokens, vocabulary 64"
    assert source == "from the recipe, but --vocab-size"
    with pytest.raises(InputError, match="there are none; pass --length"):
        assumed_rows(SHADES, vocab_size=64)
    with pytest.raises(InputError, match="--size is of images"):
        assumed_rows(MASKED, size=(8, 6))


def test_a_run_on_images_is_planned():
    plan = make_plan(SHADES, read_target("cpu:8"), size=(8, 6))
    assert plan.counts.flops == 3 * 16 * 2 * (8 * 6 * 3 + 1)  # the product, and the weighted sum
    # model, two moments and counters, and the two images of a device
    assert plan.measured.memory.arguments == pytest.approx(
        3 * 4 * 8 * 6 * 3 + 2 * 8 * 6 * 3, abs=32
    )
    assert {total.kind for total in plan.measured.collectives} == {"all-reduce"}
    page = as_text(plan, "shades.py")
    assert "rows        8x6x3 pixels (from --size)" in page
    assert "16 images; 2 rows of a device" in page
    assert "a parameter and image" in page
    assert as_json(plan, "shades.py")["height"] == 8


def test_rows_are_those_of_the_manifest(tmp_path):
    (tmp_path / "a.txt").write_text("the quick brown fox jumps over a lazy dog. " * 200)
    source = TextFiles(str(tmp_path / "a.txt"))
    config = Prepare(source, length=16, tokenizer=SentencePiece(vocab_size=292), valid=source)
    prepare(dataclasses.replace(config, workers=1), str(tmp_path / "set"))
    config = dataclasses.replace(MASKED, data=Rows(str(tmp_path / "set"), batch=16))
    spec, found = assumed_rows(config)
    assert (spec.length, spec.vocab_size, found) == (16, 292, f"from {tmp_path / 'set'}")
    spec, found = assumed_rows(config, length=8)
    assert (spec.length, found) == (8, f"from {tmp_path / 'set'}, but --length")
    assert assumed_rows(config, 8, 64)[1] == "from --length and --vocab-size"


@pytest.mark.slow
def test_the_fewest_microbatches_that_fit(monkeypatch):
    """By bisection over the divisors of a device's rows; the memory is set between two of them."""
    config = dataclasses.replace(CAUSAL, data=Rows("nowhere", batch=64))
    target = read_target("cpu:1")
    totals = {}
    for microbatches in (1, 4):
        candidate = dataclasses.replace(config, microbatches=microbatches)
        totals[microbatches] = plan_on(candidate, "cpu:1").measured.memory.total
    assert totals[1] > 1.1 * totals[4]
    limit = totals[4] + 1
    monkeypatch.setattr(type(target), "memory", limit)
    found = largest_microbatch(config, target, length=32, vocab_size=64)
    assert found.microbatches in (2, 4)
    assert plan_on(found, "cpu:1").measured.memory.total <= limit
    state = count(config, assumed_rows(config, 32, 64)[0], dict.fromkeys(SIZES, 1))
    monkeypatch.setattr(type(target), "memory", state.state_per_device + 1000)
    with pytest.raises(refusals.DoesNotFit, match=r"of them state\) and cpu:1 has 0.00"):
        largest_microbatch(config, target, length=32, vocab_size=64)


@dataclasses.dataclass(frozen=True)
class Deadly(CausalLM):
    """Ends the process that traces its loss, unless that is the one that runs the tests."""

    def loss(self, *arguments):
        assert multiprocessing.parent_process() is not None
        os.kill(os.getpid(), signal.SIGSEGV)


def test_a_compiler_that_dies_leaves_the_plan_alive():
    config = dataclasses.replace(CAUSAL, objective=Deadly(gpt2(**{**SHAPE, "dropout": 0.1})))
    target, (spec, _) = read_target("cpu:1"), assumed_rows(config, 32, 64)
    counts = count(CAUSAL, spec, dict.fromkeys(SIZES, 1))
    with pytest.raises(
        NoCompiler, match="died of this step; try --objective.decoder.dropout 0, or"
    ):
        measure_apart(config, spec, target, counts)


def test_what_the_compiler_says_of_memory_is_read():
    said = (
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries "
        "(720.00G) exceeds available HBM (15.75G)."
    )
    assert refusals.memory_asked(said) == (720 * 2**30, 15.75 * 2**30)
    said = "Ran out of memory in memory space hbm. Used 27.62G of 15.75G hbm. Exceeded by 11.87G."
    assert refusals.memory_asked(said) == (27.62 * 2**30, 15.75 * 2**30)
    assert refusals.memory_asked("INTERNAL: something else") is None


def test_a_state_in_another_layout_is_found():
    gib = 2**30
    refusals.check_layout(1.1 * gib, 0.1 * gib, 1.0 * gib)
    with pytest.raises(
        InputError, match="takes 8.00 GiB a device and the tables of axes ask for 1.00"
    ):
        refusals.check_layout(8.0 * gib, 0.0, 1.0 * gib)
    with pytest.raises(InputError, match="gives 8.00 GiB a device that are not written over"):
        refusals.check_layout(1.0 * gib, 8.0 * gib, 1.0 * gib)


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
    refusals.check_sharding(program, found, model, config, SIZES, length=length)


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

    with pytest.raises(InputError, match="layers/kernel of all layers lies whole on every device"):
        refusal_of(whole, (16, 32, 64))


def test_states_that_are_gathered_are_found():
    def gathered(model, x):
        mesh = sharded_model(PartitionSpec())[1]
        x = jax.lax.with_sharding_constraint(x, NamedSharding(mesh, PartitionSpec()))
        return x @ model["layers"]["kernel"][0]

    with pytest.raises(InputError, match="states of 512 tokens meet on one device"):
        refusal_of(gathered, (16, 32, 64))
    with pytest.raises(InputError, match="states of 16 images meet on one device"):
        refusal_of(gathered, (16, 8, 64), config=SHADES, length=None)


def test_a_table_that_is_gathered_is_not_taken_for_states():
    """bert_base of 4,096 rows on 32 x 8 devices: 512 rows of 512 are as many as 8 times 32,768 ids."""
    mesh = sharded_model(PartitionSpec())[1]
    cut = NamedSharding(mesh, PartitionSpec(None, "fsdp"))
    model = {"table": jax.ShapeDtypeStruct((64, 64), jnp.float32, sharding=cut)}
    shape = "f32[512,8]{1,0}"
    text = f"""ENTRY %step (a: f32[64,8]) -> {shape} {{
  %a = f32[64,8]{{1,0}} parameter(0)
  ROOT %b = {shape} all-gather(%a), replica_groups={{{{0,1,2,3,4,5,6,7}}}}, dimensions={{0}}
}}"""
    config = dataclasses.replace(MASKED, objective=MaskedLM(encoder=bert(**{**SHAPE, "width": 8})))
    for size, rows in {"512,8": 0, "512,16": 512, "16,32,8": 512}.items():
        program = read_program(text.replace("[512,8]", f"[{size}]").replace("{1,0}", ""))
        assert refusals.gathered_rows(program, model, config, SIZES, length=32) == rows


def test_embeddings_that_meet_are_not_taken_for_images():
    """simsiam_resnet50 gathers its embeddings as [512, 1, 2048]."""
    text = """ENTRY %step (a: f32[2,1,8]) -> f32[16,1,8] {
  %a = f32[2,1,8] parameter(0)
  ROOT %b = f32[16,1,8] all-gather(%a), replica_groups={{0,1,2,3,4,5,6,7}}, dimensions={0}
}"""
    for size, rows in {"16,1,8": 0, "16,8": 0, "16,2,8": 16, "16,3,1,8": 16}.items():
        program = read_program(text.replace("[16,1,8]", f"[{size}]"))
        assert refusals.gathered_rows(program, {}, SHADES, SIZES, length=None) == rows


def test_parameters_that_never_reach_the_rows_are_found():
    def alone(model, x):
        return x + 1

    with pytest.raises(InputError, match="should be gathered by a device in a step, and 0.0 are"):
        refusal_of(alone, (16, 32, 64))


def test_parameters_that_are_summed_instead_of_gathered_are_found():
    """What XLA made of fsdp over 256 devices at width 768: an all-reduce of every layer's kernels."""
    model, _ = sharded_model(PartitionSpec(None, "fsdp", None))
    table = Collective("all-gather", 1, 10**9, tuple(range(8)), 64, False)
    layer = Collective("all-reduce", 6, 64 * 64 * 4, tuple(range(8)), 64, False)
    assert refusals.gathered_in_layers([table, layer], model) == 0
    assert refusals.cut_bytes(model, MASKED) == 6 * 64 * 64 * 4
    gather = dataclasses.replace(layer, kind="all-gather")
    assert refusals.gathered_in_layers([table, gather], model) == 6 * 64 * 64 * 4 * 7 / 8


@dataclasses.dataclass(frozen=True)
class Device:
    coords: tuple[int, ...]
    process_index: int = 0
    slice_index: int = 0


def test_speed_of_links():
    """A 16 x 16 torus closes in both directions, a 4 x 4 slice of it does not."""
    pod = read_target("v5e:16x16")
    grid = [Device((i, j, 0)) for i in range(16) for j in range(16)]
    assert link_speed(range(16), grid, pod) == 2 * 5e10
    assert link_speed(range(256), grid, pod) == 4 * 5e10
    part = read_target("v5e:4x4")
    grid = [Device((i, j, 0)) for i in range(4) for j in range(4)]
    assert link_speed(range(4), grid, part) == 5e10
    slices = read_target("v5e:4x4", 2)
    grid += [dataclasses.replace(device, slice_index=1) for device in grid]
    assert link_speed([0, 16], grid, slices) == 3.125e9
    nodes = read_target("h100:2x8")
    grid = [Device((), process_index=i // 8) for i in range(16)]
    assert link_speed(range(8), grid, nodes) == 4.5e11
    assert link_speed([7, 8], grid, nodes) == 5e10


def test_roofline_by_hand():
    """1.97e14 FLOPs on one chip take a second; so do 0.819 TB of memory."""
    target = read_target("v5e:1x1")
    of = {"flops": 0.5 * 197e12, "executed": 197e12, "units": 1000}
    found = estimate(target, [Device((0, 0, 0))], [], traffic=0.25 * 0.819e12, **of)
    assert (found.step, found.memory, found.bound_by) == (1.0, 0.25, "arithmetic")
    assert (found.utilisation, found.units_per_second) == (0.5, 1000)
    found = estimate(target, [Device((0, 0, 0))], [], traffic=2 * 0.819e12, **of)
    assert (found.step, found.bound_by, found.utilisation) == (2.0, "memory", 0.25)
