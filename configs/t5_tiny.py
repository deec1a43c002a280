"""T5 at the size of a laptop (L3+3 H192): span corruption on the English that ships with Python.

    python train.py --config configs/t5_tiny.py

Raffel et al. 2020, section 3.1.4: 15 % of the tokens are hidden in spans of 3 on average and written out
behind their sentinels; the encoder is what finetuning takes. The rows are those of configs/quickstart.py.
"""

from jaxssl.data import Prepare, Rows, SentencePiece, StandardLibrary
from jaxssl.models import t5
from jaxssl.objectives import SpanCorruption
from jaxssl.optimizers.recipes import Muon
from jaxssl.training.config import Pretraining

HALF = {"depth": 3, "width": 192, "heads": 3, "max_length": 64, "dropout": 0.0}

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
    objective=SpanCorruption(encoder=t5(**HALF), decoder=t5(**HALF, causal=True)),
    optimizer=Muon(peak=3e-3, warmup=50, b2=0.98, decay=0.05),
    steps=600,
    report_every=25,
    evaluate_every=200,
    save_every=200,
)
