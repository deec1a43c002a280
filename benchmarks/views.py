"""Views of images a second: ours in one jitted function against torchvision's v2 transforms, in turns.

    python benchmarks/views.py --sizes 32 96 224

The view of SimCLR and BYOL: random resized crop (antialiased), flip, colour jitter in random order
(probability 0.8), grayscale (0.2), blur (0.5, a tenth of the height); float32 from 0 to 1. Every image has
draws of its own. Ours takes a batch of uint8 images and uses all cores. Theirs is what a DataLoader with a
worker a core does: uint8 tensors, one after another, one thread each; collecting the results and sending
them to the trainer, which it would have to do, are not timed.
"""

import argparse
import os
from collections.abc import Callable
from multiprocessing import get_context
from statistics import median
from typing import Any

import numpy as np
from turns import Side

Program = Callable[[int], float]
JITTER = (0.4, 0.4, 0.4, 0.1)
SIGMA = (0.1, 2.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 96, 224], help="pixels")
    parser.add_argument("--pixels", type=int, default=4_000_000, help="of a batch")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    print(f"views a second on {options.processes} cores, median of {options.repeats} turns")
    print("| | images of a batch | jaxssl | torchvision | ratio | least and most of a turn |")
    print("|---" * 6 + "|")
    for size in options.sizes:
        batch = max(options.pixels // size**2 // options.processes, 1) * options.processes
        settings = (size, batch, options.processes)
        with (
            Side("jaxssl", make_ours, *settings) as ours,
            Side("torchvision", make_theirs, *settings) as theirs,
        ):
            for side in (ours, theirs):
                side.turn(0)  # compiles, or starts workers
            pairs = [
                (ours.turn(number).seconds, theirs.turn(number).seconds)
                for number in range(1, options.repeats + 1)
            ]
        ratios = [second / first for first, second in pairs]
        speeds = [batch / median(times) for times in zip(*pairs, strict=True)]
        print(
            f"| {size}x{size} | {batch:,} | {speeds[0]:,.0f} | {speeds[1]:,.0f} "
            f"| {median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} |",
            flush=True,
        )


def images_of(size: int, batch: int) -> np.ndarray:
    """Smooth images with noise, uint8."""
    random = np.random.default_rng(0)
    down, across = np.mgrid[0:size, 0:size] / size
    waves = np.stack([np.sin(5 * down + 3 * k * across) for k in range(3)], axis=-1)
    noise = random.normal(0, 10, (min(batch, 64), size, size, 3))
    images = np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8)
    return np.resize(images, (batch, size, size, 3))


def kernel_of(size: int) -> int:
    """The kernel of the blur."""
    return 2 * max(1, size // 20) + 1


def make_ours(size: int, batch: int, processes: int) -> Program:
    import jax

    from jaxssl.augment import Augmentation, ColorJitter, GaussianBlur, example_keys

    view = Augmentation(
        jitter=ColorJitter(*JITTER, probability=0.8),
        grayscale=0.2,
        blur=GaussianBlur(0.5, SIGMA, kernel_of(size)),
    )
    make = jax.jit(lambda images, key: view(images, example_keys(key, batch)))
    images = jax.numpy.asarray(images_of(size, batch))

    def run(number: int) -> float:
        return float(make(images, jax.random.key(number))[0, 0, 0, 0])

    return run


def make_theirs(size: int, batch: int, processes: int) -> Program:
    pool = get_context("spawn").Pool(processes, start_worker, (size, batch // processes))

    def run(number: int) -> float:
        return sum(pool.map(make_views, range(number, number + processes)))

    return run


def start_worker(size: int, batch: int) -> None:
    """Makes a worker's transforms and images."""
    import torch
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    globals()["images"] = torch.from_numpy(images_of(size, batch)).permute(0, 3, 1, 2).contiguous()
    globals()["transform"] = v2.Compose(
        [
            v2.RandomResizedCrop(size, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(*JITTER)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(kernel_of(size), SIGMA)], p=0.5),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )


def make_views(seed: int) -> float:
    """A worker's share of a turn."""
    import torch

    torch.manual_seed(seed)
    state: Any = globals()
    return sum(float(state["transform"](image)[0, 0, 0]) for image in state["images"])


if __name__ == "__main__":
    main()
