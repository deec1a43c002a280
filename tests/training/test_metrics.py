"""What a report asks of the device."""

from types import SimpleNamespace

from jaxssl.training.collapse import CollapseAlarm
from jaxssl.training.metrics import RUN_AHEAD, Report


class Pending:
    """A metric of a step that the device is still at, and a note of when it is waited for."""

    def __init__(self, step, waited):
        self.step, self.waited = step, waited

    def block_until_ready(self):
        self.waited.append(self.step)
        return self


def test_the_host_stays_a_few_steps_ahead(tmp_path):
    objective = SimpleNamespace(forward_flops=lambda spec: 1.0)
    config = SimpleNamespace(
        run=tmp_path, steps=100, report_every=50, objective=objective, collapse=CollapseAlarm()
    )
    rows = SimpleNamespace(spec=SimpleNamespace(batch=2, unit="tokens", units=8))
    waited = []
    with Report(config, rows, start=0) as report:
        for step in range(20):
            report.step(step, {"loss": Pending(step, waited)})
    assert waited == list(range(20 - RUN_AHEAD))
