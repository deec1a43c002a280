"""Predicts what a run needs on devices that this machine does not have: memory, collectives, time.

The step of `train.py` (`make_step`) is compiled for the devices of a topology; nothing runs. Without a
compiler for the target, the plan contains what can be counted from shapes alone.
"""

from dataclasses import dataclass, replace

from jaxssl.data.rows import TextSpec
from jaxssl.errors import InputError
from jaxssl.planning import refusals
from jaxssl.planning.assumed_rows import assumed_rows
from jaxssl.planning.counts import Counts, Spec, count, mesh_sizes
from jaxssl.planning.measure import Measured, measure, measure_apart
from jaxssl.planning.skipped_blocks import document_length, skipped_shares
from jaxssl.planning.targets import NoCompiler, Target, check_compiler, target_devices
from jaxssl.training.config import Pretraining


@dataclass(frozen=True)
class Plan:
    """Everything that `jaxssl plan` reports."""

    target: Target
    """The devices."""
    mesh: dict[str, int]
    """Number of devices on each axis of the mesh: "data", "fsdp" and "tensor"."""
    batch: int
    """Rows of the global batch."""
    microbatches: int
    """Number of microbatches into which the batch is split."""
    steps: int
    """Steps of the run."""
    rows: str
    """The rows or images in words, such as "224x224x3 pixels"."""
    shape: dict[str, int]
    """Sizes of a row or an image, as from `shape_of`."""
    unit: str
    """What is counted: "tokens" or "images"."""
    rows_from: str
    """Where the description of the rows comes from, in words."""
    counts: Counts
    """What is known from shapes alone."""
    measured: Measured | None
    """What is known from the compiled program; None if it could not be compiled."""
    not_compiled: str
    """Why `measured` is None; "" if it is not."""
    document: float | None
    """Mean number of tokens of a document, for the blocks that attention skips; None if unknown."""
    skipped: dict[str, float]
    """Share of the blocks of attention that each network skips; empty where no kernel skips any."""


def make_plan(
    config: Pretraining,
    target: Target,
    *,
    length: int | None = None,
    vocab_size: int | None = None,
    size: tuple[int, int] | None = None,
    document: int | None = None,
    trace: str = "",
) -> Plan:
    """Makes the plan of a run: checks the configuration, and compiles the step for the target.

    Args:
      config: Configuration of the run.
      target: The devices.
      length: Length of a row, or of a caption, in tokens; None as for `assumed_rows`.
      vocab_size: Number of token ids; None likewise.
      size: Height and width of images in pixels; None likewise.
      document: Mean number of tokens of a document; None: that of the prepared set, if there is one.
      trace: File to write the schedule of the step to, as a trace for Perfetto; empty for none.

    Returns:
      The plan; without what needs a compiled program, if the compiler is not installed or crashes.

    Raises:
      InputError: The run cannot work; the message has the reason and a way out.
    """
    spec, rows_from = assumed_rows(config, length, vocab_size, size)
    sizes = mesh_sizes(config, target)
    refusals.check_batch(config, sizes)
    refusals.check_heads(config, sizes)
    refusals.check_slices(sizes, target)
    if target.chip is None:
        # Before anything is computed, since JAX makes its CPU devices only once
        target_devices(target)
    counts = count(config, spec, sizes)
    refusals.check_state(counts.state_per_device, config, sizes, target)
    measured, reason = None, ""
    try:
        check_compiler(target)
        compiled_where = measure if target.chip is None else measure_apart
        measured = compiled_where(config, spec, target, counts, trace)
    except NoCompiler as error:
        reason = str(error)
    tokens = document_length(config.data.paths[0], document) if spec.unit == "tokens" else None
    return Plan(
        target=target,
        mesh=sizes,
        batch=config.data.batch,
        microbatches=config.microbatches,
        steps=config.steps,
        rows=spec.in_words,
        shape=shape_of(spec),
        unit=spec.unit,
        rows_from=rows_from,
        counts=counts,
        measured=measured,
        not_compiled=reason,
        document=tokens,
        skipped=_skipped(config, spec, measured, tokens),
    )


def _skipped(
    config: Pretraining, spec: Spec, measured: Measured | None, document: float | None
) -> dict[str, float]:
    """Share of the blocks of attention that each network skips, where the kernel for TPUs computes it."""
    kernels = [] if measured is None else [choice.kernel for choice in measured.attention]
    if "flash" not in kernels or not isinstance(spec, TextSpec):
        return {}
    return skipped_shares(refusals.networks(config.objective), spec.length, document)


def largest_microbatch(
    config: Pretraining,
    target: Target,
    *,
    length: int | None = None,
    vocab_size: int | None = None,
    size: tuple[int, int] | None = None,
) -> Pretraining:
    """Finds the largest microbatch that fits into memory, by bisection.

    This takes as many compilations as the logarithm (base 2) of the number of divisors of a device's
    rows.

    Args:
      config: Configuration of the run; its `microbatches` has no effect.
      target: The devices.
      length: Length of a row, or of a caption, in tokens; None as for `assumed_rows`.
      vocab_size: Number of token ids; None likewise.
      size: Height and width of images in pixels; None likewise.

    Returns:
      The configuration with the smallest number of microbatches that fits.

    Raises:
      InputError: Not even microbatches of one row per device fit, or the step cannot be compiled.
    """
    sizes = mesh_sizes(config, target)
    refusals.check_batch(replace(config, microbatches=1), sizes)
    rows = config.data.batch // (sizes["data"] * sizes["fsdp"])
    counts = [m for m in range(1, rows + 1) if rows % m == 0]

    def attempt(index: int) -> InputError | None:
        try:
            candidate = replace(config, microbatches=counts[index])
            plan = make_plan(candidate, target, length=length, vocab_size=vocab_size, size=size)
        except refusals.DoesNotFit as error:
            return error
        if plan.measured is None:
            raise InputError(
                f"the largest microbatch is found by compiling, which failed: {plan.not_compiled}"
            )
        return None

    low, high = 0, len(counts) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if attempt(middle) else (low, middle)
    if low == len(counts) - 1 and (error := attempt(low)):
        raise error
    return replace(config, microbatches=counts[low])


def shape_of(spec: Spec) -> dict[str, int]:
    """Returns the sizes of a row of text, or of an image and its caption, that `spec` describes."""
    if isinstance(spec, TextSpec):
        return {"length": spec.length, "vocab_size": spec.vocab_size}
    captions = {} if spec.captions is None else shape_of(spec.captions)
    return {"height": spec.height, "width": spec.width, "channels": spec.channels, **captions}
