"""The held-out share is one of the text, whether there are many documents or one, short or long ones."""

import dataclasses
import random

import pytest

from jaxssl.data.preparing.held_out import HeldOut, choose_held_out
from jaxssl.data.preparing.split import name_hash
from jaxssl.data.sources.texts import Document
from jaxssl.data.stores.json_files import read_json, write_json
from jaxssl.errors import InputError

PIECES = ("a word ", "the ", "of\n", "line\n")


def documents_of(*sizes) -> list[Document]:
    chance = random.Random(0)
    return [
        Document(f"#{i}", "".join(chance.choices(PIECES, k=size // 4)))
        for i, size in enumerate(sizes)
    ]


def divide(documents, held_out):
    """The characters of each split; every character of every document occurs once, in order."""
    found = {"train": 0, "valid": 0}
    for document in documents:
        parts = list(held_out.parts(document))
        assert "".join(part.text for _, part in parts) == document.text
        assert len({part.name for _, part in parts}) == len(parts)
        for split, part in parts:
            found[split] += len(part.text)
    return found


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9])
@pytest.mark.parametrize(
    "sizes",
    [
        [20_000],  # a single file
        [300_000, 900],  # a novel and a note
        [100, 1000, 30_000, 80_000, 100, 40_000],
        [200] * 60,
        [50_000] * 10,
        [200] * 180 + [400_000],  # one document that is most of the text
        [100] * 12_000,
    ],
)
def test_the_share_is_met(share, sizes):
    documents = documents_of(*sizes)
    found = divide(documents, choose_held_out(documents, share))
    assert found["valid"] / sum(found.values()) == pytest.approx(share, rel=0.11)
    assert found["train"] > 0


def test_of_many_documents_the_side_depends_on_the_name_alone():
    documents = documents_of(*[40] * 12_000)
    held_out = choose_held_out(documents, 0.1)
    assert held_out == HeldOut(below=0.1) == choose_held_out(documents[:9000], 0.1)
    for document in documents[:200]:
        split = "valid" if name_hash(document.name) < 0.1 else "train"
        assert list(held_out.parts(document)) == [(split, document)]


def test_no_more_documents_are_read_than_tell_that_they_are_many():
    read = []
    endless = (read.append(i) or Document(f"#{i}", "text") for i in range(10**9))
    choose_held_out(endless, 0.5)
    assert len(read) == 401


def test_a_section_keeps_lines_whole():
    document = Document("novel", "".join(f"line number {i}\n" for i in range(10_000)))
    (_, before), (split, section), (_, after) = choose_held_out([document], 0.1).parts(document)
    assert split == "valid"
    assert before.text.endswith("\n")
    assert section.text.startswith("line number ")
    assert section.text.endswith("\n")
    assert after.text.startswith("line number ")
    assert (before.name, section.name) == ("novel", f"novel@{len(before.text)}")


def test_names_of_files_that_are_no_text(tmp_path):
    documents = [Document(f"\udcff{i}", "some words\n" * 40) for i in range(5)]
    held_out = choose_held_out(documents, 0.3)
    write_json(tmp_path / "held_out.json", dataclasses.asdict(held_out))
    assert read_json(tmp_path / "held_out.json", HeldOut) == held_out
    found = divide(documents, held_out)
    assert found["valid"] / sum(found.values()) == pytest.approx(0.3, rel=0.11)


def test_few_words_are_divided_at_spaces_or_not_at_all():
    document = Document("a", "hello world")
    parts = list(choose_held_out([document], 0.1).parts(document))
    assert "".join(part.text for _, part in parts) == "hello world"
    assert {split for split, _ in parts} == {"train", "valid"}


@pytest.mark.parametrize("share", [0, 1, -0.5, 1.5, float("nan")])
def test_share_out_of_bounds(share):
    with pytest.raises(InputError, match=f"valid={share} must be a fraction between 0 and 1"):
        choose_held_out([], share)
