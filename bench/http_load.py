"""The load generator, a process of its own: `python -m bench.http_load URL REQUESTS CONNECTIONS` sends what is in the
file REQUESTS to the host of URL, over so many connections, each waiting for its answer before its next request.

It shares the machine with what it measures, so it is made to be light: requests are complete bytes beforehand, an
answer is only cut off by its Content-Length and looked at for its status. Not a general HTTP client.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a run of the generator saw: requests per second, and milliseconds that half, and 99 of 100, took at most.
    `statuses`: how many answers had which."""

    rate: float
    p50: float
    p99: float
    statuses: Mapping[str, int]

    def check_all(self, status: int) -> Load:
        """Raises AssertionError where another status was among the answers: it would be no measurement."""
        assert set(self.statuses) == {str(status)}, f"answers were {dict(self.statuses)}"
        return self

    def __str__(self) -> str:
        return f"p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms"


def request_bytes(method: str, path: str, *, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """One request as it goes over the wire."""
    fields = {"Host": "127.0.0.1", **headers, "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def measure(url: str, requests: Iterable[bytes], *, connections: int) -> Load:
    """Send the requests from a process of their own and wait for its end."""
    with tempfile.NamedTemporaryFile(prefix="colink-load-") as file:
        for request in requests:
            file.write(len(request).to_bytes(4, "big") + request)
        file.flush()
        done = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-m", "bench.http_load", url, file.name, str(connections)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
        )
    return Load(**json.loads(done.stdout))


def read_requests(path: Path) -> list[bytes]:
    data = path.read_bytes()
    requests, at = [], 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        requests.append(data[at + 4 : end])
        at = end
    return requests


class _Connection(asyncio.Protocol):
    """One caller: takes the next request as soon as its last one is answered."""

    def __init__(self, requests: Iterator[bytes], seconds: list[float], statuses: Counter[str]) -> None:
        self._requests = requests
        self._seconds = seconds
        self._statuses = statuses
        self._answer = b""
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send_next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            if not self.done.done():
                self.done.set_result(None)
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head_end = self._answer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._answer[:head_end].lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(self._answer) < head_end + 4 + length:
            return
        self._seconds.append(time.perf_counter() - self._sent_at)
        self._statuses[self._answer[9:12].decode()] += 1
        self._answer = b""
        self.send_next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server closed a connection"))


async def send_all(url: str, requests: list[bytes], connections: int) -> Load:
    loop = asyncio.get_running_loop()
    address = urlsplit(url)
    seconds: list[float] = []
    statuses: Counter[str] = Counter()
    waiting = iter(requests)
    callers = []
    for _ in range(connections):
        _, caller = await loop.create_connection(
            lambda: _Connection(waiting, seconds, statuses), address.hostname, address.port
        )
        callers.append(caller)
    began = time.perf_counter()
    for caller in callers:
        caller.send_next()
    await asyncio.gather(*(caller.done for caller in callers))
    took = time.perf_counter() - began
    ranked = sorted(seconds)
    return Load(
        rate=len(ranked) / took,
        p50=ranked[len(ranked) // 2] * 1000,
        p99=ranked[len(ranked) * 99 // 100] * 1000,
        statuses=dict(statuses),
    )


if __name__ == "__main__":
    host, file_name, count = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(asdict(runner.run(send_all(host, read_requests(Path(file_name)), int(count))))))
