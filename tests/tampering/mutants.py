"""One thing changed at a time, behind the back of everything that keeps it, and put back again.

columns_of(table) -> Mutant(row, column, new value) -> applied(...): changed, verified, restored
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

SCHEMAS = ("colink", "colink_read")
_OTHER: Mapping[str, str] = {
    "text": "{} || '~'",
    "character varying": "{} || '~'",
    "bigint": "{} + 1000003",
    "integer": "{} + 1003",
    "smallint": "{} + 1",
    "boolean": "not {}",
    "timestamp with time zone": "case when isfinite({0}) then {0} + interval '1 second' else '2026-03-02' end",
    "date": "{} + 1000",
    "bytea": "set_byte({0}, 0, get_byte({0}, 0) # 1)",
    "numeric": "{} + 1",
    "ARRAY": "{0} || {0}",
}
_ANY: Mapping[str, str] = {
    "text": "'~'",
    "numeric": "1",
    "bigint": "1",
    "integer": "1",
    "smallint": "1",
    "boolean": "true",
    "timestamp with time zone": "timestamptz '2026-03-02'",
    "date": "date '2026-03-02'",
    "bytea": "'\\x00'::bytea",
}
"""How a value of each type becomes another one, and what takes the place of a missing one."""


@dataclass(frozen=True, kw_only=True)
class Column:
    name: str
    type: str
    nullable: bool


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """`row`: all columns of the changed row as text, before; `after` likewise."""

    table: str
    column: str
    to: str
    row: Mapping[str, str | None]
    after: Mapping[str, str | None]

    def __str__(self) -> str:
        return f"{self.table}.{self.column} {self.to}"


class Tamperer:
    """As a superuser, every trigger that keeps rows switched off."""

    def __init__(
        self, dsn: str, *, only_rows: Mapping[str, str] | None = None, kinds: Mapping[str, str] | None = None
    ) -> None:
        """`only_rows`: of a table, or a column (`table.column`), only rows that fit a condition are changed.
        `kinds`: columns that mean something else in each kind of row, with what says which: one row of each kind is
        changed."""
        self._only_rows, self._kinds = only_rows or {}, kinds or {}
        self._conn = psycopg.connect(dsn, autocommit=True)
        self._conn.execute("SET timezone = 'UTC'")
        for schema, table in self.tables():
            if self._kind(schema, table) in {"r", "p"}:
                self._conn.execute(
                    sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(sql.Identifier(schema, table))
                )

    def close(self) -> None:
        self._conn.close()

    def tables(self) -> list[tuple[str, str]]:
        """All tables of ours, without views and partitions."""
        return self._conn.execute(
            "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = ANY(%s) AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1, 2",
            [list(SCHEMAS)],
        ).fetchall()

    def columns(self, table: str) -> list[Column]:
        schema, name = table.split(".")
        rows = self._conn.execute(
            "SELECT column_name, data_type, is_nullable = 'YES' FROM information_schema.columns"
            " WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
            [schema, name],
        )
        return [Column(name=name, type=type_, nullable=nullable) for name, type_, nullable in rows]

    def mutants(self, table: str, column: Column) -> Iterator[Mutant]:
        """Each is in force while it is looked at: another value, then none (where the column may be empty). What an
        index of the database refuses is tried with another row."""
        found = False
        for kind in self._kinds_of(table, column):
            changes = [_OTHER[column.type].format(self._quoted(column.name))]
            if column.nullable:
                changes.append("null")
            for number, change in enumerate(changes):
                rows = self._rows(table, column, filled=True, kind=kind)
                to = "changed" if number == 0 else "emptied"
                if not rows:  # empty in every row
                    if number > 0:
                        break
                    rows, to = self._rows(table, column, filled=False, kind=kind), "filled"
                for row in rows:
                    try:
                        with self._changed(
                            table, column, row, _ANY[column.type] if to == "filled" else change
                        ) as after:
                            found = True
                            yield Mutant(table=table, column=column.name, to=to, row=row, after=after)
                    except psycopg.errors.UniqueViolation:
                        continue
                    break
        if not found:
            msg = f"{table}.{column.name} could not be changed in any row: the business lacks something"
            raise LookupError(msg)

    def removals(self, table: str, kind: str = "true") -> Iterator[Mutant]:
        """A row of each kind is gone while it is looked at. `kind`: an expression that tells the kinds of rows."""
        for row in self._row_of_each_kind(table, kind):
            with self._removed(table, row):
                yield Mutant(table=table, column="*", to="deleted", row=row, after=row)

    def forgeries(self, table: str, kind: str = "true") -> Iterator[Mutant]:
        """Beside a row of each kind stands another like it, under another key, while it is looked at. None where the
        database itself holds how many rows there are."""
        for row in self._row_of_each_kind(table, kind):
            for last in (True, False):
                try:
                    with self._forged(table, row, last=last) as after:
                        yield Mutant(table=table, column="*", to="forged", row=after, after=after)
                except (psycopg.errors.CheckViolation, psycopg.errors.UniqueViolation):
                    continue
                break

    @contextmanager
    def payload(self, position: int, payload: str) -> Iterator[None]:
        """Another payload of an event, while it is looked at."""
        [(before,)] = self._conn.execute("SELECT payload FROM colink.events WHERE position = %s", [position])
        self._conn.execute("UPDATE colink.events SET payload = %s WHERE position = %s", [payload, position])
        try:
            yield
        finally:
            self._conn.execute("UPDATE colink.events SET payload = %s WHERE position = %s", [before, position])

    @contextmanager
    def _changed(
        self, table: str, column: Column, row: Mapping[str, str | None], change: str
    ) -> Iterator[Mapping[str, str | None]]:
        name, quoted = self._identifier(table), sql.SQL(self._quoted(column.name))  # type: ignore[arg-type]  # ours
        moved = self._conn.execute(
            sql.SQL("UPDATE {} t SET {} = {} WHERE ctid = %s RETURNING ctid::text").format(
                name,
                quoted,
                sql.SQL(change),  # type: ignore[arg-type]  # made above, of nothing from outside
            ),
            [row["ctid"]],
        ).fetchone()
        assert moved is not None
        try:
            yield self._read(table, moved[0])
        finally:
            self._conn.execute(
                sql.SQL("UPDATE {} t SET {} = %s::text::{} WHERE ctid = %s").format(
                    name,
                    quoted,
                    sql.SQL(self._type(table, column)),  # type: ignore[arg-type]  # as PostgreSQL names it
                ),
                [row[column.name], moved[0]],
            )

    @contextmanager
    def _removed(self, table: str, row: Mapping[str, str | None]) -> Iterator[None]:
        kept = sql.SQL("CREATE TEMPORARY TABLE kept AS SELECT * FROM {} WHERE ctid = %s")
        self._conn.execute(kept.format(self._identifier(table)), [row["ctid"]])
        self._conn.execute(sql.SQL("DELETE FROM {} WHERE ctid = %s").format(self._identifier(table)), [row["ctid"]])
        try:
            yield
        finally:
            self._insert_kept(table)

    @contextmanager
    def _forged(self, table: str, row: Mapping[str, str | None], *, last: bool) -> Iterator[Mapping[str, str | None]]:
        """Of each unique index the last column is another, or the first."""
        kept = sql.SQL("CREATE TEMPORARY TABLE kept AS SELECT * FROM {} WHERE ctid = %s")
        self._conn.execute(kept.format(self._identifier(table)), [row["ctid"]])
        try:
            for column in self._told_apart_by(table, last=last):
                change = sql.SQL(_OTHER[column.type].format(self._quoted(column.name)))  # type: ignore[arg-type]  # ours
                self._conn.execute(sql.SQL("UPDATE kept SET {} = {}").format(sql.Identifier(column.name), change))
        finally:
            inserted = self._insert_kept(table)
        try:
            yield self._read(table, inserted)
        finally:
            self._conn.execute(sql.SQL("DELETE FROM {} WHERE ctid = %s").format(self._identifier(table)), [inserted])

    def _insert_kept(self, table: str) -> str:
        try:
            insert = sql.SQL("INSERT INTO {} OVERRIDING SYSTEM VALUE SELECT * FROM kept RETURNING ctid::text")
            row = self._conn.execute(insert.format(self._identifier(table))).fetchone()
        finally:
            self._conn.execute("DROP TABLE kept")
        assert row is not None
        return str(row[0])

    def _told_apart_by(self, table: str, *, last: bool) -> list[Column]:
        """A column of each unique index."""
        names = self._conn.execute(
            "SELECT DISTINCT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid"
            " AND a.attnum = i.indkey[CASE WHEN %s THEN i.indnkeyatts - 1 ELSE 0 END]"
            " WHERE i.indrelid = %s::regclass AND i.indisunique",
            [last, table],
        ).fetchall()
        return [column for column in self.columns(table) if (column.name,) in names]

    def _row_of_each_kind(self, table: str, kind: str) -> list[Mapping[str, str | None]]:
        """The one in the middle."""
        condition = sql.SQL(self._only_rows.get(table, "true"))  # type: ignore[arg-type]  # of one test
        found = self._conn.execute(
            sql.SQL(
                "SELECT {}, array_agg(ctid::text ORDER BY t::text) FROM {} t WHERE {} GROUP BY 1 ORDER BY 1"
            ).format(
                sql.SQL(kind),
                self._identifier(table),
                condition,  # type: ignore[arg-type]  # of one test
            )
        ).fetchall()
        return [self._read(table, rows[len(rows) // 2]) for _, rows in found]

    def _kinds_of(self, table: str, column: Column) -> list[sql.Composable]:
        """A condition for each kind of row in which the column is changed."""
        says = self._kinds.get(f"{table}.{column.name}")
        if says is None:
            return [sql.SQL("true")]
        kind = sql.SQL(says)  # type: ignore[arg-type]  # of one test
        rows = self._conn.execute(
            sql.SQL("SELECT DISTINCT {} FROM {} WHERE {} ORDER BY 1").format(
                kind,
                self._identifier(table),
                sql.SQL(self._only_rows.get(f"{table}.{column.name}", "true")),  # type: ignore[arg-type]  # likewise
            )
        )
        return [sql.SQL("{} = {}").format(kind, value) for (value,) in rows.fetchall()]

    def _rows(
        self, table: str, column: Column, *, filled: bool, kind: sql.Composable
    ) -> list[Mapping[str, str | None]]:
        """Rows of a kind whose column is filled, or is not: the one in the middle, then a few others."""
        condition = sql.SQL("IS NOT NULL" if filled else "IS NULL")
        if filled and column.type == "bytea":
            condition = sql.SQL("<> ''")
        condition += sql.SQL(" AND " + self._only_rows.get(table, "true"))  # type: ignore[arg-type]  # of one test
        condition += sql.SQL(" AND " + self._only_rows.get(f"{table}.{column.name}", "true"))  # type: ignore[arg-type]  # likewise
        condition += sql.SQL(" AND {}").format(kind)
        quoted = sql.SQL(self._quoted(column.name))  # type: ignore[arg-type]  # ours
        found = self._conn.execute(
            sql.SQL("SELECT ctid::text FROM {} t WHERE {} {} ORDER BY t::text").format(
                self._identifier(table), quoted, condition
            )
        ).fetchall()
        middle = len(found) // 2
        return [self._read(table, ctid) for (ctid,) in (*found[middle : middle + 3], *found[:middle][:3])]

    def _read(self, table: str, ctid: str) -> Mapping[str, str | None]:
        names = [column.name for column in self.columns(table)]
        texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in names)
        row = self._conn.execute(
            sql.SQL("SELECT {} FROM {} WHERE ctid = %s").format(texts, self._identifier(table)), [ctid]
        ).fetchone()
        assert row is not None
        return {"ctid": ctid} | dict(zip(names, row, strict=True))

    def _type(self, table: str, column: Column) -> str:
        [(name,)] = self._conn.execute(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attname = %s",
            [table, column.name],
        )
        return str(name)

    def _kind(self, schema: str, table: str) -> str:
        [(kind,)] = self._conn.execute(
            "SELECT relkind::text FROM pg_class WHERE oid = %s::regclass", [f'{schema}."{table}"']
        )
        return str(kind)

    def _identifier(self, table: str) -> sql.Composable:
        return sql.Identifier(*table.split("."))

    def _quoted(self, name: str) -> str:
        return sql.Identifier(name).as_string(self._conn)

    def rows(self, query: str, *values: Any) -> list[Any]:
        return self._conn.execute(query, values).fetchall()  # type: ignore[call-overload]  # queries of one test
