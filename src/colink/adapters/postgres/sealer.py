"""The sealer: follows the commerce log, seals what is new, and signs a tree head now and then.

Responsible for the order of things: chain and tree nodes of a batch in one transaction, a signature only over a tree
that begins with every tree signed before. Not responsible for the bytes (domain.sealing), the tables and what they
refuse (migration 0004), or when it runs (the worker).

    events after the last seal --> leaves --> chain, tree --> colink.seal(...)           as long as there are any
    newest seal --> root at the sizes signed before, equal? --> sign --> file --> colink.publish_checkpoint(...)

Any number of sealers may run: one holds the lock for the length of a transaction, the others do nothing meanwhile.
There is no state but a cache: killed anywhere, the next one goes on where the tables end. What is about to be
published is written to the key's folder first, so that a signature is never forgotten.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from psycopg import Error

from colink.adapters.postgres.pool import AsyncPool
from colink.adapters.sealing_keys import KeyFolder, SealRefused
from colink.application.ports import Clock
from colink.application.sealing.keys import SigningKey
from colink.domain.errors import ColinkError
from colink.domain.sealing.checkpoint import Checkpoint, VerifierKey
from colink.domain.sealing.encoding import NotSealable, genesis, leaves_of_data, links, position_of
from colink.domain.sealing.merkle import CompactRange, NotInTree, spans
from colink.projections.engine import Connection
from colink.projections.seals import SEALED_DATA, newest_checkpoint, root_at, stored_hashes, verifier_keys

_log = structlog.get_logger(__name__)

_NODE_LEVELS = (8, 16)
_BATCH = 4_096  # events a transaction
_BATCHES_A_RUN = 128  # then the worker gets to look up
_SECONDS_BETWEEN = 1.0  # of signatures while the log keeps growing


@dataclass(slots=True)
class _End:
    """Where the seals end: the last link, and the tree over all of them."""

    chain: bytes
    tree: CompactRange


@dataclass(frozen=True, slots=True)
class _Batch:
    """Events as canonical bytes and how many NULLs are among them, from the position `after` on."""

    after: int
    rows: Sequence[tuple[bytes, int]]

    def check_gapless(self) -> None:
        """Raises SealRefused. Rows come in order, so a gap shows in the last of them."""
        if position_of(self.rows[-1][0]) == self.after + len(self.rows):
            return
        missing = next(at for at, (data, _) in enumerate(self.rows, self.after + 1) if position_of(data) != at)
        msg = f"there is no event at position {missing}, and there are later ones: the log was damaged"
        raise SealRefused(msg)


class Sealer:
    """Seals the log `origin`. `monotonic` tells seconds."""

    def __init__(
        self,
        pool: AsyncPool,
        keys: KeyFolder,
        clock: Clock,
        *,
        origin: str,
        batch_size: int = _BATCH,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._keys = keys
        self._clock = clock
        self._origin = origin
        self._batch_size = batch_size
        self._monotonic = monotonic
        self._end: _End | None = None  # as this sealer left it; read again where the tables say otherwise
        self._signed_size = 0  # the tree this sealer knows to be signed
        self._sign_again_at = 0.0

    async def run(self) -> int:
        """Seal what there is, and sign: at once where the log stands still, every second while it grows. How many
        events were sealed. Raises SealRefused, NotSealable; the reason is kept for `audit checkpoint` and metrics."""
        sealed = 0
        try:
            batch = await self._read_events(None)
            for _ in range(_BATCHES_A_RUN):
                # The next ones are read while these are written: a backlog keeps both sides busy.
                added, following = await asyncio.gather(self._seal_batch(batch), self._read_following(batch))
                if not added:
                    break
                sealed, batch = sealed + added, following
            if not sealed or self._monotonic() >= self._sign_again_at:
                await self._sign()
        except (SealRefused, NotSealable) as refusal:
            await self._raise_alarm(refusal)
            raise
        return sealed

    async def add_key(self) -> VerifierKey:
        """Make a new key, the one that signs from now on; those before it are retired, and what they signed binds no
        more. For operators who lost a key, or restored a backup older than what was signed."""
        async with self._pool.connection() as conn, conn.transaction():
            key = await self._new_key(conn, replaces=next(reversed(await verifier_keys(conn)), None))
        self._keys.retire_all_but(key.verifier)
        return key.verifier

    # Sealing ------------------------------------------------------------------------------------------------------

    async def _seal_batch(self, batch: _Batch) -> int:
        """How many events were sealed: none where another sealer is at it, or sealed them since they were read."""
        if not batch.rows:
            return 0
        try:
            async with self._pool.connection() as conn, conn.transaction():
                if not await _locked(conn):
                    return 0
                end = await self._read_end(conn)
                if end.tree.size != batch.after:
                    return 0
                batch.check_gapless()
                leaves = leaves_of_data(batch.after + 1, batch.rows)
                chain = links(end.chain, leaves)
                end.tree.extend(leaves)
                await _write(conn, after=batch.after, previous=end.chain, leaves=leaves, chain=chain, tree=end.tree)
        except BaseException:
            self._end = None  # it may hold what was never committed
            raise
        end.chain = chain[-1]
        self._end = end
        return len(leaves)

    async def _read_end(self, conn: Connection) -> _End:
        cursor = await conn.execute("SELECT position, chain FROM colink.seals ORDER BY position DESC LIMIT 1")
        size, chain = await cursor.fetchone() or (0, genesis(self._origin))
        if self._end is not None and (self._end.tree.size, self._end.chain) == (size, chain):
            return self._end
        try:
            hashes = await stored_hashes(conn, spans([(0, size)]))
            return _End(chain=chain, tree=CompactRange.of(hashes, size, watch=_NODE_LEVELS))
        except NotInTree as missing:
            msg = f"the seals are damaged: {missing.detail}"
            raise SealRefused(msg) from missing

    async def _read_following(self, batch: _Batch) -> _Batch:
        after = batch.after + len(batch.rows)
        return await self._read_events(after) if len(batch.rows) == self._batch_size else _Batch(after, [])

    async def _read_events(self, after: int | None) -> _Batch:
        """The events after a position, the last seal where None. No lock is needed: events never change."""
        async with self._pool.connection() as conn:
            if after is None:
                after = await _sealed(conn)
            cursor = await conn.execute(
                f"SELECT {SEALED_DATA} FROM (SELECT * FROM colink.events"
                " WHERE position > %s ORDER BY position LIMIT %s) events ORDER BY position",
                (after, self._batch_size),
                binary=True,
            )
            return _Batch(after, await cursor.fetchall())

    # Signing ------------------------------------------------------------------------------------------------------

    async def _sign(self) -> None:
        async with self._pool.connection() as conn:
            if await _sealed(conn) == self._signed_size or not await self._has_key(conn):
                return
            async with conn.transaction():
                if not await _locked(conn):
                    return
                size = await _sealed(conn)
                published = await newest_checkpoint(conn)
                await self._check_grown_from(conn, size, self._keys.signed())
                if published is not None:
                    before = Checkpoint(origin=self._origin, size=published.tree_size, root=published.root)
                    await self._check_grown_from(conn, size, [before])
                if published is None or size > published.tree_size:
                    await self._publish(conn, size)
        self._signed_size = size
        self._sign_again_at = self._monotonic() + _SECONDS_BETWEEN

    async def _check_grown_from(self, conn: Connection, size: int, signed: Sequence[Checkpoint]) -> None:
        """That what is sealed begins with each of these trees. Raises SealRefused."""
        for before in signed:
            if before.size > size:
                msg = (
                    f"a tree of {before.size} events was signed, but only {size} are sealed: the database was rolled "
                    "back. Restore a newer backup; where there is none, see `colink audit new-key`"
                )
                raise SealRefused(msg)
            if await self._root(conn, before.size) != before.root:
                msg = (
                    f"the first {before.size} seals are not those that were signed: the log or its seals were "
                    "rewritten. Run `colink audit verify`"
                )
                raise SealRefused(msg)

    async def _root(self, conn: Connection, size: int) -> bytes:
        try:
            return await root_at(conn, size)
        except NotInTree as missing:
            msg = f"the seals are damaged: {missing.detail}"
            raise SealRefused(msg) from missing

    async def _publish(self, conn: Connection, size: int) -> None:
        key = self._keys.find(VerifierKey.parse((await verifier_keys(conn))[-1]))
        root = await self._root(conn, size)
        if self._end is not None and self._end.tree.size == size and self._end.tree.root() != root:
            raise SealRefused("the seals changed since they were written. Run `colink audit verify`")
        note = key.sign(Checkpoint(origin=self._origin, size=size, root=root))
        self._keys.remember(key.verifier, note)
        await conn.execute("SELECT colink.publish_checkpoint(%s, %b, %s, %s)", (size, root, note, self._clock.now()))

    async def _has_key(self, conn: Connection) -> bool:
        """Whether a key is in use. The first one is made here, and known to the database before it signs anything."""
        if await verifier_keys(conn):
            return True
        async with conn.transaction():
            if not await _locked(conn):
                return False
            if self._keys.signed():
                msg = (
                    "this log was signed here before, but the database knows no key: it was rolled back or rewritten"
                )
                raise SealRefused(msg)
            if not await verifier_keys(conn):
                await self._new_key(conn, replaces=None)
        return True

    async def _new_key(self, conn: Connection, *, replaces: str | None) -> SigningKey:
        key = self._keys.make()
        added = await conn.execute(
            "SELECT colink.add_checkpoint_key(%s, %s, %s)", (str(key.verifier), replaces, self._clock.now())
        )
        if await added.fetchone() != (True,):
            raise SealRefused("another key was made at the same moment; try again")
        _log.warning("a new key signs the log: tell its auditors", verifier_key=str(key.verifier))
        return key

    async def _raise_alarm(self, refusal: ColinkError) -> None:
        _log.error("sealing refused", reason=refusal.detail)
        try:
            async with self._pool.connection() as conn:
                await conn.execute("SELECT colink.raise_seal_alarm(%s, %s)", (refusal.detail, self._clock.now()))
        except Error as error:
            _log.warning("the alarm could not be kept", exc_info=error)


async def _locked(conn: Connection) -> bool:
    """Whether this transaction is the one that seals."""
    cursor = await conn.execute("SELECT colink.try_seal_lock()")
    return await cursor.fetchone() == (True,)


async def _sealed(conn: Connection) -> int:
    cursor = await conn.execute("SELECT coalesce(max(position), 0) FROM colink.seals")
    (size,) = await cursor.fetchone() or (0,)
    return int(size)


async def _write(
    conn: Connection,
    *,
    after: int,
    previous: bytes,
    leaves: Sequence[bytes],
    chain: Sequence[bytes],
    tree: CompactRange,
) -> None:
    nodes = [b"".join(tree.completed.pop(level, ())) for level in _NODE_LEVELS]
    cursor = await conn.execute(
        "SELECT colink.seal(%s, %b, %b, %b, %b, %b)", (after + 1, previous, b"".join(leaves), b"".join(chain), *nodes)
    )
    if await cursor.fetchone() != (True,):
        msg = f"position {after + 1} was sealed by somebody who did not hold the lock"
        raise SealRefused(msg)
