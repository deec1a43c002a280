import doctest
import importlib
import pkgutil
import re
import sys

import pytest

import jaxssl.losses

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(jaxssl.losses.__path__, "jaxssl.losses.")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


def test_every_public_function_tells_all() -> None:
    """An example, what is raised, and the paper with its place or the function that has it."""
    for name in jaxssl.losses.__all__:
        text = getattr(jaxssl.losses, name).__doc__ or ""
        module = sys.modules[getattr(jaxssl.losses, name).__module__].__doc__ or ""
        assert ">>> " in text, name
        assert re.search(r"[Rr]aise[sd]", text), name
        cited = r"\b(19|20)\d\d\b|\(ELECTRA, (section|equation) \d"
        assert re.search(cited, text) or re.search(r"as\s`|raises\swhat|raised,\sas\s`", text), name
        assert re.search(r"section \d|equations? \d|algorithm \d|\d\.\d", text + module), name
