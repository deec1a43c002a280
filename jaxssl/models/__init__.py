"""Networks as plain pytrees: Flax NNX modules without state of their own; random keys are arguments.

transformer.py          the network of BERT, GPT-2 and the modern recipe, with its fields in
                        transformer_config.py and its layers in transformer_layers.py
encoder_decoder.py      an encoder and a decoder of such layers, as in T5 and BART
vision_transformer.py   such layers over the patches of images
resnet.py               residual networks
recipes.py              published shapes, as functions that return a `TransformerConfig`
layers/                 linear layers, norms, attention, dropout, convolution, patches
pretraining/            networks with the heads that one objective trains
plain.py                a model as a nested dict of arrays, the form on disk
"""

from jaxssl import show_fields
from jaxssl.models.encoder_decoder import EncoderDecoder
from jaxssl.models.layers.packing import positions_of, segments_of
from jaxssl.models.recipes import bart, bert, gpt2, modern, modernbert, t5, vit
from jaxssl.models.resnet import ResNet, ResNetConfig
from jaxssl.models.transformer import Transformer
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.models.vision_transformer import VisionTransformer, VisionTransformerConfig

__all__ = [
    "EncoderDecoder",
    "ResNet",
    "ResNetConfig",
    "Transformer",
    "TransformerConfig",
    "VisionTransformer",
    "VisionTransformerConfig",
    "bart",
    "bert",
    "gpt2",
    "modern",
    "modernbert",
    "positions_of",
    "segments_of",
    "t5",
    "vit",
]

show_fields(globals()[name] for name in __all__)
