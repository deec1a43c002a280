"""Runs one part of the benchmark in a process of its own: `python -m … JOB.json RECORD.json`.

A device's memory is then free for the part, its peak is the part's own, and a part that dies takes nothing
with it.
"""

import importlib
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks.on_accelerator_parts.record import Record


def run(job: dict[str, Any], record: Record) -> None:
    """Runs a part, and records the error that ends it.

    Args:
      job: "part", the module that measures it, "seconds" until no further window begins, and what
        `measure` of that module takes.
      record: Takes what the part finds.
    """
    deadline = time.monotonic() + job["seconds"]
    try:
        module = importlib.import_module(f"benchmarks.on_accelerator_parts.{job['part']}")
        module.measure({**job, "deadline": deadline}, record)
    except Exception as error:
        traceback.print_exc()
        record.add_error(error)


if __name__ == "__main__":
    run(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Record(sys.argv[2]))
