"""Counts the floating-point operations of a training step from the jaxpr of its loss.

Matrix products (`dot_general`) and convolutions are counted, a multiply-add as two operations; elementwise
work, reductions and lookups are not, as is usual for the FLOPs of a model (Chowdhery et al. 2022, "PaLM",
appendix B). The loss is traced on abstract arrays: nothing is computed, and the whole global batch is one
call, whatever the number of devices and microbatches.

Every value of the jaxpr either depends on nothing that is learned (pixels, keys), or on learned arrays
through which no gradient flows (what an objective carries, such as a teacher, and all that is behind
`stop_gradient` or rounded to whole numbers), or on parameters that are differentiated. A product counts
in the highest class among its operands:

    step = 3 x differentiated + forward only          (the backward pass of a product is two products)

Conventions:

    attention      counts in full where it is causal or local, as XLA computes it with a mask; fused kernels,
                   which skip blocks, are replaced by the plain formula while the loss is traced
    padding        of a convolution counts as if it were part of the image; dilated inputs count without zeros
    recomputation  (`remat`, the second pass over cached embeddings) does not count: FLOPs of the model,
                   not of the hardware
    scan           multiplies by its length, `cond` takes its most expensive branch
    while          counts its body once, since its length is unknown, and is named in `StepFlops.uncounted`
    shard_map      multiplies by the number of devices that run its body
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from jaxssl.models.layers.attention_choice import plain_attention
from jaxssl.training.step import abstract_arrays, batch_maker

FREE, STOPPED, DIFFERENTIATED = range(3)  # what a value depends on: see above
OPAQUE = ("pallas_call", "ffi_call", "ragged_dot", "ragged_dot_general")  # products of unknown size

Classes = list[int]  # FREE, STOPPED or DIFFERENTIATED of each of some values


@dataclass(frozen=True)
class StepFlops:
    """Floating-point operations of one step over the global batch, by what they depend on."""

    differentiated: float = 0.0
    """FLOPs of the forward pass that depend on parameters of the model and are differentiated."""
    forward_only: float = 0.0
    """FLOPs that depend on learned arrays without gradient: teachers, and what is behind `stop_gradient`."""
    augmentation: float = 0.0
    """FLOPs that depend on no learned array, such as cropping and resizing images; not part of `total`."""
    uncounted: tuple[str, ...] = ()
    """Names of primitives whose work is unknown: `while` with products counts once, kernels not at all."""

    @property
    def total(self) -> float:
        """FLOPs of a step, with a backward pass that takes twice as many as the forward pass."""
        return 3 * self.differentiated + self.forward_only

    def __add__(self, other: "StepFlops") -> "StepFlops":
        return StepFlops(
            self.differentiated + other.differentiated,
            self.forward_only + other.forward_only,
            self.augmentation + other.augmentation,
            tuple(sorted({*self.uncounted, *other.uncounted})),
        )

    def __mul__(self, times: float) -> "StepFlops":
        return StepFlops(
            self.differentiated * times,
            self.forward_only * times,
            self.augmentation * times,
            self.uncounted,
        )


def step_flops(objective: Any, spec: Any) -> StepFlops:
    """Counts the FLOPs of one training step of an objective over a global batch.

    Args:
      objective: An `Objective` (`jaxssl/objectives/contract.py`).
      spec: Description of the batch, a `TextSpec` or an `ImageSpec`.

    Returns:
      FLOPs of the `spec.batch` rows together. The optimizer's own work is not counted.
    """
    as_read = batch_maker(objective, spec)
    key = jax.eval_shape(lambda: jax.random.key(0))
    model = jax.eval_shape(lambda key: objective.init(key, spec), key)
    state = jax.eval_shape(objective.init_state, model)
    examples = jax.eval_shape(
        lambda arrays, key: objective.corrupt(as_read(arrays), key), abstract_arrays(spec), key
    )
    return forward_flops(objective.loss, model, state, examples, key)


def forward_flops(loss: Callable[..., Any], model: Any, state: Any, *others: Any) -> StepFlops:
    """Counts the FLOPs of one call of a loss, by whether its backward pass differentiates them.

    Args:
      loss: Function of (`model`, `state`, *`others`) that `jax.make_jaxpr` can trace.
      model: Pytree of arrays that are differentiated; `jax.ShapeDtypeStruct` will do for an array.
      state: Pytree of arrays that were learned and are not differentiated; `()` for none.
      others: Pytrees of arrays that were not learned, such as examples and keys.

    Returns:
      The FLOPs of the call. `total` adds those of its backward pass.
    """
    with plain_attention():
        closed = jax.make_jaxpr(loss)(model, state, *others)
    sizes = [len(jax.tree.leaves(part)) for part in (model, state, others)]
    classes = [
        kind
        for kind, size in zip((DIFFERENTIATED, STOPPED, FREE), sizes, strict=True)
        for _ in range(size)
    ]
    return _walk(closed.jaxpr, classes)[1]


def _walk(jaxpr: Jaxpr, inputs: Sequence[int]) -> tuple[Classes, StepFlops]:
    """The classes of the outputs of a jaxpr with inputs of these classes, and its FLOPs."""
    known: dict[Any, int] = dict(zip(jaxpr.invars, inputs, strict=True))

    def read(values: Sequence[Any]) -> Classes:
        return [FREE if isinstance(value, Literal) else known.get(value, FREE) for value in values]

    total = StepFlops()
    for equation in jaxpr.eqns:
        outputs, flops = _equation(equation, read(equation.invars))
        total += flops
        for variable, kind in zip(equation.outvars, outputs, strict=True):
            known[variable] = kind if _has_gradient(variable) else min(kind, STOPPED)
    return read(jaxpr.outvars), total


def _equation(equation: JaxprEqn, inputs: Classes) -> tuple[Classes, StepFlops]:
    """The classes of the outputs of one equation, and its FLOPs."""
    name = equation.primitive.name
    highest = max(inputs, default=FREE)
    same = [highest] * len(equation.outvars)
    if name == "stop_gradient":
        return [min(highest, STOPPED)], StepFlops()
    if name in PRODUCTS:
        return same, _of_class(PRODUCTS[name](equation), highest)
    if name in LOOPS:
        return LOOPS[name](equation, inputs)
    if name in OPAQUE:
        return same, StepFlops(uncounted=(name,))
    inner = list(_jaxprs(equation))
    called = [part for part in inner if _fits(part, equation)]
    if called:
        outputs, flops = _walk(called[0], inputs)
        return outputs, flops * (_devices(equation) if name == "shard_map" else 1)
    # A primitive with code of its own (a sort's comparison, say): its products cannot be classed.
    found = any(_walk(part, [FREE] * len(part.invars))[1].augmentation for part in inner)
    return same, StepFlops(uncounted=(name,) if found else ())


def _of_class(flops: float, kind: int) -> StepFlops:
    return StepFlops(
        differentiated=flops if kind == DIFFERENTIATED else 0.0,
        forward_only=flops if kind == STOPPED else 0.0,
        augmentation=flops if kind == FREE else 0.0,
    )


def _shape(variable: Any) -> tuple[int, ...]:
    return tuple(variable.aval.shape)


def _matrix_product(equation: JaxprEqn) -> float:
    """Two FLOPs for each number of the result and each number that is summed for it."""
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = _shape(equation.invars[0])
    return 2.0 * math.prod(_shape(equation.outvars[0])) * math.prod(left[i] for i in contracted)


def _convolution(equation: JaxprEqn) -> float:
    """Two FLOPs for each number of the result and each number of one output channel of the kernel."""
    kernel, numbers = _shape(equation.invars[1]), equation.params["dimension_numbers"]
    window = math.prod(kernel) // kernel[numbers.rhs_spec[0]]
    zeros = math.prod(equation.params["lhs_dilation"])  # of as many inputs all but one are zero
    return 2.0 * math.prod(_shape(equation.outvars[0])) * window / zeros


def _scan(equation: JaxprEqn, inputs: Classes) -> tuple[Classes, StepFlops]:
    (body,) = _jaxprs(equation)
    # Inputs are constants, carries and scanned arrays; outputs carries and stacked arrays. What is
    # scanned or stacked has an axis more than in the body; the parameters that say so differ in jax 0.12.
    scanned_count = _changed(equation.invars, body.invars)
    carried_count = len(equation.outvars) - _changed(equation.outvars, body.outvars)
    end = len(inputs) - scanned_count
    start = end - carried_count
    fixed, carry, scanned = inputs[:start], inputs[start:end], inputs[end:]

    def run(carry: Classes) -> tuple[Classes, StepFlops]:
        return _walk(body, [*fixed, *carry, *scanned])

    outputs, flops = _settled(run, carry)
    return outputs, flops * equation.params["length"]


def _changed(outer: Sequence[Any], inner: Sequence[Any]) -> int:
    """How many of these values have another shape inside a loop's body than outside."""
    pairs = zip(outer, inner, strict=True)
    return sum(out.aval.shape != within.aval.shape for out, within in pairs)


def _while(equation: JaxprEqn, inputs: Classes) -> tuple[Classes, StepFlops]:
    of_test, of_body = equation.params["cond_nconsts"], equation.params["body_nconsts"]
    fixed, carry = inputs[of_test : of_test + of_body], inputs[of_test + of_body :]
    body = equation.params["body_jaxpr"].jaxpr
    outputs, flops = _settled(lambda carry: _walk(body, [*fixed, *carry]), carry)
    has_products = flops.total or flops.augmentation
    return outputs, flops + StepFlops(uncounted=("while",) if has_products else ())


def _settled(
    run: Callable[[Classes], tuple[Classes, StepFlops]], carry: Classes
) -> tuple[Classes, StepFlops]:
    """Runs a loop's body until the classes of what it hands to its next round rise no more."""
    while True:
        outputs, flops = run(carry)
        grown = [max(pair) for pair in zip(carry, outputs[: len(carry)], strict=True)]
        if grown == carry:
            return [*grown, *outputs[len(carry) :]], flops
        carry = grown


def _cond(equation: JaxprEqn, inputs: Classes) -> tuple[Classes, StepFlops]:
    branches = [_walk(branch, inputs[1:]) for branch in _jaxprs(equation)]
    outputs = [max(kinds) for kinds in zip(*(outputs for outputs, _ in branches), strict=True)]
    return outputs, max((flops for _, flops in branches), key=_size)


def _size(flops: StepFlops) -> float:
    return flops.total + flops.augmentation


PRODUCTS = {"dot_general": _matrix_product, "conv_general_dilated": _convolution}
LOOPS = {"scan": _scan, "while": _while, "cond": _cond}


def _jaxprs(equation: JaxprEqn) -> Iterator[Jaxpr]:
    """The jaxprs among the parameters of an equation, in order."""
    for parameter in equation.params.values():
        for value in parameter if isinstance(parameter, tuple | list) else (parameter,):
            if isinstance(value, ClosedJaxpr):
                yield value.jaxpr
            elif isinstance(value, Jaxpr):
                yield value


def _fits(jaxpr: Jaxpr, equation: JaxprEqn) -> bool:
    """Whether the equation calls the jaxpr on its own inputs (jit, remat, custom_vjp, shard_map, …)."""
    return len(jaxpr.invars) == len(equation.invars) and len(jaxpr.outvars) == len(equation.outvars)


def _devices(equation: JaxprEqn) -> int:
    """The number of devices that a `shard_map` runs its body on, each on its own part."""
    mesh = equation.params["mesh"]
    axes = equation.params.get("manual_axes", mesh.axis_names)
    return math.prod(mesh.shape[axis] for axis in axes)


def _has_gradient(variable: Any) -> bool:
    """Whether the type is one through which gradients flow: whole numbers and keys stop them."""
    return jnp.issubdtype(variable.aval.dtype, jnp.inexact)
