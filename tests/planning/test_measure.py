"""The compiled step: its memory is that of the run, and a compiler that crashes is reported."""

import dataclasses
import multiprocessing
import os
import signal

import jax
import numpy as np
import pytest

from jaxssl.models.layers.attention_choice import Choice
from jaxssl.models.recipes import gpt2
from jaxssl.objectives import CausalLM
from jaxssl.planning.assumed_rows import assumed_rows
from jaxssl.planning.counts import count, device_bytes
from jaxssl.planning.measure import Memory, measure_apart
from jaxssl.planning.targets import NoCompiler, read_target
from jaxssl.sharding.mesh import Mesh, batch_sharding
from jaxssl.training.config import Pretraining
from jaxssl.training.step import create_state, make_step
from tests.planning.tiny_runs import CAUSAL, MASKED, SHAPE, SIZES, plan_on


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


@pytest.mark.slow
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
        NoCompiler, match="crashed on this step; try objective.decoder.dropout=0, or"
    ):
        measure_apart(config, spec, target, counts)
