"""Embed texts with a pretrained network: one vector for each text of a file.

  jaxssl embed runs/simcse_novels sentences.txt --into sentences.npy
  jaxssl embed hf:all-MiniLM-L6-v2 papers.csv --column abstract --into papers.parquet

The file is text with one text a line, or a table (.tsv, .csv, .jsonl, .parquet). A .npy file holds a float32
array `[texts, width]`; .parquet and .csv files hold the ids and texts beside the vectors. The best checkpoint
of the run is taken. Texts longer than the network reads are truncated.
"""

import argparse
import os
from typing import get_args

from jaxssl.data.labelled.text_lists import read_texts
from jaxssl.data.progress import TextProgress
from jaxssl.errors import InputError
from jaxssl.models.layers.pooling import Pooling
from jaxssl.pretrained.embed_files import EmbeddedTexts, check_suffix
from jaxssl.pretrained.texts import load_embedder
from jaxssl.tools.output_files import check_output_file, replaced_when_whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `jaxssl embed` to `parser`."""
    parser.add_argument(
        "folder",
        metavar="RUN",
        help="folder of a pretraining run, or hf:FOLDER for one of Hugging Face",
    )
    parser.add_argument(
        "texts",
        metavar="FILE",
        help="UTF-8 text with one text a line, or a .tsv, .csv, .jsonl or .parquet file",
    )
    parser.add_argument(
        "--into",
        required=True,
        metavar="FILE",
        help="file to write the vectors to: .npy, .parquet or .csv",
    )
    add_text_options(parser)
    parser.add_argument(
        "--id-column",
        metavar="NAME",
        help="column of a table that identifies each text (default: the rows are numbered from 0)",
    )
    parser.add_argument(
        "--normalize", action="store_true", help="divide every vector by its Euclidean length"
    )


def add_text_options(parser: argparse.ArgumentParser) -> None:
    """Adds to `parser` the options of all commands that embed the texts of a file."""
    parser.add_argument(
        "--column", metavar="NAME", help="column of a table with the texts (default: text)"
    )
    parser.add_argument(
        "--pooling",
        choices=get_args(Pooling),
        help="vector of a text: the mean over the states of its tokens, the state of its first (cls) or last "
        "token, or the maximum of each feature (default: as the run was trained, or as the folder says, else "
        "mean)",
    )
    parser.add_argument(
        "--batch",
        type=int,
        metavar="TOKENS",
        help="tokens that are computed at a time (default: 2048 on a CPU, else 32768)",
    )


def run(options: argparse.Namespace) -> None:
    """Embeds every text of a file and writes the vectors, as `options` say."""
    into = check_output_file(options.into, "--into")
    suffix = check_suffix(options.into)
    if into.exists() and os.path.exists(options.texts) and into.samefile(options.texts):
        raise InputError(f"--into {options.into} is the file of the texts; name another one")
    given = read_texts(options.texts, options.column, options.id_column)
    settings = {"batch": options.batch} | ({"normalized": True} if options.normalize else {})
    embed = load_embedder(options.folder, options.pooling, **settings)
    with TextProgress() as progress:
        vectors = embed(given.texts, progress)
    with replaced_when_whole(into) as path:
        EmbeddedTexts(given.ids, given.texts, vectors).save(path, suffix)
    kind = f"{embed.pooling}, normalised" if embed.normalized else embed.pooling
    print(f"{len(vectors):,} texts, {vectors.shape[1]} numbers each ({kind}): {options.into}")
