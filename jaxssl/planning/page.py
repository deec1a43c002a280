"""Renders a plan as a page of text, and as JSON."""

import dataclasses
from typing import Any

import jax

import jaxssl
from jaxssl.models.layers.attention_choice import Choice
from jaxssl.planning.collectives import Total, overlapped_share
from jaxssl.planning.estimate import ASSUMPTIONS, Estimate
from jaxssl.planning.forecast import Forecast
from jaxssl.planning.measure import Measured, Memory
from jaxssl.planning.plan import Plan

GIB = 2**30


def as_text(plan: Plan, name: str) -> str:
    """Renders the page that `jaxssl plan` prints.

    Args:
      plan: The plan.
      name: Name of the recipe.
    """
    counts, target = plan.counts, plan.target
    slices = f" x {target.slices} slices" if target.slices > 1 else ""
    mesh = ", ".join(f"{axis} {size}" for axis, size in plan.mesh.items())
    lines = [
        f"{name} on {target.text}{slices}: {target.device_count} devices, mesh {mesh}",
        f"  rows        {plan.rows} ({plan.rows_from})",
        f"  batch       {plan.batch:,} rows in {plan.microbatches} microbatches, "
        f"{counts.units:,} {plan.unit}; {rows_of_device(plan)} rows of a device at a time",
        f"  parameters  {counts.parameters / 1e6:,.1f} M, {counts.flops:.3g} FLOPs a step, "
        f"{counts.flops / counts.units / counts.parameters:.2f} a parameter and {plan.unit[:-1]}",
        f"  checkpoint  {counts.state / 1e9:,.2f} GB",
        f"  training    {plan.steps:,} steps, {plan.steps * counts.units:.3g} {plan.unit}",
    ]
    if plan.measured is None:
        lines += [
            f"  memory      {counts.state_per_device / GIB:.3f} GiB of state a device, of "
            f"{target.memory / GIB:.2f}",
            f"  not compiled, so no temporaries, collectives or time: {plan.not_compiled}",
        ]
    else:
        lines += _measured(plan, plan.measured)
    return "\n".join(lines)


def rows_of_device(plan: Plan) -> int:
    """Returns the number of rows of a microbatch that each device of `plan` has."""
    return plan.batch // plan.microbatches // (plan.mesh["data"] * plan.mesh["fsdp"])


def _measured(plan: Plan, measured: Measured) -> list[str]:
    """The lines about the compiled program."""
    lines = [
        f"  hosts       {plan.target.hosts}, each reads {measured.host_rows} rows of a batch from "
        "any shard",
        *_memory(measured.memory),
        f"  attention   {'; '.join(map(_attention, measured.attention)) or 'none'}",
        *_skipped(plan),
        f"  collectives of a step (compiled in {measured.seconds:.0f} s)",
        *(_collective(total) for total in measured.collectives),
    ]
    if not measured.collectives:
        lines.append("    none")
    if (share := overlapped_share(measured.collectives)) is not None:
        lines.append(f"    {share:.0%} of the bytes are sent while the device computes")
    lines.append(f"  compiler    {measured.compiler_options or 'no options of ours'}")
    if measured.estimate is None:
        return [*lines, "  time        no estimate: the peaks of CPUs are not in data sheets"]
    lines += _estimate(plan, measured.estimate)
    return lines if measured.forecast is None else lines + _forecast(measured.forecast)


def _memory(memory: Memory) -> list[str]:
    """The lines about memory."""
    lines = [
        f"  memory      {memory.total / GIB:.3f} GiB a device of {memory.limit / GIB:.2f} "
        f"({memory.total / memory.limit:.0%}): arguments {memory.arguments / GIB:.3f}, "
        f"temporaries {memory.temporaries / GIB:.3f}, output {memory.output / GIB:.3f}, "
        f"program {memory.program / GIB:.3f}"
    ]
    if memory.host:
        lines.append(f"  host        {memory.host / GIB:.3f} GiB a device in its host's memory")
    return lines


def _attention(choice: Choice) -> str:
    """How an attention is computed."""
    if not choice.reason:
        return f"fused ({choice.kernel})"
    return f"XLA, with the scores in memory: {choice.reason}"


def _skipped(plan: Plan) -> list[str]:
    """The lines about blocks of attention that are skipped."""
    documents = "if no document ended within a row (--document TOKENS sets their mean length)"
    if plan.document is not None:
        documents = f"in rows of documents of {plan.document:,.0f} tokens on average"
    return [
        f"              {share:.0%} of the blocks of {name} are skipped, {documents}"
        for name, share in plan.skipped.items()
    ]


def _collective(total: Total) -> str:
    """The line about the collectives of one kind."""
    return (
        f"    {total.kind:<19}{total.count:>4} in the program{total.runs:>7} runs"
        f"{total.sent / 2**20:>11,.1f} MiB sent by a device, {total.overlapped} overlap compute"
    )


def _estimate(plan: Plan, found: Estimate) -> list[str]:
    """The lines about time, and its assumptions."""
    seconds = plan.steps * found.step
    return [
        f"  time        at best {found.step * 1e3:,.2f} ms a step, bound by {found.bound_by}: "
        f"arithmetic {found.arithmetic * 1e3:.2f}, memory {found.memory * 1e3:.2f}, collectives "
        f"{found.collectives * 1e3:.2f} of which {found.exposed * 1e3:.2f} are not hidden",
        f"              {found.utilisation:.0%} of peak, {found.units_per_second:,.0f} {plan.unit}/s, "
        f"{seconds / 86400:,.2f} days",
        "  a roofline, which assumes:",
        *(f"    - {assumption}" for assumption in ASSUMPTIONS),
    ]


def _forecast(found: Forecast) -> list[str]:
    """The lines about the compiler's own estimate of the time."""
    parts = (
        f"    {name:<22}{cycles / 1e6:>9.2f} M cycles{cycles / found.cycles:>6.0%}"
        for name, cycles in found.parts.items()
    )
    dearest = (
        f"    {operation.total / 1e6:>8.2f} M  {operation.runs:>4} runs  {operation.part:<14} "
        f"{operation.source or operation.name}"
        for operation in found.dearest
    )
    lines = [
        f"  forecast    {found.seconds * 1e3:,.2f} ms a step, {found.utilisation:.0%} of peak: "
        f"{found.cycles / 1e6:,.1f} M cycles {found.source}",
        *parts,
        "  the operations that take longest",
        *dearest,
    ]
    if found.kernels:
        lines.append(
            f"  {found.kernels / 1e6:,.1f} M cycles of these are Pallas kernels, by our own estimate"
        )
    if found.uncovered:
        lines.append(f"  without an estimate: {', '.join(found.uncovered)}")
    return lines


def as_json(plan: Plan, name: str) -> dict[str, Any]:
    """Returns all numbers of a plan, in bytes and seconds, as a dictionary for JSON.

    Args:
      plan: The plan.
      name: Name of the recipe.
    """
    counts, measured, target = plan.counts, plan.measured, plan.target
    content = {
        "config": name,
        "on": target.text,
        "slices": target.slices,
        "chips": target.chips,
        "devices": target.device_count,
        "hosts": target.hosts,
        "chip": dataclasses.asdict(target.chip) if target.chip else None,
        **{
            key: getattr(plan, key)
            for key in (
                "mesh",
                "batch",
                "microbatches",
                "steps",
                "rows_from",
            )
        },
        **plan.shape,
        "rows_per_device": rows_of_device(plan),
        **dataclasses.asdict(counts),
        plan.unit: counts.units,
        f"training_{plan.unit}": plan.steps * counts.units,
        "checkpoint_bytes": counts.state,
        "memory_limit": target.memory,
        "not_compiled": plan.not_compiled or None,
        "document_tokens": plan.document,
        "skipped_blocks": plan.skipped,
        "versions": {"jax": jax.__version__, "jaxssl": jaxssl.__version__},
    }
    if measured is None:
        return content
    content |= dataclasses.asdict(measured)
    content["memory"]["total"] = measured.memory.total
    content["overlapped_share"] = overlapped_share(measured.collectives)
    if measured.estimate is not None:
        content["estimate"][f"{plan.unit}_per_second"] = measured.estimate.units_per_second
        content["days"] = plan.steps * measured.estimate.step / 86400
        content["assumptions"] = list(ASSUMPTIONS)
    return content
