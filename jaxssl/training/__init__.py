"""The run: configuration, mesh, step, optimizer, checkpoints, metrics. `train.py` puts them together."""
