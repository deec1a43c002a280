"""moto's S3 server in a thread of the test, behind a layer that injects faults at chosen requests."""

import re
import threading
import time
from collections.abc import Iterable
from typing import Any

import boto3
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

SLOW = 0.2  # seconds
ERROR = b"<Error><Code>InternalError</Code><Message>injected</Message></Error>"


class Faults:
    """A WSGI layer. The n-th of the requests that match gets the fault that is planned for n.

    slow         answered after a pause
    error        500
    cut          half of the body, then the connection is closed
    truncated    half of the body, and the headers say that this is all
    """

    def __init__(self, application: Any):
        self.application = application
        self._turn = threading.Lock()
        self.clear()

    def clear(self) -> None:
        self.is_down, self.count = False, 0
        self.injected: list[str] = []
        self._plan: dict[int, str] = {}
        self._matching = re.compile("")

    def plan(self, plan: dict[int, str], matching: str = "") -> None:
        """Faults by number of request, from 1, among those whose `METHOD path` matches."""
        self.clear()
        self._plan, self._matching = plan, re.compile(matching)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        fault = self._next(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        if fault == "error":
            start_response("500 Internal Server Error", [("Content-Length", str(len(ERROR)))])
            return [ERROR]
        if fault == "slow":
            time.sleep(SLOW)
        if fault in ("cut", "truncated"):
            return self._half(environ, start_response, is_told=fault == "truncated")
        return self.application(environ, start_response)

    def _next(self, request: str) -> str:
        with self._turn:
            if self.is_down:
                return "error"
            if not self._matching.search(request):
                return ""
            self.count += 1
            fault = self._plan.get(self.count, "")
            self.injected += [fault] if fault else []
            return fault

    def _half(self, environ: Any, start_response: Any, *, is_told: bool) -> Iterable[bytes]:
        answer: list[Any] = []
        body = b"".join(self.application(environ, lambda *given: answer.append(given)))
        status, headers, *_ = answer[0]
        length = len(body) // 2 if is_told else len(body)
        kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
        start_response(status, [*kept, ("Content-Length", str(length))])
        return [body[: len(body) // 2]]


class _Quiet(MotoRequestHandler):
    def log(self, *_: Any) -> None:
        pass


class S3Server:
    """The server within a `with` statement."""

    def __init__(self) -> None:
        self.faults = Faults(DomainDispatcherApplication(create_backend_app))
        self._server = make_server("127.0.0.1", 0, self.faults, True, request_handler=_Quiet)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._buckets = 0

    def __enter__(self) -> "S3Server":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()

    def new_bucket(self) -> str:
        """The URL of an empty bucket."""
        self._buckets += 1
        name = f"bucket-{self._buckets}"
        boto3.client("s3", endpoint_url=self.address).create_bucket(Bucket=name)
        return f"s3://{name}"
