"""The counters by which SQLite never gives the id of a row again."""

from sqlalchemy import Connection


def counters_behind(connection: Connection) -> list[str]:
    """Return the tables whose next row would get an id that a row has, or had, already."""
    return [table for table in _COUNTED if not _ids_are_fresh(connection, table)]


_COUNTED = ("image", "person", "people_change")


def _ids_are_fresh(connection: Connection, table: str) -> bool:
    last = connection.exec_driver_sql(f"SELECT max(id) FROM {table}").scalar()
    counter = connection.exec_driver_sql(
        "SELECT count(*), max(seq) FROM sqlite_sequence WHERE name = ?", (table,)
    ).one()
    return last is None or (counter[0] == 1 and counter[1] >= last)


def advance_counters(connection: Connection) -> None:
    """Let the counters of ids be past every row that exists."""
    for table in counters_behind(connection):
        connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
        connection.exec_driver_sql(
            f"INSERT INTO sqlite_sequence (name, seq) SELECT ?, max(id) FROM {table}", (table,)
        )
