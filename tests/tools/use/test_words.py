"""`jaxssl words`: neighbours are printed, and all vectors are written in word2vec's format."""

import numpy as np
import pytest

from jaxssl.interop.word2vec import read_word2vec
from jaxssl.pretrained.words import load_word_table
from jaxssl.tools.main import main


def test_neighbours_are_printed_and_vectors_written(masked_run, tmp_path, capsys):
    table = load_word_table(masked_run)
    word = next(name for name in table.words if not name.startswith("##"))
    main(["words", masked_run, word, "--count", "3", "--into", str(tmp_path / "v.txt")])
    printed = capsys.readouterr().out
    near = table.nearest(word, 3)
    assert [name for name, _ in near] == printed.splitlines()[0].split()[1::2]
    words, vectors = read_word2vec(tmp_path / "v.txt")
    assert tuple(words) == table.words
    np.testing.assert_allclose(vectors, table.vectors, rtol=1e-4)


def test_nothing_to_do(capsys):
    with pytest.raises(SystemExit):
        main(["words", "runs/none"])
    assert "name words to show the neighbours of, or a file with --into" in capsys.readouterr().err
