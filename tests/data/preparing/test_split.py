"""Splitting by document name."""

import pytest

from jaxssl.data.preparing.split import SplitByName, SplitSeeker, name_hash
from jaxssl.errors import InputError


def seek(valid, names):
    seeker = SplitSeeker(valid)
    for name in names:
        seeker.add(name)
    return seeker.split()


def test_hash_is_the_same_everywhere():
    assert name_hash("novels.txt.xz#12") == pytest.approx(0.4134112, abs=1e-7)


def test_share_is_met_and_the_side_of_a_name_depends_on_it_alone():
    names = [f"text.txt#{i}" for i in range(20_000)]
    split = seek(0.05, names)
    held_out = [name for name in names if split.of(name) == "valid"]
    assert len(held_out) == pytest.approx(1_000, rel=0.1)
    fewer = seek(0.05, names[:5_000])
    assert all(fewer.of(name) == split.of(name) for name in names[:5_000])


@pytest.mark.parametrize("valid", [1e-9, 0.02, 0.5, 1 - 1e-9])
@pytest.mark.parametrize("documents", [2, 3, 10])
def test_both_sides_have_a_document(valid, documents):
    names = [f"d{i}" for i in range(documents)]
    split = seek(valid, names)
    assert {split.of(name) for name in names} == {"train", "valid"}


def test_one_document_cannot_be_split():
    with pytest.raises(InputError, match="documents_are='blank_line'"):
        seek(0.02, ["only"])


@pytest.mark.parametrize("valid", [0.0, 1.0, -1.0, 2.0])
def test_share_out_of_bounds(valid):
    with pytest.raises(InputError, match="between 0 and 1"):
        SplitSeeker(valid)


def test_moved_document():
    assert SplitByName(0.0, moved="a").of("a") == "valid"
    assert SplitByName(1.0, moved="a").of("a") == "train"
    assert SplitByName(0.0, moved="a").of("b") == "train"
