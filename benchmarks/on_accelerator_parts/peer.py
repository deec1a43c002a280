"""The peer's step in torch: Hugging Face's models or timm's, compiled, in bfloat16, with its own optimizer.

This module and those of the models load torch alone, so that torch may live in an environment without JAX.
"""

import importlib.util
import time
from collections.abc import Callable
from typing import Any

from benchmarks.on_accelerator_parts.record import NotHere, Record, error_line
from benchmarks.on_accelerator_parts.windows import time_windows, untimed

NEEDS = {
    "MaskedLM": "transformers",
    "CausalLM": "transformers",
    "Electra": "transformers",
    "SimCLR": "timm",
    "MaskedAutoencoder": "timm",
}
WARM_UP = 3  # steps


def measure(job: dict[str, Any], record: Record) -> None:
    """Builds the peer of a recipe, compiles it, and times its step.

    Args:
      job: "shape" of the recipe (`cases.shape_of`), "batch" of a device, "steps" of a window or None,
        "windows", "tiny", and "deadline", a `time.monotonic()`.
      record: Takes each finding as soon as it is known.

    Raises:
      NotHere: torch, a package that it needs beside it, or a GPU is missing.
    """
    shape, batch = job["shape"], job["batch"]
    for package in ("torch", NEEDS[shape["kind"]]):
        if importlib.util.find_spec(package) is None:
            raise NotHere(f"{package} is not installed")
    import torch

    if not torch.cuda.is_available() and not job["tiny"]:
        raise NotHere("torch finds no GPU")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    record.add(batch=batch, units=batch * shape["rows"]["units"], versions=versions())
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    model, optimizer = build(shape, batch, device)
    record.add(parameters=sum(one.numel() for one in model.parameters()))
    take = warmed_up(
        model, optimizer, device, shape["clip"], compiled=not job["tiny"], record=record
    )
    seconds = time_windows(
        take, windows=job["windows"], steps=job["steps"], deadline=job["deadline"]
    )
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else None
    record.add(seconds=seconds, peak_bytes=peak, skipped=untimed(seconds, job["windows"]))


def warmed_up(
    model: Any, optimizer: Any, device: str, clip: float, *, compiled: bool, record: Record
) -> Callable[[int], None]:
    """Takes the first steps, and returns the function that takes more, as `stepper` does.

    Args:
      model: As in `stepper`, like `optimizer`, `device` and `clip`.
      compiled: Whether the model is compiled. Where the compiler fails, it is taken as it is.
      record: Takes the seconds of the first steps, and the compiler's error.
    """
    import torch

    began = time.perf_counter()
    try:
        take = stepper(model, optimizer, device, clip=clip, compiled=compiled)
        take(WARM_UP)
    except torch._dynamo.exc.TorchDynamoException as error:
        record.add(not_compiled=error_line(error))
        return warmed_up(model, optimizer, device, clip, compiled=False, record=record)
    record.add(compile_seconds=time.perf_counter() - began)
    return take


def build(shape: dict[str, Any], batch: int, device: str) -> tuple[Any, Any]:
    """Returns the model, which makes its own rows and returns their loss, and its optimizer."""
    import torch

    if shape["kind"] in ("SimCLR", "MaskedAutoencoder"):
        from benchmarks.on_accelerator_parts import torch_images as models
    else:
        from benchmarks.on_accelerator_parts import torch_texts as models
    model = models.build(shape, batch, device).to(device).train()
    if shape["kind"] == "SimCLR":
        from timm.optim import Lars

        model = model.to(memory_format=torch.channels_last)
        return model, Lars(model.parameters(), lr=shape["peak"], momentum=0.9, weight_decay=1e-6)
    parameters = list(model.parameters())
    groups = [
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": shape["decay"]},
        {"params": [one for one in parameters if one.ndim < 2], "weight_decay": 0.0},
    ]
    return model, torch.optim.AdamW(groups, lr=shape["peak"], fused=True)


def stepper(
    model: Any, optimizer: Any, device: str, *, clip: float, compiled: bool
) -> Callable[[int], None]:
    """Returns the function that takes so many steps and waits for them.

    Args:
      model: Module whose `rows()` makes new inputs, and that returns their loss.
      optimizer: Optimizer of its parameters.
      device: "cuda" or "cpu".
      clip: Largest norm of the gradient; 0 for none.
      compiled: Whether `torch.compile` compiles the forward and backward pass.
    """
    import torch

    run = torch.compile(model) if compiled else model
    parameters = list(model.parameters())

    def take(steps: int) -> None:
        for _ in range(steps):
            with torch.autocast(device, torch.bfloat16):
                loss = run(*model.rows())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(parameters, clip)
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return take


def versions() -> dict[str, str]:
    """Returns the versions of the packages that a peer is made of."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("torch", "transformers", "timm"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
