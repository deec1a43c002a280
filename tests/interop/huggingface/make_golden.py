"""Writes golden/FAMILY.json from torch: `python -m tests.interop.huggingface.make_golden bert`."""

import importlib
import json
import sys

from tests.interop.huggingface.golden_files import GOLDEN


def main(family: str) -> None:
    """Records every case of a family."""
    from tests.interop.huggingface.theirs.case import record

    cases = importlib.import_module(f"tests.interop.huggingface.theirs.{family}").CASES
    entries = {name: record(case) for name, case in cases.items()}
    lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in entries.items()]
    GOLDEN.mkdir(exist_ok=True)
    path = GOLDEN / f"{family}.json"
    path.write_text("{" + ",\n".join(lines) + "}\n")
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    for family in sys.argv[1:]:
        main(family)
