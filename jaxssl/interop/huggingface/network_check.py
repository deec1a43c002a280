"""Compares a network with those that a family of transformers can compute, field by field."""

from dataclasses import fields, replace

from jaxssl.data.stores.json_types import short
from jaxssl.errors import InputError
from jaxssl.models.transformer_config import TransformerConfig

# Fields that change no number of a forward pass, or none of rows of an allowed length
IMMATERIAL = (
    *("dropout", "attention_dropout", "initializer_range", "scale_residual"),
    *("attention", "remat", "unroll", "sequence_parallel", "compute_dtype", "longer_rows"),
)


def check_network(
    network: TransformerConfig, theirs: TransformerConfig, family: str, *free: str, field: str
) -> None:
    """Checks that a family has the network of a run.

    Args:
      network: The network of the run.
      theirs: A network of the family.
      family: Name of the family for the message.
      *free: Fields in which networks of the family differ.
      field: Field of the objective that holds the network, such as "decoder".

    Raises:
      InputError: Another field differs that changes numbers.
    """
    own, other = plain(network), plain(theirs)
    for entry in fields(network):
        name = entry.name
        mine, its = getattr(own, name), getattr(other, name)
        if name not in (*free, *IMMATERIAL) and mine != its:
            raise InputError(
                f"{family} has networks with {name}={short(its)}, and {field}.{name} is {short(mine)}"
            )


def plain(network: TransformerConfig) -> TransformerConfig:
    """Returns the same `network`, with defaults where a field has no effect or holds what they stand for."""
    default = TransformerConfig()
    stands_for = {
        "kv_heads": network.heads,
        "head_width": network.width // network.heads,
        "embedding_width": network.width,
        "mlp": 4 * network.width,
        "attention_scale": network.head_dim**-0.5,
        "qkv_bias": network.bias,
    }
    idle: list[str] = []
    if network.positions != "learned":
        idle += ["position_offset"]
    if network.positions != "rotary":
        idle += ["rotary_base", "rotary_base_local", "rotary_scaling"]
    if network.positions != "relative":
        idle += ["relative_buckets", "relative_distance"]
    if not any(network.local_layers):
        idle += ["window", "global_every", "rotary_base_local"]
    if not network.norm_first:
        idle += ["norm_before_first"]
    idle += [name for name, value in stands_for.items() if getattr(network, name) == value]
    return replace(network, **{name: getattr(default, name) for name in idle})


def scale_of(network: TransformerConfig) -> float:
    """Returns the factor of the products of queries and keys of a `network`."""
    own = network.attention_scale
    return float(network.head_dim**-0.5) if own is None else own
