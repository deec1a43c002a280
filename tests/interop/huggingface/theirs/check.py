"""Torch itself against the golden numbers, and the class of transformers that loads what goes out."""

import importlib
import json

import numpy as np

from tests.interop.huggingface.golden_files import golden, imported, written
from tests.interop.huggingface.random_folder import write_folder
from tests.interop.huggingface.theirs.case import record, reloaded


def check_family(name, family, folder):
    """Every case of a family."""
    cases = importlib.import_module(f"tests.interop.huggingface.theirs.{name}").CASES
    kept = golden(name)
    assert kept.keys() == cases.keys()
    for key, case in cases.items():
        entry = record(case)
        assert entry["shapes"] == kept[key]["shapes"]
        config = json.loads(json.dumps(entry["config"]))  # which makes keys texts
        assert config == kept[key]["config"] | {"dtype": "float32"}
        for part, value in entry["outputs"].items():
            np.testing.assert_allclose(value, kept[key]["outputs"][part], atol=1e-5)
        np.testing.assert_allclose(entry["losses"], kept[key]["losses"], atol=1e-4)
        found = imported(kept[key], folder / key / "in")
        config = family.config(found.objective, found.spec, found.architecture)
        out = write_folder(folder / key / "out", config, written(found))
        reloaded(out, found.architecture)
