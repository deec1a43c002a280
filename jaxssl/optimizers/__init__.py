"""Optimizers: what a recipe writes as `optimizer=AdamW(peak=5e-4, warmup=1_000)`.

Each configuration is a frozen dataclass; `make(steps)` returns an optax gradient transformation with
the learning-rate schedule, the gradient clipping and the weight decay included.

    AdamW       the default for transformers
    Lamb        AdamW for very large batches: updates scaled to the norm of each layer's parameters
    Lars        momentum SGD for very large batches, as in SimCLR, BYOL, Barlow Twins and VICReg
    Sgd         momentum SGD, as in SimSiam
    Lion        sign of a momentum; one moment per parameter instead of two
    Adafactor   second moments kept as row and column means; almost no memory
    Muon        orthogonalised momentum for the kernels of the layers, AdamW for the rest

`Recipe` holds the fields that all of them share, and is the base class for one of your own. Any of them
can keep its state in bfloat16 (`moments`) or in the host's memory (`host_moments`).
"""

from jaxssl.optimizers.recipe import Recipe, Schedule
from jaxssl.optimizers.recipes import (
    Adafactor,
    AdamW,
    Lamb,
    Lars,
    Lion,
    Muon,
    Sgd,
)

__all__ = [
    "Adafactor",
    "AdamW",
    "Lamb",
    "Lars",
    "Lion",
    "Muon",
    "Recipe",
    "Schedule",
    "Sgd",
]
