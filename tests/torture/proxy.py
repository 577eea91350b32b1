"""A proxy between a client and its server that drops connections at the worst moment: after the server did what it
was asked to, before the client hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
READY_FOR_QUERY = b"Z\x00\x00\x00\x05"  # and a byte of state: PostgreSQL's last word on a request, after its commit


@dataclass(kw_only=True)
class Cutter:
    """Forwards everything until it is armed. `answers`: those that clients never got."""

    connect: Callable[[], Awaitable[Stream]]
    end_of_answer: Callable[[bytes], bool]
    answers: list[bytes] = field(default_factory=list)
    cuts: int = 0
    _marker: bytes | None = None
    _wait_for_answer: bool = True

    def cut_answer_to(self, marker: bytes) -> None:
        """The next request that holds these bytes is answered to nobody: its connection ends instead."""
        self._marker, self._wait_for_answer = marker, True

    def cut_after(self, marker: bytes) -> None:
        """The connection of the next such request ends as soon as the server has it, whatever becomes of it."""
        self._marker, self._wait_for_answer = marker, False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        from_server, to_server = await self.connect()
        doomed = asyncio.Event()

        async def requests() -> None:
            tail = b""
            while data := await reader.read(65536):
                tail = tail[-1024:] + data
                if self._marker is not None and self._marker in tail:
                    self._marker = None
                    doomed.set()
                to_server.write(data)
                await to_server.drain()
                if doomed.is_set() and not self._wait_for_answer:
                    self.cuts += 1
                    return

        async def answers() -> None:
            dropped = b""
            while data := await from_server.read(65536):
                if not doomed.is_set():
                    writer.write(data)
                    await writer.drain()
                    continue
                dropped += data
                if self.end_of_answer(dropped):
                    self.answers.append(dropped)
                    self.cuts += 1
                    return

        both = [asyncio.ensure_future(requests()), asyncio.ensure_future(answers())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            for end in (writer, to_server):
                end.close()
                with suppress(OSError):
                    await end.wait_closed()


@asynccontextmanager
async def before_postgres(socket: Path, *, folder: Path) -> AsyncIterator[Cutter]:
    """In front of a server's socket; connect with `folder` as the host and the same port."""
    cutter = Cutter(
        connect=lambda: asyncio.open_unix_connection(str(socket)),
        end_of_answer=lambda data: data[-6:-1] == READY_FOR_QUERY,
    )
    async with await asyncio.start_unix_server(cutter.serve, path=str(folder / socket.name)):
        yield cutter


@asynccontextmanager
async def before_http(port: int) -> AsyncIterator[tuple[Cutter, int]]:
    """In front of a server on loopback, and the port to use instead. Answers have a Content-Length."""
    cutter = Cutter(connect=lambda: asyncio.open_connection("127.0.0.1", port), end_of_answer=_is_whole)
    async with await asyncio.start_server(cutter.serve, "127.0.0.1", 0) as server:
        yield cutter, server.sockets[0].getsockname()[1]


def _is_whole(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(lengths) and len(body) >= int(lengths[0].partition(b":")[2])


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]
