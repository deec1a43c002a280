"""A small encoder in an hour of one core: tokens made cheap (Muon, pre-norm, short rows, lower case).

    jaxssl prepare train.txt.xz --documents blank_line --valid valid.txt.xz --into prepared/novels \\
        --length 64 --normalization nfkc_cf
    python train.py --config configs/novels_encoder.py

4 M parameters, 20 M tokens of 61 novels. MEASURED
"""

from jaxssl.data.loader import Rows
from jaxssl.models.recipes import modern
from jaxssl.objectives import MaskedLM
from jaxssl.training.config import Pretraining
from jaxssl.training.optimizer import Muon

config = Pretraining(
    data=Rows("prepared/novels", batch=96),
    objective=MaskedLM(encoder=modern(depth=4, width=192, heads=3, max_length=64), rate=0.2),
    optimizer=Muon(peak=3e-3, warmup=100, schedule="linear", decay=0.05, b2=0.98),
    steps=3_300,
    evaluate_batches=100,
)
