"""What a case of golden numbers is made of, and how torch computes it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers

from tests.interop.huggingface.golden_files import RATE, STEPS
from tests.interop.huggingface.random_folder import random_tensors, shapes_of

DIGITS = 6


@dataclass(frozen=True)
class Case:
    """A small torch model, what it reads, and what is compared."""

    model: Any
    """Torch model, such as `BertForMaskedLM(config)`."""
    inputs: dict[str, np.ndarray]
    """What it reads and what its loss needs."""
    outputs: Callable[[Any, dict[str, torch.Tensor]], dict[str, torch.Tensor]]
    """Function of model and inputs: "logits", "states" and so on, those of padding set to 0."""
    loss: Callable[[Any, dict[str, torch.Tensor]], torch.Tensor] | None = None
    """Function of model and inputs: the loss that is trained with; None for a network without one."""


def record(case: Case) -> dict[str, Any]:
    """The entry of a case: random weights, outputs, and losses of ten steps of gradient descent."""
    model = case.model.eval()
    tied = set(getattr(model, "all_tied_weights_keys", {}) or {})
    stored = {n: t.detach().numpy() for n, t in model.state_dict().items() if n not in tied}
    shapes = shapes_of(stored)
    load(model, random_tensors(shapes))
    inputs = {name: torch.tensor(value) for name, value in case.inputs.items()}
    with torch.no_grad():
        outputs = case.outputs(model, inputs)
    config = model.config.to_diff_dict() | {"architectures": [type(model).__name__]}
    return {
        "config": config,
        "shapes": shapes,
        "inputs": {name: value.tolist() for name, value in case.inputs.items()},
        "outputs": {
            name: np.round(o.numpy().astype(float), DIGITS).tolist() for name, o in outputs.items()
        },
        "losses": [] if case.loss is None else descend(model, case.loss, inputs),
    }


def load(model: Any, tensors: dict[str, np.ndarray]) -> None:
    """Sets the weights; those that are tied follow."""
    missing, surplus = model.load_state_dict(
        {name: torch.tensor(value) for name, value in tensors.items()}, strict=False
    )
    assert not surplus, surplus
    tied = set(getattr(model, "all_tied_weights_keys", {}) or {})
    assert set(missing) <= tied, missing
    model.tie_weights()


def descend(model: Any, loss: Any, inputs: dict[str, torch.Tensor]) -> list[float]:
    """The loss before each step of plain gradient descent; dropout is off."""
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    values = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        value = loss(model, inputs)
        value.backward()
        optimizer.step()
        values.append(round(value.item(), DIGITS))
    return values


def reloaded(folder: Any, architecture: str) -> Any:
    """The model of a folder; fails where a key is missing or unexpected."""
    kind = getattr(transformers, architecture)
    model, report = kind.from_pretrained(folder, output_loading_info=True)
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not report[problem], (problem, report[problem])
    return model
