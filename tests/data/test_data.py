"""The public names of `jaxssl.data`: each resolves, nothing heavy is loaded before, JAX never."""

import ast
import inspect
import subprocess
import sys

import pytest

import jaxssl.data as data


def test_the_three_lists_of_names_agree():
    """`__all__`, the table that is read at run time, and the imports that type checkers read."""
    by_module = {
        f"jaxssl.data.{module}": set(names) for module, names in vars(data)["_MODULES"].items()
    }
    assert sorted(name for names in by_module.values() for name in names) == sorted(data.__all__)
    block = next(
        node for node in ast.parse(inspect.getsource(data)).body if isinstance(node, ast.If)
    )
    assert {node.module: {a.name for a in node.names} for node in block.body} == by_module


@pytest.mark.parametrize("name", data.__all__)
def test_every_name_is_what_its_module_defines(name):
    found = getattr(data, name)
    assert found.__name__ == name
    assert getattr(sys.modules[found.__module__], name) is found
    assert name in dir(data)


@pytest.mark.parametrize("name", ["Columns", "_Rows", "__path"])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(AttributeError, match=f"'jaxssl.data' has no attribute '{name}'"):
        getattr(data, name)


def test_jax_is_never_imported_and_nothing_is_loaded_early():
    program = """
import sys
import jaxssl.data
assert not {"numpy", "jaxssl.data.rows", "sentencepiece"} & sys.modules.keys()
from jaxssl.data import *
for name in jaxssl.data.__all__:
    assert name in globals(), name
assert "jaxssl.data.rows" in sys.modules
assert not {"jax", "jaxlib", "flax"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
