"""What the tests of all families of images share."""

import json
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from jaxssl.interop.huggingface.family import family_of
from jaxssl.interop.huggingface.folder_writing import export_again, export_of, write_network
from tests.interop.huggingface.golden_files import (
    arrays,
    check_round_trip,
    golden,
    imported,
    losses,
)


def check_outputs(entry: dict[str, Any], folder: Any, outputs: Any, missing: str = "-") -> Any:
    """Ours computes what torch has computed, and all bytes come back.

    Parameters whose path begins with `missing` are new, since theirs has none.
    """
    found = imported(entry, folder)
    assert all(name.startswith(missing) for name in found.missing)
    found = replace(found, missing=())
    inputs, wanted = arrays(entry["inputs"]), arrays(entry["outputs"])
    ours = jax.jit(lambda model: outputs(replace(found, model=model), inputs))(found.model)
    assert ours.keys() == wanted.keys()
    for part, value in wanted.items():
        scale = max(np.abs(value).max(), 1.0)  # float32 rounds large numbers by more
        np.testing.assert_allclose(ours[part] / scale, value / scale, atol=1e-5, rtol=0)
    check_round_trip(entry, found)
    return found


def check_losses(entry: dict[str, Any], folder: Any, loss_of: Any) -> None:
    """Ten steps of gradient descent go as torch's."""
    found = imported(entry, folder)
    ours = losses(found, loss_of(found, arrays(entry["inputs"])))
    np.testing.assert_allclose(ours, entry["losses"], atol=1e-4, rtol=0)
    assert ours[-1] < ours[0] - 2e-3


def check_config(entry: dict[str, Any], folder: Any) -> None:
    """The config.json that goes out describes the same objective, and says how images are prepared."""
    found, family = imported(entry, folder), family_of(entry["config"])
    out = family.config(found.objective, found.spec, found.architecture)
    assert family.objective(out, found.architecture) == found.objective
    views = found.objective.views
    settings = family.preprocessor(found.objective, found.spec)
    assert (settings["image_mean"], settings["image_std"]) == (list(views.mean), list(views.std))
    assert settings["size"] == dict(zip(("height", "width"), views.size, strict=True))


def check_torch(family: str, folder: Any) -> None:
    """Torch computes the golden numbers, and loads what goes out."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    import importlib

    from tests.interop.huggingface.theirs import case

    cases = importlib.import_module(f"tests.interop.huggingface.theirs.{family}").CASES
    for name, entry in golden(family).items():
        fresh = case.record(cases[name])
        assert fresh["shapes"] == entry["shapes"]
        assert json.loads(json.dumps(fresh["config"])) == entry["config"]
        for part, value in fresh["outputs"].items():
            np.testing.assert_allclose(value, entry["outputs"][part], atol=1e-5)
        np.testing.assert_allclose(fresh["losses"], entry["losses"], atol=1e-4)
        found = imported(entry, folder / name / "in")
        out = folder / name / "out"
        out.mkdir()
        again = export_again(found, found.objective, found.spec)
        write_network(out, again, found.model, found.carried)
        case.reloaded(out, found.architecture)


def check_own_run(objective: Any, spec: Any, architecture: str, folder: Any, read: Any) -> None:
    """A run's own network goes out as `architecture`, and `read` of torch's model gives what ours gives.

    `read` is a function of torch's model and of ours, which returns both numbers.
    """
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.interop.huggingface.theirs import case

    export = export_of(objective, spec)
    assert export.architecture == architecture
    model = objective.init(jax.random.key(0), spec)
    write_network(folder, export, model, objective.init_state(model))
    first, second = read(case.reloaded(folder, architecture).eval(), model)
    np.testing.assert_allclose(first, second, atol=1e-5)
