import doctest
import importlib
import pkgutil

import pytest

import jaxssl.losses

MODULES = sorted(module.name for module in pkgutil.iter_modules(jaxssl.losses.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    module = importlib.import_module(f"jaxssl.losses.{name}")
    assert doctest.testmod(module).failed == 0


def test_every_public_function_has_an_example() -> None:
    for name in jaxssl.losses.__all__:
        assert ">>> " in (getattr(jaxssl.losses, name).__doc__ or ""), name
