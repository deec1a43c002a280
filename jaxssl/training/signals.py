"""Stopping when asked: SIGTERM and Ctrl-C set a flag that the loop looks at after every step."""

import signal
from types import FrameType, TracebackType


class StopRequest:
    """Within it, the first SIGTERM or SIGINT asks the loop to save and leave; a second ends at once."""

    def __init__(self) -> None:
        self.reason = ""
        self._before: dict[int, object] = {}

    @property
    def requested(self) -> bool:
        return bool(self.reason)

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.reason = signal.Signals(number).name
        signal.signal(number, signal.SIG_DFL)
