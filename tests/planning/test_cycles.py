"""The compiler's cycles of each operation, and the part of the step that it belongs to."""

from jaxssl.planning.cycles import by_part, operations_of
from jaxssl.planning.program_text import read_program
from jaxssl.planning.source_lines import SourceLines
from tests.planning.cycles_program import TEXT


def test_operations_count_once_an_iteration_and_belong_to_parts():
    """A fusion belongs to its product, one that only slices moves data, and scalars do not matter."""
    operations = operations_of(read_program(TEXT), SourceLines(TEXT))
    assert [(o.name, o.part, o.cycles, o.runs, o.total) for o in operations] == [
        ("product", "feed-forward", 1000, 3, 3000),
        ("layer", "moving data", 100, 3, 300),
        ("copy.1", "moving data", 50, 1, 50),
        ("update", "optimizer", 25, 1, 25),
    ]
    assert operations[0].source == "jaxssl/models/layers/mlp.py:10"
    assert operations[2].source == ""


def test_parts_are_sums():
    operations = operations_of(read_program(TEXT), SourceLines(TEXT))
    parts = by_part(operations)
    assert parts == {"feed-forward": 3000, "moving data": 350, "optimizer": 25}
    assert list(parts) == ["feed-forward", "moving data", "optimizer"]


def test_programs_of_other_devices_have_no_cycles():
    text = TEXT.replace("estimated_cycles", "something_else")
    assert operations_of(read_program(text), SourceLines(text)) == []
