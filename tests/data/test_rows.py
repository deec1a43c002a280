"""Reading: batch t is a pure function of (manifest, seed, t) on any number of hosts."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

import jaxssl.data.prepared.shards
from jaxssl.data.prepared.manifest import read_manifest
from jaxssl.data.preparing.texts import Prepare, prepare
from jaxssl.data.progress import TextProgress
from jaxssl.data.rows import Rows, TextSpec, check_tokens, open_rows
from jaxssl.errors import InputError
from tests.data.tiny_corpus import Words, write_vocabulary

QUIET = TextProgress(silent=True)
BATCH = 8


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Two prepared sets of one tokenizer, one with twice the text."""
    folder = tmp_path_factory.mktemp("prepared")
    config = Prepare(
        source=Words(120),
        length=32,
        tokenizer=write_vocabulary(folder),
        valid=0.3,
        shard_characters=3_000,
        workers=1,
    )
    prepare(config, folder / "large", QUIET)
    small = dataclasses.replace(config, source=Words(60, seed=1))
    prepare(small, folder / "small", QUIET)
    prepare(dataclasses.replace(small, length=16), folder / "short", QUIET)
    prepare(
        dataclasses.replace(small, tokenizer=_another_vocabulary(folder)), folder / "other", QUIET
    )
    return folder, config


def _another_vocabulary(folder):
    path = folder / "other.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ban", "dur"]))
    return str(path)


def rows_of(folder, name, split="train"):
    """All rows of a set, in order."""
    reader = open_rows(Rows(str(folder / name), batch=1_000), split, seed=0, shuffle=False)
    return reader.batch(0)["tokens"][: reader.rows]


def test_a_batch_depends_on_its_number_alone(sets):
    folder, _ = sets
    config = Rows(str(folder / "large"), batch=BATCH)
    first, second = (open_rows(config, seed=3) for _ in range(2))
    for step in (1_000_000_007, 5, 0, 77):
        np.testing.assert_array_equal(
            first.batch(step)["tokens"], open_rows(config, seed=3).batch(step)["tokens"]
        )
    forward = [first.batch(step)["tokens"] for step in range(20)]
    backward = [second.batch(step)["tokens"] for step in reversed(range(20))]
    np.testing.assert_array_equal(forward, backward[::-1])
    assert forward[0].dtype == np.int32
    assert forward[0].shape == (BATCH, 32)


def test_a_batch_that_does_not_fit_into_memory_is_refused(sets, monkeypatch):
    rows = Rows(str(sets[0] / "large"), batch=4_000_000)
    monkeypatch.setattr("os.sysconf", lambda name: 2**14)  # 256 MiB
    with pytest.raises(InputError, match="batch=4000000 takes .* GiB on this host, more than half"):
        open_rows(rows, seed=0)
    open_rows(rows, seed=0, parts=[range(0, 8)])  # other hosts read the other rows


def test_row_ids_are_the_rows_that_were_read(sets):
    folder, _ = sets
    rows = rows_of(folder, "large")
    reader = open_rows(Rows(str(folder / "large"), batch=BATCH), seed=3)
    for step in (0, 9, 12_345):
        np.testing.assert_array_equal(reader.batch(step)["tokens"], rows[reader.row_ids(step)])


def test_every_epoch_is_another_permutation(sets):
    folder, _ = sets
    reader = open_rows(Rows(str(folder / "large"), batch=1), seed=3)
    epochs = [
        [int(reader.row_ids(epoch * reader.rows + i)[0]) for i in range(reader.rows)]
        for epoch in range(3)
    ]
    assert all(sorted(epoch) == list(range(reader.rows)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    another = open_rows(Rows(str(folder / "large"), batch=1), seed=4)
    assert [int(another.row_ids(i)[0]) for i in range(another.rows)] not in epochs


@pytest.mark.parametrize("hosts", [2, 4, 8])
@pytest.mark.parametrize(("split", "shuffle"), [("train", True), ("valid", False)])
def test_hosts_share_the_same_global_batch(sets, hosts, split, shuffle):
    folder, _ = sets
    config = Rows(str(folder / "large"), batch=BATCH)
    whole = open_rows(config, split, seed=3, shuffle=shuffle)
    share = BATCH // hosts
    parts = [
        open_rows(config, split, seed=3, parts=[range(i, i + share)], shuffle=shuffle)
        for i in range(0, BATCH, share)
    ]
    for step in range(whole.batches):
        joined = np.concatenate([part.batch(step)["tokens"] for part in parts])
        np.testing.assert_array_equal(joined, whole.batch(step)["tokens"])
        np.testing.assert_array_equal(parts[-1].row_ids(step), whole.row_ids(step))
    assert {part.fingerprint for part in parts} == {whole.fingerprint}


def test_a_host_may_read_several_parts(sets):
    """Also of the last batch in order, where the first part is not full and the second is empty."""
    folder, _ = sets
    config = Rows(str(folder / "large"), batch=BATCH)
    for shuffle in (True, False):
        whole = open_rows(config, seed=3, shuffle=shuffle)
        own = open_rows(config, seed=3, shuffle=shuffle, parts=[range(1, 3), range(6, 7)])
        for step in range(whole.batches):
            np.testing.assert_array_equal(
                own.batch(step)["tokens"], whole.batch(step)["tokens"][[1, 2, 6]]
            )


def test_in_order_the_last_batch_is_filled_with_padding(sets):
    folder, _ = sets
    rows = rows_of(folder, "large", "valid")
    batch = len(rows) // 2 + 1
    reader = open_rows(Rows(str(folder / "large"), batch=batch), "valid", seed=0, shuffle=False)
    assert reader.batches == 2
    read = np.concatenate([reader.batch(step)["tokens"] for step in range(2)])
    np.testing.assert_array_equal(read[: len(rows)], rows)
    assert (read[len(rows) :] == reader.spec.pad).all()
    assert len(reader.row_ids(1)) == len(rows) - batch
    with pytest.raises(IndexError):
        reader.batch(-1)
    with pytest.raises(IndexError):
        reader.batch(2)


def test_mixture_keeps_its_shares(sets):
    folder, _ = sets
    paths = (str(folder / "large"), str(folder / "small"))
    large = read_manifest(paths[0]).total("train", "rows")
    reader = open_rows(Rows(paths, batch=100, weights=(1.0, 3.0)), seed=3)
    for step in range(5):
        assert (reader.row_ids(step) < large).sum() == 25
    both = np.concatenate([rows_of(folder, "large"), rows_of(folder, "small")])
    np.testing.assert_array_equal(reader.batch(7)["tokens"], both[reader.row_ids(7)])
    names = reader.documents([0, large])
    assert names[0].startswith(f"{paths[0]}:words 0#")
    assert names[-1].startswith(f"{paths[1]}:words 1#")
    assert reader.rows == len(both)


def test_mixture_without_weights_is_in_proportion(sets):
    folder, _ = sets
    paths = (str(folder / "large"), str(folder / "small"))
    large, small = (read_manifest(path).total("train", "rows") for path in paths)
    reader = open_rows(Rows(paths, batch=100), seed=3)
    ids = np.concatenate([reader.row_ids(step) for step in range(10)])
    assert (ids < large).mean() == pytest.approx(large / (large + small), abs=2e-3)


def test_each_set_of_a_mixture_has_epochs_of_its_own(sets):
    folder, _ = sets
    paths = (str(folder / "large"), str(folder / "small"))
    large, small = (read_manifest(path).total("train", "rows") for path in paths)
    reader = open_rows(Rows(paths, batch=1, weights=(1.0, 1.0)), seed=3)
    ids = np.array([reader.row_ids(step)[0] for step in range(2 * large)])
    assert sorted(ids[ids < large]) == list(range(large))
    of_small = ids[ids >= large] - large
    assert sorted(of_small[:small]) == list(range(small))


def test_what_does_not_fit_together(sets, tmp_path):
    folder, _ = sets
    large = str(folder / "large")
    with pytest.raises(InputError, match="short has length 16 and .*large has 32"):
        open_rows(Rows((large, str(folder / "short"))), seed=0)
    with pytest.raises(InputError, match="different tokenizers"):
        open_rows(Rows((large, str(folder / "other"))), seed=0)
    with pytest.raises(InputError, match="no split 'test'; it has train, valid"):
        open_rows(Rows(large), "test", seed=0)
    missing = str(tmp_path / "nowhere")
    with pytest.raises(InputError, match=f"jaxssl prepare SOURCE --into {missing}"):
        open_rows(Rows(missing), seed=0)


def test_prepares_what_is_missing(sets, tmp_path):
    _, config = sets
    rows = Rows(str(tmp_path / "set"), prepare=config)
    first = open_rows(rows, seed=0)
    again = open_rows(rows, seed=0)
    np.testing.assert_array_equal(first.batch(0)["tokens"], again.batch(0)["tokens"])
    longer = dataclasses.replace(rows, prepare=dataclasses.replace(config, length=64))
    with pytest.raises(InputError, match="length: 32 -> 64"):
        open_rows(longer, seed=0)


def test_fingerprint_tells_what_changes_the_batches(sets):
    folder, _ = sets
    large, small = str(folder / "large"), str(folder / "small")
    configs = [
        (Rows(large, batch=8), 0),
        (Rows(large, batch=8), 1),
        (Rows(large, batch=16), 0),
        (Rows(small, batch=8), 0),
        (Rows((large, small), batch=8), 0),
        (Rows((large, small), batch=8, weights=(0.3, 0.7)), 0),
    ]
    prints = [open_rows(config, seed=seed).fingerprint for config, seed in configs]
    assert len(set(prints)) == len(prints)
    assert open_rows(configs[0][0], seed=0).fingerprint == prints[0]


def test_spec(sets):
    folder, _ = sets
    reader = open_rows(Rows(str(folder / "large"), batch=BATCH), seed=0)
    spec, tokenizer = reader.spec, reader.tokenizer
    assert (spec.batch, spec.length, spec.vocab_size) == (BATCH, 32, tokenizer.vocab_size)
    assert spec.special.shape == spec.starts_word.shape == spec.byte_length.shape == (105,)
    assert spec.special[[spec.pad, spec.unknown, spec.begin, spec.end, spec.mask]].all()
    assert TextSpec.of(tokenizer, batch=1, length=5).length == 5


def test_few_open_files_are_enough(sets, monkeypatch):
    folder, _ = sets
    config = Rows(str(folder / "large"), batch=BATCH)
    expected = [open_rows(config, seed=1).batch(step)["tokens"] for step in range(9)]
    monkeypatch.setattr(jaxssl.data.prepared.shards, "OPEN_FILES", 1)
    reader = open_rows(config, seed=1)
    np.testing.assert_array_equal([reader.batch(step)["tokens"] for step in range(9)], expected)


def test_a_manifest_with_another_vocabulary_is_refused(sets, tmp_path):
    folder = shutil.copytree(sets[0] / "large", tmp_path / "set")
    manifest = json.loads((folder / "manifest.json").read_text())
    text = json.dumps({**manifest, "vocab_size": manifest["vocab_size"] + 1})
    (folder / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"says vocab_size \d+, its tokenizer has \d+ ids"):
        open_rows(Rows(str(folder)), seed=0)


def test_ids_beyond_the_vocabulary_are_refused():
    check_tokens(np.array([[0, 9]], np.int32), 10, 3)
    check_tokens(np.zeros((0, 8), np.int32), 10, 3)
    for wrong in (10, -1):
        with pytest.raises(InputError, match=rf"batch 3 holds the token id {wrong}.* 0 to 9"):
            check_tokens(np.array([[0, 9], [5, wrong]], np.int32), 10, 3)
