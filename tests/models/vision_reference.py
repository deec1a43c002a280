"""Convolution and group norm position by position in float64, and images to put through them."""

import math
from itertools import product
from typing import Any

import jax
import numpy as np


def images(batch=4, height=8, width=8, channels=3, seed=0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=(batch, height, width, channels)).astype(np.float32)


def moved(model: Any, seed: int = 1) -> Any:
    """A model whose scales and biases matter, also those that start at 0."""
    leaves, tree = jax.tree.flatten(model)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    others = [x + 0.2 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, others)


def weights(convolution: Any) -> np.ndarray:
    return np.asarray(convolution.kernel[...], np.float64)


def slow_convolution(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    size, side = kernel.shape[0], kernel.shape[0] // 2
    batch, height, width, _ = x.shape
    rows, columns = -(-height // stride), -(-width // stride)
    wide = np.pad(x, ((0, 0), (side, side), (side, side), (0, 0)))
    out = np.zeros((batch, rows, columns, kernel.shape[-1]))
    for row, column in product(range(rows), range(columns)):
        top, left = row * stride, column * stride
        part = wide[:, top : top + size, left : left + size]
        out[:, row, column] = np.einsum("bhwi,hwio->bo", part, kernel)
    return out


def slow_norm(x: np.ndarray, norm: Any) -> np.ndarray:
    out = np.zeros_like(x)
    size = x.shape[-1] // norm.groups
    for image, group in product(range(len(x)), range(norm.groups)):
        part = x[image, :, :, group * size : (group + 1) * size]
        scaled = (part - part.mean()) / math.sqrt(part.var() + norm.epsilon)
        out[image, :, :, group * size : (group + 1) * size] = scaled
    return out * np.asarray(norm.scale[...]) + np.asarray(norm.bias[...])
