"""Self-supervised objectives, one a file: idea, equation, reference, configuration, corruption, loss.

Where the method of a paper is, and a recipe in `configs/` that trains it:

    paper                                    class                                  recipe
    BERT (Devlin et al. 2019)                MaskedLM(second_task=NextSentence())   bert_base, quickstart
    RoBERTa (Liu et al. 2019)                MaskedLM()                             bert_tiny
    ALBERT's sentence order (Lan 2020)       MaskedLM(second_task=SentenceOrder())  bert_small
    SpanBERT's masking (Joshi et al. 2020)   MaskedLM(masking="spans")              bert_tiny
    ModernBERT (Warner et al. 2024)          MaskedLM(models.modernbert())          modernbert_base
    ELECTRA (Clark et al. 2020)              Electra                                electra_base
    data2vec, text (Baevski et al. 2022)     MaskedEmbedding                        data2vec_base
    GPT, GPT-2 (Radford et al. 2018, 2019)   CausalLM                               gpt2_small, gpt_1b3
    prefix LM of T5 (Raffel et al. 2020)     CausalLM(prefix=True)                  prefix_lm_tiny
    T5 (Raffel et al. 2020)                  SpanCorruption                         t5_small
    BART (Lewis et al. 2020)                 Denoising                              bart_base
    text autoencoder, TSDAE (Wang 2021)      Denoising(bottleneck=1, ...)           autoencoder_tiny
    SimCSE (Gao et al. 2021)                 SimCSE                                 simcse_bert_base
    word2vec, skip-gram (Mikolov 2013)       WordVectors                            skip_gram_base
    word2vec, CBOW (Mikolov 2013)            WordVectors(model="cbow")              skip_gram_novels
    SimCLR (Chen et al. 2020)                SimCLR                                 simclr_resnet50_imagenet
    BYOL (Grill et al. 2020)                 BYOL                                   byol_resnet50_imagenet
    SimSiam (Chen & He 2021)                 SimSiam                                simsiam_resnet50
    Barlow Twins (Zbontar et al. 2021)       BarlowTwins                            barlow_twins_resnet50
    VICReg (Bardes et al. 2022)              VICReg                                 vicreg_resnet50
    DINO (Caron et al. 2021)                 DINO                                   dino_vits16
    MAE (He et al. 2022)                     MaskedAutoencoder                      mae_vitb16
    RotNet (Gidaris et al. 2018)             Rotation                               rotation_resnet50
    Colorization (Zhang et al. 2016)         Colorization                           colorization_resnet50
    denoising autoencoder (Vincent 2008)     ImageAutoencoder(mask_ratio=0.25)      autoencoder_resnet50
    CLIP (Radford et al. 2021)               ImageText                              clip_vitb16
    SigLIP (Zhai et al. 2023)                ImageText(kind="siglip")               siglip_tiny

Three of the recipes need another option: set `objective.masking` of `bert_tiny` to "spans" (SpanBERT's second
objective, the span boundary, is not here), `objective.model` of `skip_gram_novels` to "cbow", and
`objective.bottleneck` of `autoencoder_tiny` to 1.

An objective of your own inherits from `Objective`, `ContrastiveObjective` or, for two views of images,
`TwoViews`; it reads `Text` or `Images`, and reports each metric as a `Ratio` or a `Separation`.
"""

from jaxssl import show_fields
from jaxssl.objectives.barlow_twins import BarlowTwins
from jaxssl.objectives.batches.batch import (
    Images,
    Ratio,
    Separation,
    Text,
    Vocabulary,
    share_evenly,
)
from jaxssl.objectives.byol import BYOL
from jaxssl.objectives.causal_lm import CausalLM
from jaxssl.objectives.colorization import Colorization
from jaxssl.objectives.contract import ContrastiveObjective, Objective, moving_average
from jaxssl.objectives.denoising import Denoising
from jaxssl.objectives.dino import DINO
from jaxssl.objectives.electra import Electra
from jaxssl.objectives.image_autoencoder import ImageAutoencoder
from jaxssl.objectives.image_text import ImageText
from jaxssl.objectives.joint_embedding.teacher import Momentum
from jaxssl.objectives.joint_embedding.two_views import Projections, TwoViews
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
    "Images",
    "MaskedAutoencoder",
    "MaskedEmbedding",
    "MaskedLM",
    "Momentum",
    "NextSentence",
    "Objective",
    "Projections",
    "Ratio",
    "Rotation",
    "SentenceOrder",
    "Separation",
    "SimCLR",
    "SimCSE",
    "SimSiam",
    "SpanCorruption",
    "Text",
    "TwoViews",
    "VICReg",
    "Vocabulary",
    "WordVectors",
    "moving_average",
    "share_evenly",
]

show_fields(globals()[name] for name in __all__)
