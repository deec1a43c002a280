"""One self-supervised task a file: idea, equation, reference, dataclass, corruption, loss."""

from jaxssl import show_fields
from jaxssl.objectives.barlow_twins import BarlowTwins
from jaxssl.objectives.batches.batch import Ratio
from jaxssl.objectives.byol import BYOL
from jaxssl.objectives.causal_lm import CausalLM
from jaxssl.objectives.colorization import Colorization
from jaxssl.objectives.contract import ContrastiveObjective, Objective
from jaxssl.objectives.denoising import Denoising
from jaxssl.objectives.dino import DINO
from jaxssl.objectives.electra import Electra
from jaxssl.objectives.image_autoencoder import ImageAutoencoder
from jaxssl.objectives.image_text import ImageText
from jaxssl.objectives.joint_embedding.teacher import Momentum
from jaxssl.objectives.masked_autoencoder import MaskedAutoencoder
from jaxssl.objectives.masked_embedding import MaskedEmbedding
from jaxssl.objectives.masked_lm import MaskedLM
from jaxssl.objectives.rotation import Rotation
from jaxssl.objectives.sentence_pairs import NextSentence, SentenceOrder
from jaxssl.objectives.simclr import SimCLR
from jaxssl.objectives.simcse import SimCSE
from jaxssl.objectives.simsiam import SimSiam
from jaxssl.objectives.span_corruption import SpanCorruption
from jaxssl.objectives.vicreg import VICReg
from jaxssl.objectives.word_vectors import WordVectors

__all__ = [
    "BYOL",
    "DINO",
    "BarlowTwins",
    "CausalLM",
    "Colorization",
    "ContrastiveObjective",
    "Denoising",
    "Electra",
    "ImageAutoencoder",
    "ImageText",
    "MaskedAutoencoder",
    "MaskedEmbedding",
    "MaskedLM",
    "Momentum",
    "NextSentence",
    "Objective",
    "Ratio",
    "Rotation",
    "SentenceOrder",
    "SimCLR",
    "SimCSE",
    "SimSiam",
    "SpanCorruption",
    "VICReg",
    "WordVectors",
]

show_fields(globals()[name] for name in __all__)
