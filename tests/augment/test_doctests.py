import doctest
import importlib
import pkgutil

import pytest

import jaxssl.augment

MODULES = ["jaxssl.augment"] + sorted(
    module.name for module in pkgutil.walk_packages(jaxssl.augment.__path__, "jaxssl.augment.")
)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_the_package_itself_has_an_example() -> None:
    assert doctest.testmod(jaxssl.augment).attempted > 3
