"""Fused attention on this device against the plain formula: values and gradients of small transformers.

Each case is a transformer of two layers, three times with the same parameters and rows: with
`attention="fused"` in bfloat16, with `attention="xla"` in bfloat16, and with the latter in float32 at the
highest precision. An error is the norm of the difference from float32 over the norm of the latter, for the
states and for the gradient by each parameter. Fused attention is right where no error is more than twice
that of the plain formula in bfloat16.
"""

import time
import traceback
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.on_accelerator_parts.device import describe_device
from benchmarks.on_accelerator_parts.record import Record, error_line
from jaxssl.errors import InputError
from jaxssl.models.layers.attention_choice import choices_made
from jaxssl.models.layers.packing import positions_of
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.sharding.layout import path_of
from jaxssl.sharding.mesh import Mesh

BATCH, LENGTH, VOCABULARY = 4, 1000, 512  # the length is no multiple of a block
PREFIX = 20  # positions of a document that all others of it see
LARGEST_RATIO = 2.0  # of the fused error to the plain one
SMALLEST_ERROR = 1e-6  # the plain error is taken for at least this
BASE = TransformerConfig(
    depth=2,
    width=256,
    heads=4,
    mlp=512,
    positions="rotary",
    norm_first=True,
    final_norm=True,
    segment_types=0,
    bias=False,
    dropout=0.0,
    initializer_range=0.1,
)
CASES = {
    "documents": BASE,
    "causal": replace(BASE, causal=True),
    "key heads shared": replace(BASE, kv_heads=2),
    "window": replace(BASE, window=64, global_every=2),
    "causal with prefix": replace(BASE, causal=True),
    "dropout": replace(BASE, attention_dropout=0.1),
    "causal with dropout": replace(BASE, causal=True, attention_dropout=0.1),
}


class Outcome(NamedTuple):
    """What one way to compute attention gives."""

    states: np.ndarray
    """States after the last layer, 0 at padding."""
    gradients: dict[str, np.ndarray]
    """Gradient by each parameter, by its path."""


def measure(job: dict[str, Any], record: Record) -> None:
    """Compares both ways in each case that a fused kernel computes.

    Args:
      job: "tiny", and "deadline", a `time.monotonic()` after which no further case begins.
      record: Takes the result of each case as soon as it is known.
    """
    record.add(device=describe_device(tiny=job["tiny"]), cases={})
    for name, config in CASES.items():
        if time.monotonic() > job["deadline"]:
            record.add(error=f"stopped before {name!r}: time is over")
            return
        length = 64 if job["tiny"] else LENGTH
        config = replace(config, max_length=length)
        try:
            found = check(config, length, with_prefix="prefix" in name)
        except (
            Exception
        ) as failure:  # a kernel may fail in many ways, and the other cases are worth having
            traceback.print_exc()
            found = {"error": error_line(failure)}
        record.add(cases={**record.found["cases"], name: found})


def check(config: TransformerConfig, length: int, *, with_prefix: bool) -> dict[str, Any]:
    """Compares fused attention with the plain formula in a transformer of this shape.

    Args:
      config: Shape of the transformer; what computes attention, and its type, are set here.
      length: Positions of a row.
      with_prefix: Whether some positions are seen by all others of their document.

    Returns:
      Either "not_fused", the reason why no kernel computes this, or the kernel's name with what `compare`
      returns.
    """
    fused = replace(config, attention="fused", compute_dtype="bfloat16")
    plain = replace(fused, attention="xla")
    try:
        with choices_made() as choices:
            of_fused = outcome(fused, length, with_prefix=with_prefix)
    except InputError as error:
        reason = str(error).removeprefix("attention='fused': ").partition(";")[0]
        return {"not_fused": reason}
    of_plain = outcome(plain, length, with_prefix=with_prefix)
    with jax.default_matmul_precision("highest"):
        exact = replace(plain, compute_dtype="float32")
        of_exact = outcome(exact, length, with_prefix=with_prefix)
    return {"kernel": choices[0].kernel, **compare(of_fused, of_plain, of_exact)}


def outcome(config: TransformerConfig, length: int, *, with_prefix: bool) -> Outcome:
    """Computes states and gradients of a transformer with the parameters and rows of fixed seeds.

    Args:
      config: Shape of the transformer.
      length: Positions of a row.
      with_prefix: Whether some positions are seen by all others of their document.

    Raises:
      InputError: The configuration asks for a fused kernel, and none can compute it.
    """
    mesh = Mesh().make(jax.devices()[:1])
    run = make_program(config, length, mesh, with_prefix=with_prefix)
    states, gradients = jax.device_get(run(jax.random.key(0)))
    leaves = jax.tree_util.tree_flatten_with_path(gradients)[0]
    return Outcome(states, {path_of(keys): leaf for keys, leaf in leaves})


def make_program(config: TransformerConfig, length: int, mesh: Any, *, with_prefix: bool) -> Any:
    """Returns the compiled function of a random key that returns states and gradients.

    The value that is differentiated is the product of the states with random numbers.

    Args:
      config: Shape of the transformer.
      length: Positions of a row.
      mesh: Mesh of one device, whose platform decides what computes attention.
      with_prefix: Whether the first positions of a document are seen by all others of it.
    """
    segments = documents(length)
    real = segments != 0
    random = np.random.default_rng(1)
    tokens = random.integers(0, VOCABULARY, segments.shape, np.int32)
    direction = random.normal(size=(*segments.shape, config.width)).astype(np.float32)
    direction *= real[..., None]

    @jax.jit
    def run(key: Any) -> Any:
        prefix = real & (positions_of(segments) < PREFIX) if with_prefix else None

        def product(model: Any) -> Any:
            with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
                states = model(tokens, segments, prefix=prefix, key=jax.random.fold_in(key, 1))
            states = states.astype(jnp.float32)
            return (states * direction).sum(), states

        gradients, states = jax.grad(product, has_aux=True)(config.make(key, VOCABULARY))
        return states * real[..., None], gradients

    return run


def documents(length: int) -> np.ndarray:
    """Returns document numbers of four rows: one document, two, many, and several before padding."""
    segments = np.ones((BATCH, length), np.int32)
    segments[1, length * 2 // 5 :] = 2
    segments[2] = 1 + np.arange(length) // max(length // 12, 1)
    segments[3] = 1 + np.arange(length) // max(length // 3, 1)
    segments[3, length * 3 // 4 :] = 0
    return segments


def compare(fused: Outcome, plain: Outcome, exact: Outcome) -> dict[str, Any]:
    """Compares the errors of two outcomes, both against a third one.

    Args:
      fused: Outcome that is checked.
      plain: That of the plain formula in the same type.
      exact: That of the plain formula in float32.

    Returns:
      Whether `fused` is right; its errors and those of `plain`: of the states, and of the gradient in which
      `fused` is farthest from `plain`, with its path.
    """
    errors = {"states": (error(fused.states, exact.states), error(plain.states, exact.states))}
    for path, gradient in exact.gradients.items():
        ways = (fused.gradients[path], plain.gradients[path])
        errors[path] = (error(ways[0], gradient), error(ways[1], gradient))
    ratios = {path: mine / max(other, SMALLEST_ERROR) for path, (mine, other) in errors.items()}
    states = errors["states"]
    worst = max((path for path in ratios if path != "states"), key=lambda path: ratios[path])
    return {
        # A comparison with NaN is false.
        "right": all(ratio <= LARGEST_RATIO for ratio in ratios.values()),
        "states": states,
        "gradient": errors[worst],
        "gradient_of": worst,
    }


def error(found: np.ndarray, exact: np.ndarray) -> float:
    """Returns the norm of the difference over the norm of `exact`."""
    gap = np.linalg.norm(np.asarray(found, np.float64) - np.asarray(exact, np.float64))
    return float(gap / np.linalg.norm(np.asarray(exact, np.float64)))
