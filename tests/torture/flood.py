"""A client cheap enough to have thousands of requests open at once: one connection each, written and read by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from colink.cli.shopify_traffic import SignedDelivery


@dataclass(frozen=True, kw_only=True)
class Told:
    """An answer: status and headers, names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


_CONNECTING = asyncio.Semaphore(256)  # a server's backlog is no queue


async def deliver(port: int, store_id: str, delivery: SignedDelivery) -> Told:
    """POST a delivery to loopback, on a connection of its own. Waits for the answer however long it takes."""
    async with _CONNECTING:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        lines = [f"POST /webhooks/shopify/{store_id} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in delivery.headers.items()]
        lines += [f"Content-Length: {len(delivery.body)}", "", ""]
        writer.write("\r\n".join(lines).encode() + delivery.body)
        await writer.drain()
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    status, *fields = head.decode("latin-1").split("\r\n")
    headers = dict(field.lower().split(": ", 1) for field in fields)
    return Told(status=int(status.split(" ")[1]), headers=headers, body=body)
