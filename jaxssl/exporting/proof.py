"""Compares a run with what was written of it and read back: the content of `proof.json`.

Both compute the same stored inputs in float32, and the largest differences of all outputs are written down,
so that everyone can compute them again, with any library that loads the export.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jaxssl.errors import InputError
from jaxssl.exporting.functions import ModelFunction, functions_of, sample
from jaxssl.models.layers.attention_choice import plain_attention
from jaxssl.pretrained.load import Pretrained

PROOF = "proof.json"
LARGEST_DIFFERENCE = 1e-5  # of outputs of a size around 1
Arrays = dict[str, np.ndarray]
Inputs = Mapping[str, Arrays]
Results = dict[str, Arrays]


def stored_inputs(pretrained: Pretrained) -> dict[str, Arrays]:
    """Returns the inputs of a proof, by function and name; none for a model that computes nothing of texts.

    Args:
      pretrained: What is exported.
    """
    try:
        functions = functions_of(pretrained.objective, pretrained.model, pretrained.spec)
    except InputError:
        return {}
    return {function.name: sample(function, pretrained.spec) for function in functions}


def outputs_of(found: Any, inputs: Inputs) -> Results:
    """Computes all outputs of a model in float32.

    Args:
      found: A `Pretrained`, or something else with an objective, a model, a carried state and a spec.
      inputs: Arrays that are read, by function and name.
    """
    functions = {
        function.name: function
        for function in (functions_of(found.objective, found.model, found.spec) if inputs else ())
    }
    model = in_float32(found)
    with on_host():
        return {
            name: jax.device_get(
                jax.jit(bound(functions[name]))(model, found.carried, **inputs[name])
            )
            for name in inputs
        }


def bound(function: ModelFunction) -> Callable[..., Any]:
    """Returns a function of model, carried state and inputs that XLA computes the attention of."""

    def compute(model: Any, carried: Any, **inputs: Any) -> Any:
        with plain_attention(), jax.default_matmul_precision("highest"):
            return function.compute(model, carried, **inputs)

    return compute


def in_float32(found: Any) -> Any:
    """Returns the model of `found`, a `Pretrained`, made to compute its states in float32."""
    objective = _in_float32(found.objective)
    if objective == found.objective:
        return found.model
    template = jax.eval_shape(lambda key: objective.init(key, found.spec), jax.random.key(0))
    return jax.tree.unflatten(jax.tree.structure(template), jax.tree.leaves(found.model))


def differences(ours: Results, theirs: Results) -> dict[str, dict[str, float]]:
    """Computes the largest absolute difference of every output that both have.

    The pooled embedding of a text is left out where its states are compared: whoever loads a network may pool
    in another way.

    Args:
      ours: Outputs of the run, by function and name.
      theirs: Outputs of what was read back.
    """
    return {
        function: {
            name: float(np.max(np.abs(array - theirs[function][name]), initial=0.0))
            for name, array in outputs.items()
            if name in theirs[function] and not (name == "embedding" and "states" in outputs)
        }
        for function, outputs in ours.items()
    }


def check(found: Mapping[str, Mapping[str, float]], ours: Results) -> None:
    """Raises RuntimeError where what was read back computes other numbers than the run.

    Args:
      found: Differences by function and name.
      ours: Outputs of the run.
    """
    for function, parts in found.items():
        for name, difference in parts.items():
            size = float(np.max(np.abs(ours.get(function, {}).get(name, np.ones(1))), initial=1.0))
            if not difference <= LARGEST_DIFFERENCE * size:
                raise RuntimeError(
                    f"what was exported computes other numbers than the run: {name} of {function} differ by "
                    f"{difference:.2g}"
                )


def described(inputs: Inputs) -> dict[str, Any]:
    """Returns inputs as JSON holds them: tokens in full, pixels by how they are drawn."""
    return {
        function: {
            name: {
                "numpy.random.default_rng": 0,
                "integers": [0, 256],
                "shape": list(array.shape),
            }
            if name == "pixels"
            else array.tolist()
            for name, array in arrays.items()
        }
        for function, arrays in inputs.items()
    }


@contextlib.contextmanager
def on_host() -> Iterator[None]:
    """Computes on the CPU inside this context, where JAX has one, so that no memory of a device is taken."""
    try:
        device = jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS names another platform alone
        yield
        return
    with jax.default_device(device):
        yield


def _in_float32(value: Any) -> Any:
    """The configuration with float32 in every field `compute_dtype`."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    changes = {}
    for field in dataclasses.fields(value):
        old = getattr(value, field.name)
        new = "float32" if field.name == "compute_dtype" else _in_float32(old)
        if new is not old and new != old:
            changes[field.name] = new
    return dataclasses.replace(value, **changes) if changes else value
