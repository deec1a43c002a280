"""Chooses what computes attention: a fused kernel where one can, XLA elsewhere, with the reason.

The choice is made while tracing, by the platform of the surrounding mesh, whose devices need not be present
(`jaxssl plan` compiles for others).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

import jax
from jax.sharding import AxisType
from jaxtyping import Array

from jaxssl.errors import InputError
from jaxssl.sharding.layout import mesh_axes

AttentionImplementation = Literal["auto", "xla", "fused"]
KERNELS = {"tpu": "flash", "gpu": "cudnn"}
SMALLEST_BLOCK = 128  # positions that kernels take at a time, at least
SHORTEST = SMALLEST_BLOCK // 2  # positions of a row that are worth a block


@dataclass(frozen=True)
class Choice:
    """What computes an attention, and why."""

    kernel: str
    """"xla", "flash" or "cudnn"."""
    reason: str
    """Why no fused kernel computes it; empty where one does."""


_made: ContextVar[list[Choice] | None] = ContextVar("choices", default=None)
_plain: ContextVar[bool] = ContextVar("plain", default=False)


@contextmanager
def choices_made() -> Iterator[list[Choice]]:
    """Yields a list that fills with the choices made while tracing in this context, each once."""
    choices: list[Choice] = []
    token = _made.set(choices)
    try:
        yield choices
    finally:
        _made.reset(token)


@contextmanager
def plain_attention() -> Iterator[None]:
    """Makes XLA compute every attention that is traced in this context, whatever was asked for.

    Its matrix products can then be counted (`jaxssl/training/flops.py`); a fused kernel hides them.
    """
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def choose(
    implementation: AttentionImplementation,
    queries: Array,
    keys: Array,
    *,
    dropped: bool,
    biased: bool = False,
) -> Choice:
    """Chooses what computes an attention on the platform of the surrounding mesh.

    Args:
      implementation: What the configuration asks for: "auto", "xla" or "fused".
      queries: Queries (or their shapes), `[batch, length, heads, head_dim]`.
      keys: Keys (or their shapes), `[batch, key_length, kv_heads, head_dim]`.
      dropped: Whether dropout acts on the attention weights.
      biased: Whether numbers are added to the scores, as those of relative positions are.

    Returns:
      The kernel, and the reason if it is none that is fused.

    Raises:
      InputError: `implementation` is "fused" and no fused kernel can compute this.
    """
    if _plain.get():
        return Choice("xla", "its products are counted")
    platform = platform_of_mesh()
    reason = "as asked for"
    if implementation != "xla":
        reason = (
            _no_kernel(platform, dropped and implementation == "auto", biased)
            or _no_shape(platform, queries, keys)
            or _no_mesh(platform, queries, keys)
        )
    if implementation == "fused" and reason:
        raise InputError(
            f"attention='fused': {reason}; set attention to 'auto', which takes XLA here"
        )
    choice = Choice("xla" if reason else KERNELS[platform], reason)
    made = _made.get()
    if made is not None and choice not in made:
        made.append(choice)
    return choice


def platform_of_mesh() -> str:
    """Returns the platform ("cpu", "gpu", "tpu") of the surrounding mesh, or of JAX's devices without one."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else device.platform


def _no_kernel(platform: str, dropped: bool, biased: bool) -> str:
    # Dropout on a GPU is fused where it is asked for: it has never run on one.
    if platform not in KERNELS:
        return f"there is no fused kernel for {platform}"
    if biased:
        return "relative positions add biases to the scores (positions='rotary' has none)"
    if dropped and platform == "gpu":
        return (
            "dropout acts on the attention weights (attention='fused' computes it by several passes of "
            "cuDNN, which no test has run on a GPU yet; attention_dropout=0 leaves it out)"
        )
    return ""


def _no_shape(platform: str, queries: Array, keys: Array) -> str:
    head_dim, length = queries.shape[-1], min(queries.shape[1], keys.shape[1])
    if length < SHORTEST:
        return f"{length} positions fill less than half of a block of {SMALLEST_BLOCK}"
    if head_dim % 8:
        return f"the width of heads, {head_dim}, is no multiple of 8"
    if platform == "gpu" and head_dim > 128:
        return f"the width of heads, {head_dim}, is above the 128 of cuDNN"
    if platform == "gpu" and queries.dtype.itemsize > 2:
        return f"cuDNN takes bfloat16, and this is {queries.dtype}"
    return ""


def _no_mesh(platform: str, queries: Array, keys: Array) -> str:
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        several = platform == "tpu" and jax.device_count() > 1
        return "no mesh says how the arrays are sharded over several devices" if several else ""
    if len(set(mesh.axis_types)) > 1 or AxisType.Explicit in mesh.axis_types:
        return f"the mesh has axes of {', '.join(str(kind) for kind in mesh.axis_types)}"
    if AxisType.Manual in mesh.axis_types:  # the arrays are a device's own
        return ""
    for name, size, axis in (
        ("rows", queries.shape[0], "batch"),
        ("heads", queries.shape[2], "heads"),
        ("key heads", keys.shape[2], "kv_heads"),
    ):
        names, ways = mesh_axes(axis, mesh)
        if size % ways:
            return f"{size} {name} do not divide over {ways} devices of {' x '.join(names)}"
    return ""
