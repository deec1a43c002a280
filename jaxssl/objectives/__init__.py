"""One self-supervised task a file: idea, equation, reference, dataclass, corruption, loss."""

from jaxssl.objectives.causal_lm import CausalLM
from jaxssl.objectives.colorization import Colorization
from jaxssl.objectives.denoising import Denoising
from jaxssl.objectives.electra import Electra
from jaxssl.objectives.image_autoencoder import ImageAutoencoder
from jaxssl.objectives.masked_autoencoder import MaskedAutoencoder
from jaxssl.objectives.masked_embedding import MaskedEmbedding
from jaxssl.objectives.masked_lm import MaskedLM
from jaxssl.objectives.rotation import Rotation
from jaxssl.objectives.sentence_pairs import NextSentence, SentenceOrder
from jaxssl.objectives.simcse import SimCSE
from jaxssl.objectives.span_corruption import SpanCorruption
from jaxssl.objectives.word_vectors import WordVectors

__all__ = [
    "CausalLM",
    "Colorization",
    "Denoising",
    "Electra",
    "ImageAutoencoder",
    "MaskedAutoencoder",
    "MaskedEmbedding",
    "MaskedLM",
    "NextSentence",
    "Rotation",
    "SentenceOrder",
    "SimCSE",
    "SpanCorruption",
    "WordVectors",
]
