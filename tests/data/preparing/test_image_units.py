"""Units of images: pixels, labels and captions of a shard, and what it depends on."""

import dataclasses

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordReader

from jaxssl.data.prepared.documents import read_documents
from jaxssl.data.prepared.image_manifest import ImageShard
from jaxssl.data.preparing.image_units import ImageJob, Loaded
from jaxssl.data.preparing.units import Unit, finished_shard
from jaxssl.data.sources.decode_image import Unreadable
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.errors import InputError
from tests.data.tiny_corpus import write_vocabulary
from tests.data.tiny_images import encoded, picture


@pytest.fixture
def job(tmp_path):
    vocabulary = write_vocabulary(tmp_path)
    (tmp_path / "units").mkdir()
    return ImageJob(
        folder=str(tmp_path / "units"),
        height=9,
        width=7,
        channels=3,
        fit="crop",
        skips=False,
        length=5,
        dtype="uint16",
        tokenizer=vocabulary,
        fingerprint=load_tokenizer(vocabulary).fingerprint,
    )


def loaded(number, **changes):
    image = Loaded(f"{number}.png", encoded(picture("RGB", number)), number, "ban")
    return image._replace(**changes)


def records(job, shard):
    read = ArrayRecordReader(f"{job.folder}/{shard.file}").read_all()
    return np.frombuffer(b"".join(read), job.record)


def test_a_shard_holds_pixels_labels_and_captions(job):
    images = [loaded(0), loaded(1, caption="ban bar bas bat ben"), loaded(2, caption=None)]
    unit = Unit("train", 0, images)
    shard = job.write(unit)
    assert (shard.rows, shard.cut, shard.skipped) == (3, 1, ())
    found = records(job, shard)
    for number in range(3):
        np.testing.assert_array_equal(found["pixels"][number], np.asarray(picture("RGB", number)))
    assert found["label"].tolist() == [0, 1, 2]
    tokenizer = load_tokenizer(job.tokenizer)
    pad, begin, end = tokenizer.pad, tokenizer.begin, tokenizer.end
    words = tokenizer.encode(["ban bar bas"])[0].tolist()
    assert found["tokens"].tolist() == [
        [begin, words[0], end, pad, pad],
        [begin, *words, end],
        [begin, end, pad, pad, pad],
    ]
    names, offsets, documents = read_documents(
        job.note(Unit("train", 0, images)).with_suffix(".documents.npz")
    )
    assert names == ["0.png", "1.png", "2.png"]
    assert offsets.tolist() == [0, 1, 2, 3]
    assert documents.tolist() == [0, 1, 2]
    assert finished_shard(job.note(unit), ImageShard) == shard


def test_without_captions_there_are_no_tokens(job):
    plain = dataclasses.replace(job, length=0, dtype="", tokenizer="", fingerprint="")
    shard = plain.write(Unit("train", 0, [loaded(0)]))
    assert records(plain, shard).dtype.names == ("pixels", "label")


@pytest.mark.parametrize("content", [b"torn", Unreadable("the disk is broken")])
def test_a_broken_image_is_an_error_or_left_out(job, content):
    unit = Unit("train", 0, [loaded(0), loaded(1, content=content), loaded(2)])
    with pytest.raises(
        InputError, match=r"image 1.png cannot be decoded: .*set on_broken to 'skip'"
    ):
        job.write(unit)
    shard = dataclasses.replace(job, skips=True).write(unit)
    assert (shard.rows, shard.skipped) == (2, ("1.png",))
    assert records(job, shard)["label"].tolist() == [0, 2]


def test_the_note_is_named_by_everything_that_the_shard_depends_on(job):
    unit = Unit("train", 0, [loaded(0)])
    names = {job.note(unit).name}
    for change in ({"height": 8}, {"fit": "pad"}, {"channels": 1}, {"length": 6}):
        names.add(dataclasses.replace(job, **change).note(unit).name)
    for change in ({"label": 1}, {"caption": "bar"}, {"content": np.zeros((2, 3), np.uint8)}):
        names.add(job.note(unit._replace(documents=[loaded(0, **change)])).name)
    turned = unit._replace(documents=[loaded(0, content=np.zeros((3, 2), np.uint8))])
    names.add(job.note(turned).name)  # the same bytes in another shape
    assert len(names) == 9
    assert dataclasses.replace(job, skips=True).note(unit) == job.note(unit)
