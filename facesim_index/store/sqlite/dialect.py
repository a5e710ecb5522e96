"""What SQLite does in its own way: see `catalog.transaction.Dialect`."""

import functools
from collections.abc import Iterable

from sqlalchemy import Connection, Insert
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from facesim_index.store.catalog.schema import Base
from facesim_index.store.catalog.statements import IdsOfList
from facesim_index.store.sqlite import row_checks


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
        """Refuse rows whose checksum is not that of what they hold."""
        row_checks.require_whole(connection, table, row_ids)

    def require_whole_where(
        self, connection: Connection, table: str, column: str, value: int
    ) -> None:
        """Refuse rows with this value in a column whose checksum is not that of what they hold."""
        rows = connection.exec_driver_sql(
            f'SELECT rowid FROM "{table}" WHERE "{column}" = ?', (value,)
        )
        row_checks.require_whole(connection, table, rows.scalars().all())

    def next_id(self, connection: Connection, table: str) -> int:
        """Return the id that the next row of a table will get, by SQLite's own counter."""
        last = connection.exec_driver_sql(
            "SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)
        ).scalar()
        return int(last or 0) + 1


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
