"""The recipes as functions: `bert(depth=12, width=768, heads=12)` is BERT-base.

Any field of `TransformerConfig` may be changed by keyword.
"""

from dataclasses import replace
from typing import Any

from jaxssl.models.transformer_config import TransformerConfig


def bert(depth: int = 12, width: int = 768, heads: int = 12, **changes: Any) -> TransformerConfig:
    """Devlin et al. 2019: learned positions, segment types, norm after each part, GELU."""
    return replace(TransformerConfig(depth=depth, width=width, heads=heads), **changes)


def gpt2(depth: int = 12, width: int = 768, heads: int = 12, **changes: Any) -> TransformerConfig:
    """Radford et al. 2019: causal, norm before each part and at the end."""
    recipe = TransformerConfig(
        depth=depth,
        width=width,
        heads=heads,
        max_length=1024,
        norm_first=True,
        norm_epsilon=1e-5,
        activation="gelu_tanh",
        causal=True,
        segment_types=0,
        embedding_norm=False,
        final_norm=True,
        scale_residual=True,
    )
    return replace(recipe, **changes)


def modern(depth: int = 12, width: int = 768, heads: int = 12, **changes: Any) -> TransformerConfig:
    """Common since Touvron et al. 2023: rotary positions, RMSNorm, SwiGLU, no bias, no dropout.

    An encoder as it stands; `causal=True` makes it a LLaMA-like decoder.
    """
    recipe = TransformerConfig(
        depth=depth,
        width=width,
        heads=heads,
        mlp=-(-8 * width // (3 * 64)) * 64,  # rounded up to 64
        max_length=1024,
        positions="rotary",
        norm="rms",
        norm_first=True,
        norm_epsilon=1e-6,
        activation="swiglu",
        segment_types=0,
        bias=False,
        embedding_norm=False,
        final_norm=True,
        dropout=0.0,
        scale_residual=True,
    )
    return replace(recipe, **changes)


def modernbert(
    depth: int = 22, width: int = 768, heads: int = 12, **changes: Any
) -> TransformerConfig:
    """Warner et al. 2024: GeGLU; every third layer is global, the others see 64 places a side."""
    recipe = TransformerConfig(
        depth=depth,
        width=width,
        heads=heads,
        mlp=3 * width // 2,
        max_length=8192,
        positions="rotary",
        rotary_base=160_000.0,
        rotary_base_local=10_000.0,
        norm_first=True,
        norm_before_first=False,
        norm_epsilon=1e-5,
        activation="geglu",
        segment_types=0,
        bias=False,
        final_norm=True,
        window=64,
        global_every=3,
        dropout=0.0,
        scale_residual=True,
    )
    return replace(recipe, **changes)


def t5(depth: int = 6, width: int = 512, heads: int = 8, **changes: Any) -> TransformerConfig:
    """Raffel et al. 2020: RMSNorm before each part and at the end, no bias; one half of T5-small.

    An encoder as it stands; `causal=True` makes it the decoder. With the gated feed-forward part of
    the later T5 1.1 (Shazeer 2020), and rotary positions for T5's relative biases.
    """
    recipe = TransformerConfig(
        depth=depth,
        width=width,
        heads=heads,
        positions="rotary",
        norm="rms",
        norm_first=True,
        norm_epsilon=1e-6,
        activation="geglu",
        segment_types=0,
        bias=False,
        embedding_norm=False,
        final_norm=True,
    )
    return replace(recipe, **changes)


def bart(depth: int = 6, width: int = 768, heads: int = 12, **changes: Any) -> TransformerConfig:
    """Lewis et al. 2020: BERT's layers without types; one half of BART-base.

    An encoder as it stands; `causal=True` makes it the decoder.
    """
    recipe = TransformerConfig(
        depth=depth,
        width=width,
        heads=heads,
        max_length=1024,
        norm_epsilon=1e-5,
        segment_types=0,
    )
    return replace(recipe, **changes)


def vit(depth: int = 12, width: int = 768, heads: int = 12, **changes: Any) -> TransformerConfig:
    """Dosovitskiy et al. 2021: the blocks of ViT-B/16, without dropout; for `VisionTransformerConfig`."""
    recipe = TransformerConfig(
        depth=depth,
        width=width,
        heads=heads,
        norm_first=True,
        norm_epsilon=1e-6,
        segment_types=0,
        embedding_norm=False,
        final_norm=True,
        dropout=0.0,
    )
    return replace(recipe, **changes)
