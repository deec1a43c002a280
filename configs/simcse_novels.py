"""SimCSE from the encoder of `novels_encoder.py`, on the same rows: minutes on one core.

python train.py --config configs/simcse_novels.py --start runs/novels_encoder
"""

from jaxssl.data.loader import Rows
from jaxssl.models.recipes import modern
from jaxssl.objectives import SimCSE
from jaxssl.training.config import Pretraining
from jaxssl.training.optimizer import AdamW

config = Pretraining(
    data=Rows("prepared/novels", batch=128),
    objective=SimCSE(
        encoder=modern(depth=4, width=192, heads=3, max_length=64, dropout=0.1), pooling="mean"
    ),
    optimizer=AdamW(peak=3e-4, warmup=50),
    start="runs/novels_encoder",
    steps=500,
    report_every=25,
    evaluate_every=100,
    save_every=100,
)
