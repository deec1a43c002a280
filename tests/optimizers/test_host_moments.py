"""Moments in the host's memory: which arrays, and where they cannot be."""

import dataclasses

import pytest

from jaxssl.data.rows import Rows
from jaxssl.errors import InputError
from jaxssl.models.recipes import gpt2
from jaxssl.objectives import CausalLM
from jaxssl.optimizers.recipes import AdamW
from jaxssl.planning.assumed_rows import assumed_rows
from jaxssl.planning.counts import count
from jaxssl.sharding.mesh import Mesh
from jaxssl.training.config import Pretraining
from jaxssl.training.step import abstract_state

DECODER = gpt2(depth=2, width=32, heads=4, max_length=32)
CONFIG = Pretraining(data=Rows("nowhere", batch=16), objective=CausalLM(decoder=DECODER))


def test_a_device_does_not_hold_them():
    """Of two moments of every matrix, cut over two devices, nothing is left there."""
    spec, _ = assumed_rows(CONFIG, 32, 64)
    sizes = {"data": 1, "fsdp": 2, "tensor": 1}
    away = dataclasses.replace(CONFIG, optimizer=AdamW(host_moments=True))
    here, there = count(CONFIG, spec, sizes), count(away, spec, sizes)
    matrices = 2 * (4 * 32 * 32 + 2 * 4 * 32 * 32) + 64 * 32 + 32 * 32
    biases = 2 * (4 * 32 + 4 * 32 + 32 + 4 * 32)  # stacked: a matrix of layers
    saved = here.state_per_device - there.state_per_device
    assert 2 * 4 * matrices / 2 <= saved <= 2 * 4 * (matrices / 2 + biases)
    assert there.state == here.state


def test_a_cpu_has_no_such_memory():
    spec, _ = assumed_rows(CONFIG, 32, 64)
    optimizer = AdamW(host_moments=True).make(10)
    with pytest.raises(InputError, match="a cpu has no pinned_host memory beside its own"):
        abstract_state(CONFIG, optimizer, spec, Mesh(8).make())
