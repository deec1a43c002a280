"""Embed texts with a pretrained network: one vector for each line of a file, as a numpy array.

  jaxssl embed runs/simcse_novels sentences.txt --into sentences.npy

The array is float32 `[lines, width]`. The best checkpoint of the run is taken. Texts longer than the network
reads are truncated.
"""

import argparse
import os
from pathlib import Path

import numpy as np

from jaxssl.errors import InputError
from jaxssl.pretrained.texts import load_embedder
from jaxssl.tools.output_files import check_output_file, replaced_when_whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `jaxssl embed` to `parser`."""
    parser.add_argument("folder", metavar="RUN", help="folder of a pretraining run")
    parser.add_argument("texts", metavar="FILE", help="UTF-8 text file with one text a line")
    parser.add_argument(
        "--into", required=True, metavar="FILE.npy", help="file to write the vectors to"
    )
    parser.add_argument(
        "--pooling",
        choices=["mean", "cls"],
        help="vector of a text: the mean over the states of its tokens, or the state of its begin "
        "token (default: as the run was trained, else mean)",
    )


def run(options: argparse.Namespace) -> None:
    """Embeds every line of a file and writes one array, as `options` say."""
    into = check_output_file(options.into, "--into")
    if into.exists() and os.path.exists(options.texts) and into.samefile(options.texts):
        raise InputError(f"--into {options.into} is the file of the texts; name another one")
    texts = read_lines(Path(options.texts))
    embed = load_embedder(options.folder, options.pooling)
    vectors = embed(texts)
    # Given a name and no file, numpy would add .npy to it.
    with replaced_when_whole(into) as path, path.open("wb") as file:
        np.save(file, vectors)
    print(
        f"{len(texts):,} texts, {vectors.shape[1]} numbers each ({embed.pooling}): {options.into}"
    )


def read_lines(path: Path) -> list[str]:
    r"""Reads the lines of a text file, which end at "\n" or "\r\n" and at no other character.

    Args:
      path: UTF-8 text, with or without a byte order mark.

    Raises:
      InputError: There is no such file, or it is a folder, or not UTF-8.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; give a text file with one text a line") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder; give a text file with one text a line") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, byte {error.start} is not UTF-8; convert the file") from error
    lines = text.split("\n")
    if not lines[-1]:  # behind the line break that ends the file
        lines.pop()
    return [line.removesuffix("\r") for line in lines]
