"""A client cheap enough to have thousands of requests open at once, or thousands a second: HTTP/1.1 by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from colink.cli.shopify_traffic import SignedDelivery


@dataclass(frozen=True, kw_only=True)
class Told:
    """An answer: status and headers, names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Caller:
    """One connection to loopback, kept open. Waits for answers however long it takes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Told:
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await self._writer.drain()
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n")
        status, *fields = head.split("\r\n")
        told = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        answer = await self._reader.readexactly(int(told.get("content-length", "0")))
        return Told(status=int(status.split(" ")[1]), headers=told, body=answer)

    async def deliver(self, store_id: str, delivery: SignedDelivery) -> Told:
        return await self.ask("POST", f"/webhooks/shopify/{store_id}", delivery.headers, delivery.body)

    def close(self) -> None:
        self._writer.close()
