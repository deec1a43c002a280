"""Checkpoints of two small text files, written as Orbax would, for tests that train nothing."""

from jaxssl.runs.stored_runs import run_folder


def write_step(url, step, parent="checkpoints", text="parameters"):
    folder = run_folder(url) / parent / str(step)
    (folder / "state" / "d").mkdir(parents=True)
    (folder / "state" / "d" / "0").write_text(f"{text} {step}", encoding="utf8")
    (folder / "_CHECKPOINT_METADATA").write_text("{}", encoding="utf8")
