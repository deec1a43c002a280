import doctest
import importlib
import pkgutil
import re

import pytest

import jaxssl.losses

MODULES = ["jaxssl.losses"] + sorted(
    module.name for module in pkgutil.walk_packages(jaxssl.losses.__path__, "jaxssl.losses.")
)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


def test_every_public_function_has_an_example_and_says_what_it_raises() -> None:
    for name in jaxssl.losses.__all__:
        text = getattr(jaxssl.losses, name).__doc__ or ""
        assert ">>> " in text, name
        assert "Raises:" in text, name


def test_every_published_loss_cites_its_paper_and_section() -> None:
    for name in set(jaxssl.losses.__all__) - {
        "mean_squared_error",
        "mean_squared_error_per_example",
    }:
        references = (getattr(jaxssl.losses, name).__doc__ or "").partition("References:")[2]
        assert re.search(r"\b(19|20)\d\d\b", references), name
        assert re.search(r"(section|equation|algorithm|appendix|figure)s?\s[\dA-Z]", references), (
            name
        )
