"""The figures of all parts, and the page that shows them."""

from typing import Any

from benchmarks.on_accelerator_parts.windows import Speed, speed_of
from jaxssl.training.chips import GIB

Found = dict[str, Any]
LEGEND = (
    "Speeds are those of one device, the median of the windows. torch: Hugging Face's models (SDPA) or",
    'timm\'s, in bfloat16 by autocast, `torch.compile`; "of peak" takes the FLOPs of our step for both. Our',
    "step makes masks and views; theirs makes masks, but gets images that are already augmented. Attention",
    "counts in full where causality or a window hides a part of it (`jaxssl/training/flops.py`).",
    "",
)
ALIKE = 0.01  # networks whose numbers of parameters differ by less are taken for the same
# Tokens a second of one device, from a run of its authors: ModernBERT's on 8 of them, per device.
PUBLISHED = {("modernbert_base", "H100"): 304_000}
HEADER = (
    "| recipe, rows a device | jaxssl: tokens or images a second (slowest, fastest window) "
    "| of peak | peak GiB | compiled in s | same bits twice "
    "| torch: a second | of peak | peak GiB | compiled in s | jaxssl / torch |"
)


def figures_of(ours: Found, peer: Found) -> Found:
    """Computes the figures of one recipe from what its parts have recorded; what is missing is None.

    The peer's share of the peak is that of the FLOPs of our step: what it computes beyond them, such as
    predictions at positions without a target, is no useful work.

    Args:
      ours: What `ours.measure` has recorded.
      peer: What `peer.measure` has recorded.

    Returns:
      Speeds (`Speed`, as dicts) of both, peaks in GiB, and the ratio of the speeds of one device.
    """
    peak, units = ours.get("device", {}).get("peak"), ours.get("units")
    flops_a_unit = ours["flops"] / units if units else None
    first, second = (_speed(found, flops_a_unit, peak) for found in (ours, peer))
    return {
        "jaxssl": first and first._asdict(),
        "torch": second and second._asdict(),
        "ratio": first.rate / second.rate if first and second else None,
        "peak_gib": [_gib(found.get("peak_bytes")) for found in (ours, peer)],
    }


def _speed(found: Found, flops_a_unit: float | None, peak: float | None) -> Speed | None:
    if not found.get("seconds"):
        return None
    flops = None if flops_a_unit is None else flops_a_unit * found["units"]
    return speed_of(found["seconds"], found["units"], flops, peak)


def _gib(count: int | None) -> float | None:
    return None if count is None else count / GIB


def page(results: Found) -> str:
    """Formats everything as Markdown.

    Args:
      results: "command", "date", "machine", "device", "versions" and "seconds" of the whole run; "recipes",
        by name, with "ours", "peer" and "figures"; "attention"; and "notes".
    """
    device = results["device"]
    count, kind = device.get("count", 0), device.get("kind", "no device")
    facts = {**results["machine"], **results["versions"]}
    lines = [
        f"# On {count} x {kind}",
        "",
        f"`{results['command']}`, {results['date']}, {results['seconds']:.0f} s.",
        "; ".join(f"{name} {value}" for name, value in facts.items()) + ".",
        "",
        HEADER,
        "|---" * HEADER.count(" | ") + "|---|",
        *(row(name, found) for name, found in results["recipes"].items()),
        "",
        *LEGEND,
        *attention_lines(results["attention"]),
        *(f"- {note}" for note in results["notes"]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def row(name: str, found: Found) -> str:
    """Formats a recipe as a row of the table.

    Args:
      name: Name of the recipe.
      found: Its "ours", "peer" and "figures".
    """
    ours, peer, figures = found["ours"], found["peer"], found["figures"]
    cells = [
        f"{name}, {ours.get('batch', '-')}",
        *_cells(ours, figures["jaxssl"], figures["peak_gib"][0]),
        {True: "yes", False: "no", None: "-"}[ours.get("repeats")],
        *_cells(peer, figures["torch"], figures["peak_gib"][1]),
        _shown(figures["ratio"], ".2f"),
    ]
    return "| " + " | ".join(cells) + " |"


def _cells(found: Found, speed: Found | None, peak: float | None) -> list[str]:
    """Speed, share of the peak, memory and compile time."""
    shown, share = "-", None
    if speed is not None:
        shown = f"{speed['rate']:,.0f} ({speed['least']:,.0f}, {speed['most']:,.0f})"
        share = speed["share"]
    compiled = _shown(found.get("compile_seconds"), ".0f")
    return [shown, _shown(share, ".1%"), _shown(peak, ".1f"), compiled]


def _shown(number: float | None, form: str) -> str:
    return "-" if number is None else format(number, form)


def attention_lines(found: Found) -> list[str]:
    """Formats the comparison of fused attention with the plain formula; no lines where there is none."""
    cases = found.get("cases", {})
    if not cases:
        return []
    lines = [
        "| attention | computed by | error of states: fused, plain | of a gradient: fused, plain | right |",
        "|---|---|---|---|---|",
    ]
    for name, case in cases.items():
        if "kernel" not in case:
            why = case.get("not_fused") or case["error"]
            lines.append(f"| {name} | {why} | - | - | {'NO' if 'error' in case else '-'} |")
            continue
        pairs = [", ".join(f"{error:.1e}" for error in case[key]) for key in ("states", "gradient")]
        right = "yes" if case["right"] else f"NO ({case['gradient_of']})"
        lines.append(f"| {name} | {case['kernel']} | {pairs[0]} | {pairs[1]} | {right} |")
    return [*lines, ""]


def notes_of(name: str, ours: Found, peer: Found, figures: Found) -> list[str]:
    """Says in sentences what the row of a recipe does not: errors, halved batches, what computes attention.

    Args:
      name: Name of the recipe.
      ours: What our part has recorded.
      peer: What the peer's part has recorded.
      figures: `figures_of` these.
    """
    notes = []
    for side, found in (("jaxssl", ours), ("torch", peer)):
        if found.get("error"):
            notes.append(f"{name}, {side}: {found['error']}")
        if found.get("skipped"):
            notes.append(f"{name}, {side}: time was over before {', '.join(found['skipped'])}")
        if found.get("not_compiled"):
            notes.append(f"{name}, {side}: not compiled ({found['not_compiled']})")
        if found.get("too_large"):
            sizes = ", ".join(map(str, found["too_large"]))
            notes.append(
                f"{name}, {side}: {sizes} rows a device did not fit; {found.get('batch')} were taken"
            )
    for kernel, reason in ours.get("attention", []):
        notes.append(f"{name}: attention by {kernel}{f' ({reason})' if reason else ''}")
    if ours.get("differs"):
        paths = ", ".join(ours["differs"][:3])
        notes.append(
            f"{name}: {len(ours['differs'])} parameters differ after the same steps from the same seed, by "
            f"{ours['largest_difference']:.1e} at most ({paths}); on GPUs "
            "XLA_FLAGS=--xla_gpu_deterministic_ops=true makes them equal"
        )
    counts = [found.get("parameters") for found in (ours, peer)]
    if all(counts) and abs(counts[0] / counts[1] - 1) > ALIKE:
        notes.append(f"{name}: {counts[0]:,} parameters against {counts[1]:,} in torch")
    kind = ours.get("device", {}).get("kind", "")
    for (recipe, chip), published in PUBLISHED.items():
        if recipe == name and chip in kind and figures["jaxssl"]:
            ratio = figures["jaxssl"]["rate"] / published
            notes.append(f"{name}: {ratio:.2f} of the {published:,} tokens/s of its authors")
    return notes
