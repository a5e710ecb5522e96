"""What SQLite does in its own way: see `catalog.transaction.Dialect`.

SQLite does not check its own pages, so every question has it checked here that the rows which it
was answered with are as they were written, and that they are all there are.  A connection that
only reads looks at a whole table once, and again when somebody has committed.
"""

import functools
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection, Insert
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from facesim_index.errors import IndexDamagedError
from facesim_index.store.catalog.schema import Base
from facesim_index.store.catalog.statements import IdsOfList
from facesim_index.store.catalog.transaction import Key
from facesim_index.store.sqlite import row_checks, row_groups

_SEEN = "facesim_seen"  # where a connection remembers what it has looked at

Result = TypeVar("Result")


class SqliteDialect:
    """The `Dialect` of SQLite."""

    def upsert(
        self,
        table: type[Base],
        keys: tuple[str, ...],
        values: tuple[str, ...],
        *,
        returning: str | None = None,
    ) -> Insert:
        """Return the statement that inserts a row, or changes the row that has its keys."""
        return _upsert(table, keys, values, returning)

    def require_whole(
        self, connection: Connection, table: str, row_ids: Iterable[int] | None = None
    ) -> None:
        """Refuse rows whose checksum is not that of what they hold, and rows that are lost."""
        if row_ids is None and _once(
            connection, table, lambda: row_checks.all_whole(connection, table)
        ):
            return
        for wrong in row_checks.wrong_rows(connection, table, row_ids):
            raise _damaged(str(wrong))

    def require_complete(
        self,
        connection: Connection,
        name: str,
        values: Collection[Key] | None = None,
        row_ids: Collection[int] = (),
    ) -> None:
        """Refuse rows that are not as many as were kept of their groups, or have other ids."""
        if values is None:
            complete = _once(connection, name, lambda: row_groups.is_complete(connection, name))
        else:
            written = row_groups.total_of(connection, name, values)
            complete = written == (len(row_ids), sum(row_ids))
        if not complete:
            self._refuse(connection, name)

    def require_whole_groups(
        self, connection: Connection, name: str, values: Iterable[int]
    ) -> None:
        """Refuse rows that have one of some values in either of these ways."""
        wanted = {int(value) for value in values}
        row_ids = row_groups.rows_of_groups(connection, name, wanted)
        self.require_complete(connection, name, wanted, row_ids)
        self.require_whole(connection, row_groups.table_of(name), row_ids)

    def require_count(self, connection: Connection, name: str, value: Key, n_rows: int) -> None:
        """Refuse a number of rows that is not the one that was kept of their group."""
        written = row_groups.total_of(connection, name, [value])
        if written is None or written[0] != n_rows:
            self._refuse(connection, name)

    def wrong_rows(
        self, connection: Connection, table: str, row_ids: Iterable[int] | None = None
    ) -> dict[int, str]:
        """Return the rows whose checksum is not that of what they hold, and those that are lost."""
        wrong = row_checks.wrong_rows(connection, table, row_ids)
        return {row.row_id: str(row) for row in wrong}

    @contextmanager
    def raw_texts(self, connection: Connection) -> Iterator[None]:
        """Let what is no text any more be read like the name of a file that is none."""
        raw = row_checks.raw_connection(connection)
        before = raw.text_factory
        raw.text_factory = row_checks.raw_text
        try:
            yield
        finally:
            raw.text_factory = before

    def _refuse(self, connection: Connection, name: str) -> None:
        """Tell that rows are not found, of a damaged row if there is one: that tells more.

        Where an older facesim left a damaged row, its table is not added up at all.
        """
        self.require_whole(connection, row_groups.table_of(name))
        if row_groups.total_of(connection, name, ()) is not None:
            raise _damaged(row_groups.incomplete(name))

    def unchecked(self) -> "SqliteDialect":
        """Return a dialect that refuses nothing."""
        return _UncheckedDialect()

    def next_id(self, connection: Connection, table: str) -> int:
        """Return the id that the next row of a table will get, by SQLite's own counter."""
        last = connection.exec_driver_sql(
            "SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)
        ).scalar()
        return int(last or 0) + 1


class _UncheckedDialect(SqliteDialect):
    def require_whole(self, *_: object) -> None:
        pass

    def require_complete(self, *_: object) -> None:
        pass

    def require_whole_groups(self, *_: object) -> None:
        pass

    def require_count(self, *_: object) -> None:
        pass


def _once(connection: Connection, what: str, look: Callable[[], Result]) -> Result:
    """Return what is found, or what this connection found before and nobody has changed since."""
    seen: dict[str, tuple[int, Result]] = connection.info.setdefault(_SEEN, {})
    raw = row_checks.raw_connection(connection)
    if raw.total_changes:  # its own changes do not change its version
        return look()
    version = raw.execute("PRAGMA data_version").fetchone()[0]
    if what not in seen or seen[what][0] != version:
        seen[what] = (version, look())
    return seen[what][1]


def _damaged(what: str) -> IndexDamagedError:
    return IndexDamagedError(f"the catalog is damaged: {what}; run `facesim verify --repair`")


@functools.cache  # making a statement takes longer than running it
def _upsert(
    table: type[Base], keys: tuple[str, ...], values: tuple[str, ...], returning: str | None
) -> Insert:
    statement = insert(table)
    if values:
        replaced = {name: statement.excluded[name] for name in values}
        statement = statement.on_conflict_do_update(index_elements=list(keys), set_=replaced)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=list(keys))
    return statement if returning is None else statement.returning(table.__table__.c[returning])


@compiles(IdsOfList, "sqlite")
def _ids_of_list(element: IdsOfList, compiler: SQLCompiler, **options: object) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.clauses, **options)}))"
