"""BART at the size of a laptop (L3+3 H192): denoising the English that ships with Python.

    python train.py --config configs/bart_tiny.py

Lewis et al. 2020, section 2.2: 30 % of the tokens infilled and sentences permuted; the whole text is written.
The norm stands before each part, so that it learns something in minutes. The rows are those of
configs/quickstart.py.
"""

from jaxssl.data import Prepare, Rows, SentencePiece, StandardLibrary
from jaxssl.models import bart
from jaxssl.objectives import Denoising
from jaxssl.optimizers.recipes import Muon
from jaxssl.training.config import Pretraining

HALF = {
    "depth": 3,
    "width": 192,
    "heads": 3,
    "max_length": 64,
    "dropout": 0.0,
    "norm_first": True,
    "final_norm": True,
}

config = Pretraining(
    data=Rows(
        "prepared/quickstart",
        batch=64,
        prepare=Prepare(
            source=StandardLibrary(),
            tokenizer=SentencePiece(vocab_size=4096),
            length=64,
            valid=0.05,
        ),
    ),
    objective=Denoising(encoder=bart(**HALF), decoder=bart(**HALF, causal=True)),
    optimizer=Muon(peak=3e-3, warmup=50, b2=0.98, decay=0.05),
    steps=600,
    report_every=25,
    evaluate_every=200,
    save_every=200,
)
