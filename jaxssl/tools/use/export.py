"""Write a pretrained network for other tools: transformers, sentence-transformers, StableHLO, numpy arrays.

  jaxssl export runs/quickstart exported/quickstart
  jaxssl export runs/simcse_novels exported/simcse --to sentence-transformers
  jaxssl export runs/quickstart exported/stablehlo --to stablehlo

The folder holds the network, its tokenizer, a model card (README.md), and proof.json: the largest difference
between outputs of the run and of the folder, read back. The best checkpoint of the run is taken.
"""

import argparse

from jaxssl.exporting.export import export_run
from jaxssl.exporting.formats import FORMATS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `jaxssl export` to `parser`."""
    parser.add_argument("source", metavar="RUN", help="folder of a pretraining run, or hf:FOLDER")
    parser.add_argument(
        "into", metavar="FOLDER", help="folder to write; an older export in it is replaced"
    )
    parser.add_argument(
        "--to",
        choices=list(FORMATS),
        default="huggingface",
        help="what reads the folder (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> None:
    """Exports the run, as `options` say."""
    done = export_run(options.source, options.into, to=options.to)
    print(f"{done.folder}: {done.what}; largest difference to the run {done.difference:.2g}")
    print(f"\n{done.loading}")
