"""The model card of an export, its `README.md`: what was learned from what, and how it is loaded."""

import json
import math
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import jax

import jaxssl
from jaxssl.exporting.formats import Written
from jaxssl.exporting.row_content import RowContent
from jaxssl.pretrained.load import Pretrained
from jaxssl.runs.description import describe
from jaxssl.runs.resume import OF_COMMAND

LONGEST_WAIT = 10  # seconds for git
LIBRARIES = ("jax", "flax", "optax")


@dataclass(frozen=True)
class Facts:
    """What is known of a run beside its model."""

    run: str
    """Name of the run."""
    data: str = ""
    """Fingerprint of the rows that the run has read; empty if it is not known."""
    content: RowContent | None = None
    """What a row of the data holds; None where the data are not at hand."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Metrics of the held-out evaluation after the exported step, by name."""


def model_card(
    pretrained: Pretrained, written: Written, facts: Facts, difference: float, folder: str
) -> str:
    """Returns the text of a model card.

    Args:
      pretrained: What was exported.
      written: What was written.
      facts: What is known of the run.
      difference: Largest difference between outputs of the run and of the export.
      folder: Name of the folder in the commands.
    """
    objective = pretrained.objective
    name = Path(facts.run).name or "model"
    about = (type(objective).__doc__ or "").strip().split("\n")[0]
    rows = "\n".join(f"| {key} | {value} |" for key, value in _table(pretrained, facts, difference))
    config = {k: v for k, v in describe(pretrained.config).items() if k not in OF_COMMAND}
    return f"""{_front_matter(written, type(objective).__name__)}
# {name}

{written.what[0].upper()}{written.what[1:]}, pretrained with the objective `{type(objective).__name__}` of \
[jaxssl](https://pypi.org/project/jaxssl/). {about}

## How to load it

```python
{written.loading.replace("FOLDER", folder)}
```

## What it is

| | |
|---|---|
{rows}

## Recipe

```json
{json.dumps(config, indent=1, ensure_ascii=False)}
```
"""


def _front_matter(written: Written, objective: str) -> str:
    lines = ["---", f"library_name: {written.library}"]
    if written.task:
        lines.append(f"pipeline_tag: {written.task}")
    return "\n".join([*lines, "tags:", "- jaxssl", f"- {objective}", "---"])


def _table(pretrained: Pretrained, facts: Facts, difference: float) -> list[tuple[str, str]]:
    config, spec = pretrained.config, pretrained.spec
    parameters = sum(leaf.size for leaf in jax.tree.leaves(pretrained.model))
    rows = [
        ("run", f"`{facts.run}`, step {pretrained.step:,} of {config.steps:,}"),
        ("parameters", f"{parameters:,}"),
    ]
    if config.start:
        rows.append(("began with the parameters of", f"`{config.start}`"))
    rows.append(("data", ", ".join(f"`{path}`" for path in config.data.paths)))
    if facts.data:
        rows.append(("fingerprint of the data", f"`{facts.data}`"))
    read = pretrained.step * config.data.batch
    if facts.content is not None:
        rows += [
            (f"sha256 of `{path}/manifest.json`", f"`{digest}`")
            for path, digest in facts.content.manifests.items()
        ]
        tokens, words = facts.content.tokens * read, facts.content.words * read
        if tokens:
            rows.append(
                ("seen", f"{tokens:,.0f} tokens of text, {words:,.0f} words, in {read:,} rows")
            )
    if facts.content is None or not facts.content.tokens:
        rows.append(("seen", f"{read:,} rows of {spec.in_words}"))
    scores = {name: value for name, value in facts.scores.items() if math.isfinite(value)}
    if scores:
        rows.append(("held-out scores", ", ".join(f"{n} {v:.4g}" for n, v in scores.items())))
    rows.append(("largest difference to the run", f"{difference:.2g} (`proof.json`)"))
    rows.append(("written with", versions()))
    return rows


def versions() -> str:
    """Returns the versions of jaxssl and of the libraries it computes with, and the commit of a checkout."""
    parts = [f"jaxssl {jaxssl.__version__}"]
    if known := commit():
        parts[0] += f" (commit {known})"
    return ", ".join(parts + [f"{name} {version(name)}" for name in LIBRARIES])


def commit() -> str:
    """Returns the commit of the checkout that jaxssl is imported from; empty for an installed package."""
    root = Path(jaxssl.__file__).parent.parent
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_WAIT)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
