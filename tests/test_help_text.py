"""`help()` of a public class shows its fields, and what reads docstrings itself is not disturbed."""

import dataclasses
import inspect
import pydoc

import pytest

import jaxssl.augment
import jaxssl.data
import jaxssl.models
import jaxssl.objectives
from jaxssl.help_text import field_docstrings, without_fields
from jaxssl.models import TransformerConfig

CLASSES = [
    value
    for room in (jaxssl.augment, jaxssl.data, jaxssl.models, jaxssl.objectives)
    for name in room.__all__
    if isinstance(value := getattr(room, name), type)
    and (dataclasses.is_dataclass(value) or hasattr(value, "_fields"))
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_field_is_explained_by_help(kind):
    shown = pydoc.plain(pydoc.render_doc(kind))
    names = getattr(kind, "_fields", None) or [field.name for field in dataclasses.fields(kind)]
    found = field_docstrings(kind)
    assert set(found) == set(names)  # and none that only a base declares
    for name in names:
        declaration, text = found[name]
        assert declaration in shown
        assert text, f"{kind.__name__}.{name} has no docstring"
        assert text.splitlines()[0] in shown


def test_the_fields_can_be_hidden():
    with without_fields():
        assert "width: int" not in TransformerConfig.__doc__
    assert "width: int" in inspect.getdoc(TransformerConfig)
    assert dataclasses.replace(TransformerConfig(), width=512).width == 512
