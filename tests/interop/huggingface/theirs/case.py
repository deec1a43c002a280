"""What a case of golden numbers is made of, and how torch computes it."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file

from tests.interop.huggingface.golden_files import RATE, STEPS
from tests.interop.huggingface.random_folder import random_tensors, shapes_of, write_folder

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
    name_of: Callable[[str], str] = str
    """Name of a tensor in a folder, from that which transformers writes."""
    sines: tuple[str, ...] = ()
    """Last parts of the names of tables of sine positions, which are not random."""


def record(case: Case) -> dict[str, Any]:
    """The entry of a case: random weights, outputs, and losses of ten steps of gradient descent."""
    model = case.model.eval()
    shapes = {case.name_of(name): form for name, form in shapes_of(saved(model)).items()}
    for name, form in shapes.items():
        if name.endswith(case.sines or "-"):
            form.append("sine")
    load(model, random_tensors(shapes))
    inputs = {name: torch.tensor(value) for name, value in case.inputs.items()}
    with torch.no_grad():
        outputs = case.outputs(model, inputs)
    config = model.config.to_diff_dict() | {"architectures": [type(model).__name__]}
    return {
        "config": config,
        "shapes": shapes,
        "inputs": {name: rounded(value) for name, value in case.inputs.items()},
        "outputs": {name: rounded(o.numpy()) for name, o in outputs.items()},
        "losses": [] if case.loss is None else descend(model, case.loss, inputs),
    }


def rounded(values: np.ndarray) -> list[Any]:
    """Numbers for a JSON file."""
    exact = np.round(values.astype(float), DIGITS) if values.dtype.kind == "f" else values
    found: list[Any] = exact.tolist()
    return found


def saved(model: Any) -> dict[str, np.ndarray]:
    """The tensors that transformers writes, under the names that it gives them."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(f"{folder}/model.safetensors")


def load(model: Any, tensors: dict[str, np.ndarray]) -> None:
    """Sets the weights, as transformers reads them from a folder."""
    config = model.config.to_dict() | {"architectures": [type(model).__name__]}
    with tempfile.TemporaryDirectory() as folder:
        other = reloaded(write_folder(Path(folder), config, tensors), type(model).__name__)
        model.load_state_dict(other.state_dict())


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
