"""Stacks layers along a leading axis and runs them one after another by `jax.lax.scan`.

The compiled program is then as long as one layer, whatever the depth.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax.ad_checkpoint import checkpoint_policies
from jaxtyping import Array

from jaxssl.errors import InputError
from jaxssl.models.layers.fused_attention import CUDNN_FORWARD, KEPT

Layer = TypeVar("Layer")
Carry = TypeVar("Carry")


def _and_fused_attention(policy: Callable[..., Any]) -> Callable[..., Any]:
    """A policy that keeps the results of fused attention, as small as queries, and what `policy` keeps."""
    of_flash = checkpoint_policies.save_only_these_names(KEPT)

    def keeps(primitive: Any, *arguments: Any, **parameters: Any) -> Any:
        if primitive.name.startswith(CUDNN_FORWARD):
            return True
        others = (primitive, *arguments)
        return of_flash(*others, **parameters) or policy(*others, **parameters)

    return keeps


# What a layer keeps for its backward pass beside its input. Elementwise operations between matrix
# products are always computed again: that costs less than writing and reading their results, and
# halves the memory.
REMAT: dict[str, Callable[..., Any]] = {
    # The result of every matrix product.
    "none": _and_fused_attention(checkpoint_policies.dots_saveable),
    # The results of all but those within attention, which have a batch axis.
    "dots": _and_fused_attention(checkpoint_policies.dots_with_no_batch_dims_saveable),
    # Nothing.
    "full": checkpoint_policies.nothing_saveable,
}


def stack_layers(make: Callable[[Array], Layer], key: Array, depth: int) -> Layer:
    """Makes layers and stacks their parameters.

    Of Flax this uses only that a module is a pytree: it gives the same in NNX's graph mode and tree mode.

    Args:
      make: Function from a key to a layer.
      key: Random key; it is split into one for each layer.
      depth: Number of layers.

    Returns:
      One layer whose arrays have a leading axis of `depth`.
    """
    return jax.vmap(make)(jax.random.split(key, depth))


def run_layers(
    layers: Layer,
    carry: Carry,
    each: Any,
    apply: Callable[[Layer, Carry, Any], Carry],
    *,
    remat: str = "none",
) -> Carry:
    """Runs stacked layers one after another: `carry = apply(layer i, carry, each[i])` for every i.

    Args:
      layers: What `stack_layers` returns.
      carry: The value that the first layer reads, usually the states.
      each: Pytree of arrays with a leading axis of layers; `apply` gets the i-th slice.
      apply: Computes the next carry from a layer, the carry and its slice of `each`.
      remat: Key of `REMAT`: what the backward pass computes again.

    Returns:
      The carry after the last layer.

    Raises:
      InputError: `remat` is not a key of `REMAT`.
    """

    def without_output(layer: Layer, carry: Carry, one: Any) -> tuple[Carry, None]:
        return apply(layer, carry, one), None

    return scan_layers(layers, carry, each, without_output, remat=remat)[0]


def scan_layers(
    layers: Layer,
    carry: Carry,
    each: Any,
    apply: Callable[[Layer, Carry, Any], tuple[Carry, Any]],
    *,
    remat: str = "none",
) -> tuple[Carry, Any]:
    """Runs stacked layers as `run_layers` does, and stacks an output of every layer.

    Args:
      layers: What `stack_layers` returns.
      carry: The value that the first layer reads.
      each: Pytree of arrays with a leading axis of layers.
      apply: Computes the next carry and the output of a layer.
      remat: Key of `REMAT`.

    Returns:
      The carry after the last layer, and the outputs with a leading axis of layers.

    Raises:
      InputError: `remat` is not a key of `REMAT`.
    """
    if remat not in REMAT:
        raise InputError(f"remat {remat!r} is not one of {', '.join(REMAT)}; pass one of these")

    def step(carry: Carry, inputs: tuple[Layer, Any]) -> tuple[Carry, Any]:
        layer, one = inputs
        return apply(layer, carry, one)

    depth = jax.tree.leaves(layers)[0].shape[0]
    # Two layers in a row are 15 % faster on CPU than a loop of two; deeper ones are not.
    unroll = depth if depth <= 2 and remat == "none" else 1
    # Inside a scan XLA cannot merge the second computation with the first, so no barrier is needed.
    step = jax.checkpoint(step, policy=REMAT[remat], prevent_cse=False)
    return jax.lax.scan(step, carry, (layers, each), unroll=unroll)
