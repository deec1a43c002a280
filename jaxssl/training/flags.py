"""Flags of a command line: each names a field of the configuration once, and its value means something.

What is wrong is told in one line, with the flag that was probably meant.
"""

import dataclasses
import difflib
import math
import re
from collections.abc import Iterator
from typing import Any

from jaxssl.errors import InputError

SIMILAR = 0.8  # least similarity of a name that is suggested
LARGEST = 2**31 - 1  # of whole numbers: steps and seeds are int32 on the device
ODD = re.compile(r"[\x00-\x1f\ud800-\udfff]")  # control characters, and bytes that are not UTF-8
BOX = "│╭╮╰╯ "  # around a line of tyro's boxes; without UTF-8 there are only rules
RULE = re.compile(r"[─-]{3,}$")
PLAIN_WORDS = (
    (r"^Error parsing (--\S+): ", r"\1: "),
    (r"invalid literal for int\(\) with base 10: (.*)", r"\1 is no whole number"),
    (r"could not convert string to float: (.*)", r"\1 is no number"),
    (r"Could not find valid parse for arguments: (.*)", r"\1 is of another type"),
)
# What other libraries call a field, and the fields that are suggested for it; the first that exists is.
ALIASES = {
    ("lr", "learning_rate", "max_lr", "peak_lr", "base_lr"): ("optimizer.peak",),
    ("batch_size", "bs", "train_batch_size", "per_device_train_batch_size"): (
        "data.batch",
        "batch",
    ),
    ("gradient_accumulation", "grad_accumulation", "grad_accum", "accumulation", "accum_iter"): (
        "microbatches",
    ),
    ("gradient_accumulation_steps", "grad_accumulation_steps", "grad_accum_steps"): (
        "microbatches",
    ),
    ("accumulation_steps", "accum_steps", "accumulate_grad_batches"): ("microbatches",),
    ("tau", "temp"): ("objective.temperature",),
    ("weight_decay", "wd"): ("optimizer.decay",),
    ("warmup_steps", "num_warmup_steps", "warmup_ratio"): ("optimizer.warmup",),
    ("max_steps", "num_steps", "train_steps", "num_train_steps", "total_steps", "max_iters"): (
        "steps",
    ),
    ("num_epochs", "num_train_epochs", "max_epochs"): ("epochs", "steps"),
    ("epochs",): ("steps",),
    ("grad_clip", "gradient_clipping", "max_grad_norm", "clip_grad", "clip_norm"): (
        "optimizer.clip",
    ),
    ("lr_scheduler", "lr_scheduler_type", "lr_schedule", "scheduler"): ("optimizer.schedule",),
    ("beta1", "adam_beta1"): ("optimizer.b1",),
    ("beta2", "adam_beta2"): ("optimizer.b2",),
    ("eps", "adam_epsilon"): ("optimizer.epsilon",),
    ("ema", "ema_decay"): ("average",),
    ("output", "out", "output_dir", "out_dir", "save_dir", "log_dir", "workdir"): ("run",),
    ("save_steps", "save_interval", "checkpoint_every"): ("save_every",),
    ("eval_steps", "eval_every", "eval_interval"): ("evaluate_every",),
    ("log_every", "log_steps", "logging_steps", "log_interval"): ("report_every",),
    ("dataset", "dataset_name", "data_dir", "data_path", "train_file"): ("data.path", "data.train"),
    ("checkpoint", "pretrained", "init_from", "load_from", "model_name_or_path"): (
        "task.checkpoint",
        "start",
    ),
    ("resume", "resume_from_checkpoint"): ("run",),
    ("mlm_probability", "mask_prob", "mask_ratio"): ("objective.rate",),
    ("dtype", "precision", "bf16", "fp16", "mixed_precision"): (
        "objective.encoder.compute_dtype",
        "objective.decoder.compute_dtype",
    ),
    ("hidden_size", "d_model", "n_embd", "dim"): (
        "objective.encoder.width",
        "objective.decoder.width",
    ),
    ("num_layers", "n_layers", "n_layer", "num_hidden_layers", "layers"): (
        "objective.encoder.depth",
        "objective.decoder.depth",
    ),
    ("num_heads", "n_heads", "n_head", "num_attention_heads"): (
        "objective.encoder.heads",
        "objective.decoder.heads",
    ),
    ("seq_length", "seq_len", "max_seq_length", "block_size", "context_length", "max_length"): (
        "data.prepare.length",
        "data.length",
    ),
    ("vocab_size",): ("data.prepare.tokenizer.vocab_size",),
}
FIELDS_OF = {alias: fields for aliases, fields in ALIASES.items() for alias in aliases}


def check_flags(config: Any, flags: list[str]) -> None:
    """Checks that every flag names a field of the configuration, and none twice.

    Args:
      config: Configuration that the flags change.
      flags: Words of the command line.

    Raises:
      InputError: A flag names no field, or one that another flag names as well.
    """
    known, seen = field_names(config), set[str]()
    for flag in flags:
        if not flag.startswith("--"):
            continue
        name = flag[2:].split("=")[0].replace("-", "_")
        *above, last = name.split(".")
        plain = ".".join([*above, last.removeprefix("no_")])
        field = name if name in known else plain
        if field not in known:
            raise InputError(
                f"there is no field {flag.split('=')[0]}{_hint(name, known)}; --help lists all"
            )
        if field in seen:
            raise InputError(f"{as_flag(field)} is given twice; give it once")
        seen.add(field)


def as_flag(field: str) -> str:
    """Returns the flag that changes a `field`, given by its dotted path."""
    return "--" + field.replace("_", "-")


def _hint(name: str, known: list[str]) -> str:
    """Returns which fields `name` may stand for, as the rest of a sentence; "" if it is like none."""
    inside = [field for field in known if field.startswith(f"{name}.")]
    if inside:
        return f", but a group of fields such as {as_flag(inside[0])}"
    last = name.split(".")[-1]
    same = [field for field in known if field.replace(".", "_") == name.replace(".", "_")]
    named = [field for field in FIELDS_OF.get(last, ()) if field in known]
    ending = sorted((field for field in known if field.split(".")[-1] == last), key=len)
    if found := [*same, *named, *ending]:
        return f"; it is named {as_flag(found[0])}"
    near = difflib.get_close_matches(name, known, 1, SIMILAR)
    return f"; the nearest is {as_flag(near[0])}" if near else ""


def field_names(config: Any, prefix: str = "") -> list[str]:
    """Returns the dotted paths of all fields of `config` that a flag can change, each behind `prefix`."""
    return [path for path, _, _ in fields_of(config, prefix)]


def fields_of(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yields the dotted path, the value and the default of every field that a flag can change.

    Args:
      config: A configuration; dataclasses within it are groups of fields.
      prefix: What every path begins with.
    """
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if dataclasses.is_dataclass(value):
            yield from fields_of(value, f"{prefix}{entry.name}.")
        else:
            yield prefix + entry.name, value, entry.default


def check_values(config: Any, before: Any) -> None:
    """Checks values that no field can mean.

    Args:
      config: The configuration after its flags.
      before: The configuration without them, whose values are allowed.

    Raises:
      InputError: A number is infinite, not a number or too large, or a text cannot be a name.
    """
    allowed = {field: value for field, value, _ in fields_of(before)}
    for field, value, default in fields_of(config):
        old = allowed.get(field)
        if old is value or old == value:  # NaN is not equal to itself
            continue
        for part in value if isinstance(value, tuple) else (value,):
            if reason := "must not be empty" if part == "" != default else _reason(part):
                raise InputError(f"{as_flag(field)} {part!a} {reason}")


def _reason(value: Any) -> str:
    """Returns what is wrong with a value; "" if nothing is."""
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    if isinstance(value, int) and abs(value) > LARGEST:
        return f"is beyond the largest number, {LARGEST:,}"
    if isinstance(value, str) and ODD.search(value):
        return "holds characters that no name or path can have"
    return ""


def in_one_line(printed: str) -> str:
    """Returns what tyro has `printed` about a wrong value, a box of several lines, as one line."""
    blocks: list[list[str]] = [[]]  # heading, message, explanation of the field
    for line in (line.strip(BOX) for line in printed.splitlines()):
        if RULE.search(line):
            blocks.append([])
        elif line:
            blocks[-1].append(line)
    text = " ".join(blocks[min(1, len(blocks) - 1)]).rstrip(".")
    for pattern, replacement in PLAIN_WORDS:
        text = re.sub(pattern, replacement, text)
    return f"{text}; --help lists all fields"
