"""An autoencoder on text (L3+3 H192): every document through the states of its first eight positions.

    python train.py --config configs/autoencoder_tiny.py

BART's denoising with nothing damaged; what the decoder sees of a document is a fixed number of vectors
instead (one of them: Wang et al. 2021, "TSDAE"). The rows are those of configs/quickstart.py.
"""

from jaxssl.data import Prepare, Rows, SentencePiece, StandardLibrary
from jaxssl.models import modern
from jaxssl.objectives import Denoising
from jaxssl.optimizers.recipes import Muon
from jaxssl.training.config import Pretraining

HALF = {"depth": 3, "width": 192, "heads": 3, "max_length": 64}

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
    objective=Denoising(
        encoder=modern(**HALF),
        decoder=modern(**HALF, causal=True),
        infilling=0.0,
        permutation=False,
        bottleneck=8,
    ),
    optimizer=Muon(peak=3e-3, warmup=50, b2=0.98, decay=0.05),
    steps=600,
    report_every=25,
    evaluate_every=200,
    save_every=200,
)
