"""The text of a compiled program: iterations of loops, and shapes."""

import pytest

from jaxssl.planning.program_text import bits, read_program, shapes_of
from tests.planning.loop_program import LOOP


def test_a_loop_counts_as_often_as_it_goes_round():
    program = read_program(LOOP)
    assert program.times["main.9"] == 1
    assert program.times["body.2"] == program.times["gather_fusion"] == 12
    known = LOOP.replace(
        "body=%body.2", 'body=%body.2, backend_config={"known_trip_count":{"n":"5"}}'
    )
    assert read_program(known).times["body.2"] == 5
    with pytest.raises(ValueError, match="no ENTRY"):
        read_program("HloModule nothing")


def test_shapes():
    printed = "(f32[8,4]{1,0:T(8,128)S(1)}, /*index=1*/s32[], bf16[3]{0}, pred[7], f8e4m3fn[5])"
    shapes = shapes_of(printed)
    assert [shape.bytes for shape in shapes] == [128, 4, 6, 7, 5]
    assert [shape.fast for shape in shapes] == [True, False, False, False, False]
    assert bits("s4") == 4
    with pytest.raises(ValueError, match="not an element type"):
        bits("tuple")
