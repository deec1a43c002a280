"""The options of `jaxssl prepare` for images: what they describe, and what they refuse."""

import pytest

from jaxssl.data.tokenizers.train_tokenizer import SentencePiece
from jaxssl.errors import InputError
from jaxssl.tools.main import main, make_parser
from jaxssl.tools.prepare import config_of
from jaxssl.tools.prepare_images import size_of
from tests.data.tiny_images import write_folder


def error_of(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    printed = capsys.readouterr()
    assert end.value.code == 2
    assert printed.out == ""
    return printed.err


def test_sizes():
    assert size_of("32") == (32, 32)
    assert size_of("48x64") == size_of("48X64") == (48, 64)
    for text in (
        "",
        "x64",
        "64x",
        "48x64x3",
        "4.5",
        "1e2",
        " 3",
        "1_0",
        "nan",
        "9" * 5000,
        "\u0663",
    ):
        with pytest.raises(InputError, match="is not a size; write 32 or 48x64"):
            size_of(text)


def test_images(tmp_path, capsys):
    source = write_folder(tmp_path / "images")
    (source / "dog" / "03.JPG").write_bytes(b"no image")
    command = ["prepare", str(source), "--into", str(tmp_path / "set"), "--size", "8x6"]
    command += ["--workers", "1", "--valid", "0.3"]
    assert "image dog/03.JPG cannot be decoded" in error_of(capsys, *command)
    main([*command, "--on-broken", "skip"])
    printed = capsys.readouterr().out
    assert f"{tmp_path / 'set'}: images of 8x6x3" in printed
    assert "2 labels: cat, dog" in printed
    assert "1 could not be decoded and were left out: dog/03.JPG" in printed
    for options, line in [
        (["--documents", "blank_line"], "--documents is for text"),
        (["--document-mib", "5"], "--document-mib is for text, and with --size the source is"),
        (["--expansion", "9"], "--expansion is for text"),
        (["--vocab-size", "500"], "--vocab-size is for text; give --captions"),
        (["--size", "small"], "--size is given twice; give it once"),
    ]:
        assert line in error_of(capsys, *command, *options)
    text = ["prepare", "stdlib", "--into", str(tmp_path / "text"), "--fit", "pad"]
    assert "--fit is for images; give their --size" in error_of(capsys, *text)


def test_the_tokenizer_of_captions_has_one_default_size(tmp_path):
    (tmp_path / "captions.jsonl").write_text('{"image": "a.png", "caption": "a cat"}\n')
    words = ["prepare", str(write_folder(tmp_path / "images")), "--into", "set", "--size", "8"]
    words += ["--captions", str(tmp_path / "captions.jsonl")]
    found = {
        flag: config_of(
            make_parser("prepare").parse_args([*words, *flag.split()])
        ).captions.tokenizer
        for flag in ("", "--kind bpe", "--vocab-size 500")
    }
    assert found == {
        "": SentencePiece(vocab_size=4096),
        "--kind bpe": SentencePiece(vocab_size=4096, kind="bpe"),
        "--vocab-size 500": SentencePiece(vocab_size=500),
    }
