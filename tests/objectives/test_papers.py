"""The table of papers names classes and recipes that exist, and every class of an objective."""

import re
import sys
from pathlib import Path

from jaxssl import objectives

LINE = re.compile(r"^    (\S.*?\S)  +(\w+)(\(.*?\))?  +(\w[\w, ]*)$")
ROWS = [match for line in (objectives.__doc__ or "").splitlines() if (match := LINE.match(line))]


def test_classes_and_recipes_exist():
    rows = [row for row in ROWS if row[1] != "paper"]
    assert len(rows) >= 27
    for row in rows:
        assert row[2] in objectives.__all__, row[0]
        for recipe in row[4].split(", "):
            assert Path(f"configs/{recipe}.py").exists(), row[0]
    abstract = {"Objective", "ContrastiveObjective", "TwoViews"}
    trained = {
        name
        for name in objectives.__all__
        if isinstance(kind := getattr(objectives, name), type)
        and objectives.Objective in kind.__mro__
    }
    assert trained - abstract == {row[2] for row in rows}


def test_every_objective_lists_its_deviations_from_its_paper():
    for row in ROWS:
        kind = getattr(objectives, row[2], None)
        if kind is None:
            continue
        text = sys.modules[kind.__module__].__doc__ or ""
        listed = re.search(r"^Deviations from the paper.*\n((?:  .*\n)+)", text, re.MULTILINE)
        assert listed, row[2]
        reasons = re.split(r"^  - ", listed[1], flags=re.MULTILINE)[1:]
        assert reasons, row[2]
