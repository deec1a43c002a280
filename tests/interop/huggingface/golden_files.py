"""Golden numbers of families: what torch has computed for random folders, and how ours are compared with it.

A file golden/FAMILY.json has an entry for each architecture:

    config     content of config.json
    shapes     dtype and shape of every tensor by name; `random_tensors` draws them
    inputs     arrays by name, as `theirs/FAMILY.py` makes them
    outputs    arrays by name: "logits", "states" (hidden states), …
    losses     loss before each of ten steps of gradient descent
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from jaxssl.interop.huggingface.family import family_of
from jaxssl.interop.huggingface.folder import Imported, read_folder
from jaxssl.interop.huggingface.rules import write_parameters
from tests.interop.huggingface.random_folder import random_tensors, write_folder

GOLDEN = Path(__file__).parent / "golden"
RATE, STEPS = 0.05, 10  # of gradient descent


def golden(family: str) -> dict[str, Any]:
    """The entries of a family by architecture."""
    entries: dict[str, Any] = json.loads((GOLDEN / f"{family}.json").read_text())
    return entries


def arrays(values: dict[str, Any]) -> dict[str, np.ndarray]:
    """Lists as arrays; numbers with a fraction are float32, others int32."""
    found = {name: np.asarray(value) for name, value in values.items()}
    return {
        name: value.astype(np.float32 if value.dtype.kind == "f" else np.int32)
        for name, value in found.items()
    }


def imported(entry: dict[str, Any], folder: Path) -> Imported:
    """The folder of an entry, written and read."""
    return read_folder(write_folder(folder, entry["config"], random_tensors(entry["shapes"])))


def written(found: Imported) -> dict[str, np.ndarray]:
    """The tensors that go out again: those of the rules, and those that were not used."""
    family = family_of(found.config)
    rules = family.rules(found.objective, found.architecture)
    dtype = found.dtype if found.dtype != "bfloat16" else jax.numpy.bfloat16
    tensors = dict(write_parameters(rules, found.model, dtype=dtype))
    rules = family.state_rules(found.objective, found.architecture)
    tensors |= dict(write_parameters(rules, found.carried, dtype=dtype))
    return tensors | {name: found.unused.view(name) for name in found.unused.names}


def check_round_trip(entry: dict[str, Any], found: Imported) -> None:
    """What goes out is what came in, byte for byte."""
    came, goes = random_tensors(entry["shapes"]), written(found)
    assert not found.missing
    assert goes.keys() == came.keys()
    for name, tensor in came.items():
        assert (goes[name].dtype, goes[name].shape) == (tensor.dtype, tensor.shape), name
        assert goes[name].tobytes() == tensor.tobytes(), name


def losses(found: Imported, loss: Callable[[Any], jax.Array]) -> list[float]:
    """The loss before each of ten steps of plain gradient descent."""
    value_and_grad = jax.jit(jax.value_and_grad(loss))
    model, values = found.model, []
    for _ in range(STEPS):
        value, gradient = value_and_grad(model)
        values.append(float(value))
        model = jax.tree.map(lambda leaf, slope: leaf - RATE * slope, model, gradient)
    return values


def check_outputs(
    entry: dict[str, Any], found: Imported, outputs: Callable[[Imported, Any], dict[str, Any]]
) -> None:
    """Logits, all states and whatever else the entry has are those of torch, to 1e-5."""
    inputs, wanted = arrays(entry["inputs"]), arrays(entry["outputs"])
    ours = jax.jit(lambda model: outputs(replace(found, model=model), inputs))(found.model)
    assert ours.keys() == wanted.keys()
    for part, value in wanted.items():
        np.testing.assert_allclose(ours[part], value, atol=1e-5, rtol=0, err_msg=part)


def check_ten_steps(
    entry: dict[str, Any], found: Imported, loss: Callable[[Any], jax.Array], *, falls: float
) -> None:
    """Ten steps of gradient descent have the losses of torch, to 1e-4; the loss falls by so much."""
    ours = losses(found, loss)
    np.testing.assert_allclose(ours, entry["losses"], atol=1e-4, rtol=0)
    assert ours[-1] < ours[0] - falls


def next_token_loss(logits: Any, tokens: Any, segments: Any) -> jax.Array:
    """The mean over all tokens that follow another one of their document; logits are one shorter."""
    counts = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] != 0)
    nats = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
    return (nats * counts).sum() / counts.sum()
