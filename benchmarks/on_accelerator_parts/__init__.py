"""The parts of `benchmarks/on_accelerator.py`, each of which runs in a process of its own."""
