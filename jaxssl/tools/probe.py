"""Judge a pretraining on images: how well do labels follow from its features, which stay as they are?

  jaxssl probe runs/simclr_cifar10
  jaxssl probe runs/simclr_imagenet --data prepared/cars --images 8000

A linear classifier and the nearest neighbours on the features of whole images, beside those of a random
network of the same shape and beside raw pixels. Fitted on the training split, measured on the held-out one;
the table goes into probe.json of the run's folder.
"""

import argparse

from jaxssl.data.progress import TextProgress
from jaxssl.pretrained.judging import Judging, judge, show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `jaxssl probe`."""
    default = Judging("")
    parser.add_argument("folder", metavar="RUN", help="folder of a pretraining on images")
    parser.add_argument(
        "--data", default="", metavar="SET", help="prepared, with labels (default: the run's)"
    )
    parser.add_argument(
        "--which", choices=["best", "latest"], default=default.which, help="checkpoint (latest)"
    )
    for name, what in (
        ("images", "training images at most"),
        ("held_out", "held-out images at most"),
        ("batch", "images at a time"),
        ("seed", "of the random network"),
    ):
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(
            flag, type=int, default=getattr(default, name), help=f"{what} (%(default)s)"
        )
    parser.add_argument(
        "--no-baselines",
        dest="baselines",
        action="store_false",
        help="leave out the random network and the pixels",
    )


def run(options: argparse.Namespace) -> None:
    """Judges, shows the table and writes it down."""
    names = ("data", "which", "images", "held_out", "batch", "seed", "baselines")
    fields = {name: value for name, value in vars(options).items() if name in names}
    with TextProgress() as progress:
        result = judge(Judging(**{**fields, "run": options.folder}), progress)
    print(show(result))
