"""Embed texts with a pretrained network: one vector a line of a file, as a numpy array.

  jaxssl embed runs/simcse_novels sentences.txt --into sentences.npy

float32 [lines, width]. The best checkpoint is taken; a SimCSE run pools as it was trained.
"""

import argparse
from pathlib import Path

import numpy as np

from jaxssl.errors import InputError
from jaxssl.pretrained.texts import load_embedder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `jaxssl embed`."""
    parser.add_argument("folder", metavar="RUN", help="folder of a pretraining")
    parser.add_argument("texts", metavar="FILE", help="UTF-8, a text a line")
    parser.add_argument("--into", required=True, metavar="FILE.npy", help="where the vectors go")
    parser.add_argument(
        "--pooling",
        choices=["mean", "cls"],
        help="mean over a text's states, or the state of its begin (default: as trained, else mean)",
    )


def run(options: argparse.Namespace) -> None:
    """Embeds every line and writes one array."""
    path = Path(options.texts)
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; give a file with a text a line") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, byte {error.start} is no UTF-8") from error
    embed = load_embedder(options.folder, options.pooling)
    vectors = embed(texts)
    with Path(options.into).open("wb") as file:  # by itself numpy adds .npy to the name
        np.save(file, vectors)
    print(
        f"{len(texts):,} texts, {vectors.shape[1]} numbers each ({embed.pooling}): {options.into}"
    )
