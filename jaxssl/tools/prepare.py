"""Prepare text or images for training. Text: train a tokenizer, encode, pack into rows of one length.

SOURCE is a text file, a folder or a pattern of them, a .jsonl or .parquet file (each also .gz, .xz,
.zst), tfds:NAME, or stdlib: the English that ships with Python, which needs no download.

  jaxssl prepare stdlib --into prepared/stdlib --vocab-size 4096
  jaxssl prepare novels.txt.xz --documents blank_line --into prepared/novels --valid 0.02
  jaxssl prepare web.jsonl.zst --column text --into prepared/web --tokenizer bert-vocab.txt

Images, with --size: SOURCE is a folder or a ZIP of JPEG and PNG files (LABEL/NAME), a .npz or .npy,
tfds:NAME, or digits or photographs, which come with scikit-learn.

  jaxssl prepare cifar10.zip --size 32 --into prepared/cifar10 --valid 0.1
  jaxssl prepare photos/ --size 96 --captions captions.jsonl --into prepared/pairs --vocab-size 1000

It uses all cores and may be killed at any time: the same command goes on where it stopped.
"""

import argparse
import dataclasses
import time
from typing import Any

from jaxssl.data.prepared.image_manifest import ImageManifest, summary_of_images
from jaxssl.data.prepared.manifest import Manifest, is_prepared, summary
from jaxssl.data.preparing.images import Captions, PrepareImages
from jaxssl.data.preparing.texts import Prepare
from jaxssl.data.sources.texts import Source, source_from_path
from jaxssl.data.tokenizers.train_tokenizer import SentencePiece
from jaxssl.errors import InputError
from jaxssl.tools.prepare_images import add_image_options, check_kind, images_of

TRAINED = ("vocab_size", "kind", "normalization")  # options of a tokenizer that is trained
DEFAULT = {field.name: field.default for field in dataclasses.fields(Prepare)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `jaxssl prepare`."""
    parser.add_argument("source", metavar="SOURCE", help="text or images; see above")
    parser.add_argument(
        "--into",
        required=True,
        metavar="FOLDER",
        help="where the prepared set goes: a folder, or s3://…, gs://…",
    )

    _add_text(parser.add_argument_group("text"))
    _add_tokens(parser.add_argument_group("tokens and rows"))
    add_image_options(parser.add_argument_group("images"))
    work = parser.add_argument_group("work")
    work.add_argument(
        "--workers", type=int, help="processes (default: one a core); the rows do not depend on it"
    )
    work.add_argument(
        "--engine",
        choices=["local", "beam"],
        default=DEFAULT["engine"],
        help="beam: an Apache Beam pipeline, for corpora beyond one machine (default: %(default)s)",
    )
    work.add_argument(
        "--beam-options",
        default=DEFAULT["beam_options"],
        metavar="OPTIONS",
        help='of the pipeline, as one word: --beam-options="--runner FlinkRunner …"',
    )
    work.add_argument(
        "--shard-characters",
        type=int,
        default=DEFAULT["shard_characters"],
        help="text of a shard (default: %(default)s)",
    )


def _add_text(text: argparse._ArgumentGroup) -> None:
    text.add_argument(
        "--documents",
        choices=["file", "blank_line"],
        default="file",
        help="in text files, what a document is (default: %(default)s)",
    )
    text.add_argument("--column", help="of .jsonl, .parquet and tfds: which holds the text")
    text.add_argument(
        "--valid",
        type=_share_or_path,
        default=DEFAULT["valid"],
        metavar="SHARE|PATH",
        help="what is held out: a share, or a source of its own (default: %(default)s)",
    )
    text.add_argument(
        "--on-bad-text",
        choices=["stop", "skip"],
        default="stop",
        help="undecodable documents: stop and name the place, or leave out and count",
    )


def _add_tokens(tokens: argparse._ArgumentGroup) -> None:
    tokens.add_argument(
        "--tokenizer",
        metavar="PATH",
        help="one that exists: a prepared set's tokenizer/, a sentencepiece .model, a "
        "tokenizer.json, a BERT vocab.txt. Without it one is trained",
    )
    trained = SentencePiece()
    tokens.add_argument(
        "--vocab-size", type=int, help=f"of one that is trained (default: {trained.vocab_size})"
    )
    tokens.add_argument(
        "--kind", choices=["unigram", "bpe"], help=f"likewise (default: {trained.kind})"
    )
    tokens.add_argument(
        "--normalization",
        choices=["identity", "nfkc", "nfkc_cf"],
        help=f"likewise; nfkc_cf folds case (default: {trained.normalization})",
    )
    tokens.add_argument(
        "--length",
        type=int,
        help=f"tokens of a row (default: {DEFAULT['length']}) or a caption ({Captions().length})",
    )


def run(options: argparse.Namespace) -> Manifest | ImageManifest:
    """Prepares, and tells what there is now and what to do next."""
    began = time.monotonic()
    check_kind(options, {**DEFAULT, "documents": "file", "on_bad_text": "stop"})
    config = config_of(options)
    there_already = is_prepared(options.into)
    manifest = config.into(options.into)
    if isinstance(manifest, ImageManifest):
        print(summary_of_images(manifest, options.into))
        recipe = "CONFIG"
    else:
        print(summary(manifest, options.into))
        recipe = "configs/bert_small.py"
    if there_already:
        print("was there already; remove it to read the source again")
    else:
        print(f"took {time.monotonic() - began:.1f} s")
    print(f"next: python train.py --config {recipe} --data.path {options.into}")
    return manifest


def config_of(options: argparse.Namespace) -> Prepare | PrepareImages:
    """The configuration that the options stand for."""
    given: dict[str, Any] = {
        name: getattr(options, name) for name in TRAINED if getattr(options, name) is not None
    }
    if options.tokenizer and given:
        raise InputError(
            f"--{next(iter(given)).replace('_', '-')} is of a tokenizer that is trained; "
            "leave it out, or leave out --tokenizer"
        )
    tokenizer = options.tokenizer or (SentencePiece(**given) if given else None)
    if options.size is not None:
        return images_of(options, tokenizer)
    valid = options.valid
    return Prepare(
        source=_source(options.source, options),
        length=Prepare.length if options.length is None else options.length,
        tokenizer=tokenizer or SentencePiece(),
        valid=_source(valid, options) if isinstance(valid, str) else valid,
        shard_characters=options.shard_characters,
        workers=options.workers,
        engine=options.engine,
        beam_options=options.beam_options,
    )


def _source(path: str, options: argparse.Namespace) -> Source:
    return source_from_path(
        path,
        column=options.column,
        documents=options.documents,
        on_bad_text=options.on_bad_text,
    )


def _share_or_path(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value
