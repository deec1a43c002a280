"""Value and gradient of every loss on every topology, against the same loss on one device.

On 2 processes the same table runs in `test_processes.py`, in microbatches in `test_accumulation.py`.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl import losses
from jaxssl.losses import (
    contrastive,
    decorrelation,
    dense_pairs,
    replaced_tokens,
    self_distillation,
    softmax_cross_entropy,
    squared_error,
    vocabulary_head,
    word_vectors,
)
from jaxssl.losses.blockwise import pair_log_sums, pair_logistics, pair_tiles
from tests.losses import cases
from tests.losses.sums import TOLERANCE, all_losses, on_one_device
from tests.losses.topologies import (
    AXIS,
    TOPOLOGIES,
    fast_to_compile,
    programs,
    relative_error,
    split,
    value_and_mean_gradient,
)

SIZES = [  # devices, and whether they have different numbers of tokens and examples
    (4, True),
    *(pytest.param(count, True, marks=pytest.mark.slow) for count in (1, 2, 8)),
    pytest.param(4, False, marks=pytest.mark.slow),
]


@pytest.mark.slow
@pytest.mark.parametrize(("count", "uneven"), SIZES)
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_value_and_gradient(topology: str, count: int, uneven: bool) -> None:
    params, reference = on_one_device(all_losses, uneven)
    for result in programs(topology, all_losses, count)(params, cases.make_batch(uneven)):
        assert relative_error(result, reference) < TOLERANCE


def test_every_loss_is_in_the_table() -> None:
    others = ("_per_example", "_center", "_gradients", "_accuracy", "_samples", "sample_tokens")
    assert set(cases.TOKEN_LOSSES) | {name.split(" in ")[0] for name in cases.BATCH_LOSSES} == {
        name for name in losses.__all__ if not name.endswith(others)
    }


def mean_of_means(total: Any, weight: Any, *, axis_name: Any = None, normalize: bool = True) -> Any:
    mean = total / jnp.maximum(weight, 1e-9)
    return jax.lax.pmean(mean, axis_name) if axis_name else mean


def at_home(visit: Any, stays: Any, travels: Any, axis_name: Any) -> Any:
    """In place of the ring: the negatives of one device."""
    return visit(jnp.zeros((), jnp.int32), stays, travels)


def swap_in(mutation: str, patch: pytest.MonkeyPatch) -> list[str]:
    """The names of the losses that are wrong now."""
    if mutation == "local softmax":
        patch.setattr(dense_pairs, "all_devices", lambda array, axis_name: array)
        patch.setattr(dense_pairs, "own_index", lambda count, axis_name: np.arange(count))
        for module in (pair_tiles, pair_log_sums, pair_logistics):
            patch.setattr(module, "around_ring", at_home)
        return [name for name in cases.BATCH_LOSSES if name.startswith(cases.CONTRASTIVE)]
    modules = (contrastive, softmax_cross_entropy, squared_error, replaced_tokens)
    for module in (*modules, self_distillation, vocabulary_head, word_vectors):
        patch.setattr(module, "weighted_mean", mean_of_means)
    patch.setattr(decorrelation, "sum_over", lambda axis_name, values: values)  # of one device
    return list(cases.ALL)


@pytest.mark.slow
@pytest.mark.parametrize("mutation", ["mean of means", "local softmax"])
def test_wrong_losses_are_noticed(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    params, batch = cases.make_params(), cases.make_batch(uneven=True)

    def each(of: Any, axis_name: str | None = None) -> Any:
        names = swapped or cases.ALL
        return lambda p, b: {n: of(partial(cases.ALL[n], axis_name=axis_name))(p, b) for n in names}

    swapped: list[str] = []
    references = fast_to_compile(each(jax.value_and_grad))(params, batch)
    swapped = swap_in(mutation, monkeypatch)
    inside = each(value_and_mean_gradient, AXIS)
    mapped = jax.vmap(inside, axis_name=AXIS, in_axes=(None, 0))
    results = fast_to_compile(mapped)(params, split(batch, 4))
    for name in swapped:
        for device in range(4):
            result = jax.tree.map(lambda a, i=device: a[i], results[name])
            assert relative_error(result, references[name]) > 100 * TOLERANCE, name
