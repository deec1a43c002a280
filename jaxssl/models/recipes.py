"""Published shapes as functions that return a `TransformerConfig`: `bert()` is BERT-base.

The first three arguments are those that the sizes of a recipe differ in: `bert(24, 1024, 16)` is BERT-large.
Any other field of `TransformerConfig` may be changed by keyword, such as `gpt2(dropout=0.0)`.
"""

from typing import Any

from jaxssl.models.transformer_config import TransformerConfig


def bert(depth: int = 12, width: int = 768, heads: int = 12, **changes: Any) -> TransformerConfig:
    """Returns BERT's shape: learned positions, segment types, a norm after each part, GELU.

    Args:
      depth: Number of layers; 12 for BERT-base, 24 for BERT-large.
      width: Width of the states; 768 and 1024.
      heads: Attention heads; 12 and 16.
      changes: Other values for fields of `TransformerConfig`.

    References:
      Devlin et al. 2019, "BERT", section 3.
    """
    return _changed({"depth": depth, "width": width, "heads": heads}, changes)


def gpt2(depth: int = 12, width: int = 768, heads: int = 12, **changes: Any) -> TransformerConfig:
    """Returns GPT-2's shape: causal, learned positions, a norm before each part and at the end.

    Args:
      depth: Number of layers; 12 for GPT-2 small, 24 for medium.
      width: Width of the states; 768 and 1024.
      heads: Attention heads; 12 and 16.
      changes: Other values for fields of `TransformerConfig`.

    References:
      Radford et al. 2019, "Language models are unsupervised multitask learners", section 2.3.
    """
    fields = {
        "depth": depth,
        "width": width,
        "heads": heads,
        "max_length": 1024,
        "norm_first": True,
        "norm_epsilon": 1e-5,
        "activation": "gelu_tanh",
        "causal": True,
        "segment_types": 0,
        "embedding_norm": False,
        "final_norm": True,
        "scale_residual": True,
    }
    return _changed(fields, changes)


def modern(depth: int = 12, width: int = 768, heads: int = 12, **changes: Any) -> TransformerConfig:
    """Returns the shape in use since LLaMA: rotary positions, RMSNorm, SwiGLU, no biases, no dropout.

    It is an encoder; `causal=True` makes it a decoder like LLaMA.

    Args:
      depth: Number of layers.
      width: Width of the states. The inner width is 8/3 of it, rounded up to a multiple of 64.
      heads: Attention heads.
      changes: Other values for fields of `TransformerConfig`.

    References:
      Touvron et al. 2023, "LLaMA", section 2.2.
    """
    fields = {
        "depth": depth,
        "width": width,
        "heads": heads,
        "mlp": -(-8 * width // (3 * 64)) * 64,
        "max_length": 1024,
        "positions": "rotary",
        "norm": "rms",
        "norm_first": True,
        "norm_epsilon": 1e-6,
        "activation": "swiglu",
        "segment_types": 0,
        "bias": False,
        "embedding_norm": False,
        "final_norm": True,
        "dropout": 0.0,
        "scale_residual": True,
    }
    return _changed(fields, changes)


def modernbert(
    depth: int = 22, width: int = 768, heads: int = 12, **changes: Any
) -> TransformerConfig:
    """Returns ModernBERT's shape: every third layer is global, the others see 64 positions on either side.

    The rotary base of the global layers is that of rows of 8,192 tokens; for the first phase of training,
    rows of 1,024, it was 10,000.

    Args:
      depth: Number of layers; 22 for ModernBERT-base.
      width: Width of the states; 768.
      heads: Attention heads; 12.
      changes: Other values for fields of `TransformerConfig`.

    References:
      Warner et al. 2024, "Smarter, better, faster, longer", section 2.1 and appendix A.
    """
    fields = {
        "depth": depth,
        "width": width,
        "heads": heads,
        "mlp": 3 * width // 2,
        "max_length": 8192,
        "positions": "rotary",
        "rotary_base": 160_000.0,
        "rotary_base_local": 10_000.0,
        "norm_first": True,
        "norm_before_first": False,
        "norm_epsilon": 1e-5,
        "activation": "geglu",
        "segment_types": 0,
        "bias": False,
        "final_norm": True,
        "window": 64,
        "global_every": 3,
        "dropout": 0.0,
        "scale_residual": True,
    }
    return _changed(fields, changes)


def t5(depth: int = 6, width: int = 512, heads: int = 8, **changes: Any) -> TransformerConfig:
    """Returns one half of T5: RMSNorm before each part and at the end, no biases.

    It is the encoder; `causal=True` makes it the decoder. The gated feed-forward part is that of the later
    T5 1.1 (Shazeer 2020), and rotary positions, which fused kernels can compute, stand in for T5's relative
    biases (`positions="relative"`, with `attention_scale=1.0`). T5 1.1 computes GELU with tanh
    (`activation="geglu_tanh"`).

    Args:
      depth: Number of layers of this half; 6 for T5-small.
      width: Width of the states; 512.
      heads: Attention heads; 8.
      changes: Other values for fields of `TransformerConfig`.

    References:
      Raffel et al. 2020, "T5", section 2.1.
    """
    fields = {
        "depth": depth,
        "width": width,
        "heads": heads,
        "positions": "rotary",
        "norm": "rms",
        "norm_first": True,
        "norm_epsilon": 1e-6,
        "activation": "geglu",
        "segment_types": 0,
        "bias": False,
        "embedding_norm": False,
        "final_norm": True,
    }
    return _changed(fields, changes)


def bart(depth: int = 6, width: int = 768, heads: int = 12, **changes: Any) -> TransformerConfig:
    """Returns one half of BART: BERT's layers without segment types.

    It is the encoder; `causal=True` makes it the decoder.

    Args:
      depth: Number of layers of this half; 6 for BART-base.
      width: Width of the states; 768.
      heads: Attention heads; 12.
      changes: Other values for fields of `TransformerConfig`.

    References:
      Lewis et al. 2020, "BART", section 2.1.
    """
    fields = {
        "depth": depth,
        "width": width,
        "heads": heads,
        "max_length": 1024,
        "norm_epsilon": 1e-5,
        "segment_types": 0,
    }
    return _changed(fields, changes)


def vit(depth: int = 12, width: int = 768, heads: int = 12, **changes: Any) -> TransformerConfig:
    """Returns the blocks of ViT, without dropout, for `VisionTransformerConfig`.

    Args:
      depth: Number of layers; 12 for ViT-B, 24 for ViT-L.
      width: Width of the states; 768 and 1024.
      heads: Attention heads; 12 and 16.
      changes: Other values for fields of `TransformerConfig`.

    References:
      Dosovitskiy et al. 2021, "An image is worth 16x16 words", table 1.
    """
    fields = {
        "depth": depth,
        "width": width,
        "heads": heads,
        "norm_first": True,
        "norm_epsilon": 1e-6,
        "segment_types": 0,
        "embedding_norm": False,
        "final_norm": True,
        "dropout": 0.0,
    }
    return _changed(fields, changes)


def _changed(fields: dict[str, Any], changes: dict[str, Any]) -> TransformerConfig:
    """The recipe's fields with the caller's changes, checked together."""
    return TransformerConfig(**fields | changes)
