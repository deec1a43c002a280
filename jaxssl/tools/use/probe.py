"""Judge a pretraining on images: how well do its features, which are not trained further, predict labels?

  jaxssl probe runs/simclr_cifar10
  jaxssl probe runs/simclr_imagenet --data prepared/cars --images 8000

A linear classifier and nearest neighbours are fitted on the features of training images and measured on
held-out images. The table compares the run with a random network of the same shape and with raw pixels. It
is printed and, unless the run is on an object store, written to probe.json in the folder of the run.
"""

import argparse

from jaxssl.data.progress import TextProgress
from jaxssl.pretrained.probing import ProbeConfig, probe_run, show_scores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `jaxssl probe` to `parser`."""
    default = ProbeConfig("")
    parser.add_argument("folder", metavar="RUN", help="folder of a pretraining run on images")
    parser.add_argument(
        "--data", default="", metavar="SET", help="prepared set with labels (default: the run's)"
    )
    parser.add_argument(
        "--which",
        choices=["best", "latest"],
        default=default.which,
        help="checkpoint to judge (default: %(default)s)",
    )
    for name, meaning in (
        ("images", "largest number of training images"),
        ("held_out", "largest number of held-out images"),
        ("batch", "number of images at a time"),
        (
            "seed",
            "seed of the random network and of the split on which the regularisation is chosen",
        ),
    ):
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=int,
            default=getattr(default, name),
            help=f"{meaning} (default: %(default)s)",
        )
    parser.add_argument(
        "--no-baselines",
        dest="baselines",
        action="store_false",
        help="leave out the random network and the raw pixels",
    )


def run(options: argparse.Namespace) -> None:
    """Judges a run as `options` say, prints the table and writes it down."""
    names = ("data", "which", "images", "held_out", "batch", "seed", "baselines")
    fields = {name: value for name, value in vars(options).items() if name in names}
    with TextProgress() as progress:
        result = probe_run(ProbeConfig(**{**fields, "run": options.folder}), progress)
    print(show_scores(result))
