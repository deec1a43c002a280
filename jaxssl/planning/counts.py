"""Counts what is known of a run from shapes alone: parameters, FLOPs, and bytes of the training state."""

import math
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import AbstractMesh

from jaxssl.data.images import ImageSpec
from jaxssl.data.rows import TextSpec
from jaxssl.optimizers.host_moments import is_on_host
from jaxssl.planning.refusals import networks
from jaxssl.planning.targets import Target
from jaxssl.training.config import Pretraining
from jaxssl.training.flops import step_flops
from jaxssl.training.step import abstract_state

Spec = TextSpec | ImageSpec


@dataclass(frozen=True)
class Counts:
    """What is known from shapes alone."""

    parameters: int
    """Number of parameters."""
    flops: float
    """FLOPs of a step on all devices (`training/flops.py`); a multiply-add counts as two."""
    executed: float
    """FLOPs of a step on all devices, with what rematerialisation computes twice."""
    state: int
    """Bytes of the whole training state, which is also the size of a checkpoint."""
    state_per_device: int
    """Bytes of the training state on one device, without what is kept in the host's memory."""
    units: int
    """Tokens or images of a step."""


def mesh_sizes(config: Pretraining, target: Target) -> dict[str, int]:
    """Returns the number of devices on each mesh axis, from `config.mesh` and the size of `target`."""
    return config.mesh.sizes(target.device_count, target.text)


def count(config: Pretraining, spec: Spec, sizes: dict[str, int]) -> Counts:
    """Counts parameters, FLOPs and bytes from the shapes of the state and the layout tables.

    Args:
      config: Configuration of the run.
      spec: Description of the batches.
      sizes: Number of devices on each mesh axis.
    """
    mesh: Any = AbstractMesh(tuple(sizes.values()), tuple(sizes))
    state = abstract_state(config, config.optimizer.make(config.steps), spec, mesh)
    flops = step_flops(config.objective, spec)
    remats = {network.remat for network in networks(config.objective).values()}
    return Counts(
        parameters=sum(leaf.size for leaf in jax.tree.leaves(state.model)),
        flops=flops.total,
        executed=flops.total + flops.differentiated * ("inputs" in remats),
        state=sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)),
        state_per_device=device_bytes(state),
        units=spec.units,
    )


def device_bytes(tree: Any) -> int:
    """Returns the bytes of arrays on one device, without those in its host's memory.

    Args:
      tree: Pytree of arrays, or of `jax.ShapeDtypeStruct` with shardings.
    """
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
        if not is_on_host(leaf.sharding)
    )
