"""The tables of source lines in front of a compiled program."""

from jaxssl.planning.source_lines import Frame, SourceLines

TABLES = """\
HloModule jit_step, is_scheduled=true

FileNames
1 "/a/jaxssl/models/transformer.py"
2 "/a/jaxssl/models/layers/mlp.py"
3 "/b/lib/site-packages/optax/_src/update.py"

FunctionNames
1 "Transformer.__call__"
2 "FeedForward.__call__"
3 "apply_updates"

FileLocations
1 {file_name_id=1 function_name_id=1 line=10 end_line=10 column=4 end_column=9}
2 {file_name_id=2 function_name_id=2 line=20 end_line=21 column=4 end_column=9}
3 {file_name_id=3 function_name_id=3 line=30 end_line=30 column=4 end_column=9}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=2}
3 {file_location_id=3 parent_frame_id=1}

%fused (param: f32[8]) -> f32[8] {
"""


def test_a_stack_is_innermost_first():
    lines = SourceLines(TABLES)
    outer = Frame("/a/jaxssl/models/transformer.py", "Transformer.__call__", 10)
    inner = Frame("/a/jaxssl/models/layers/mlp.py", "FeedForward.__call__", 20)
    assert lines.stack('metadata={op_name="x" stack_frame_id=2}') == [inner, outer]
    assert lines.stack('metadata={op_name="x" stack_frame_id=1}') == [outer]
    assert lines.stack('metadata={op_name="x"}') == []
    assert lines.stack('metadata={op_name="x" stack_frame_id=9}') == []


def test_a_place_begins_with_its_package():
    lines = SourceLines(TABLES)
    assert str(lines.stack("stack_frame_id=2")[0]) == "jaxssl/models/layers/mlp.py:20"
    assert str(lines.stack("stack_frame_id=3")[0]) == "optax/_src/update.py:30"


def test_a_program_without_tables_has_no_stacks():
    assert SourceLines("HloModule x\n").stack("stack_frame_id=1") == []
