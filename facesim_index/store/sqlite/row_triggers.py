"""Triggers that keep the checksums of rows and the sums of their groups.

No statement can forget to.  They call a function that `row_checks.register` gives to every
connection.  A row that was damaged stays known as such: when it is changed, its checksum and its
groups follow only where it was right before.
"""

from collections.abc import Iterator

from sqlalchemy import Connection

from facesim_index.store.sqlite.row_checks import (
    GROUP_TABLE,
    SCHEMA,
    TABLE,
    are_kept,
    check_of,
    schema_check,
    tables_of,
)
from facesim_index.store.sqlite.row_groups import GROUPS, add_up, regroup, table_of


def install(connection: Connection) -> None:
    """Make the triggers of every table anew, and the checksums and sums that are lacking.

    To be called after the migrations, in their transaction.
    """
    for table in tables_of(connection):
        for statement in _triggers(connection, table):
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql(
            f"INSERT OR IGNORE INTO {TABLE} (table_name, row_id, value) "
            f"SELECT '{table}', rowid, {check_of(connection, table)} FROM \"{table}\""
        )
    if are_kept(connection, GROUP_TABLE):
        add_up(connection)
    schema = "INSERT OR REPLACE INTO row_check (table_name, row_id, value) VALUES (?, 0, ?)"
    connection.exec_driver_sql(schema, (SCHEMA, schema_check(connection)))


def _triggers(connection: Connection, table: str) -> Iterator[str]:
    """Yield the statements that make a table's triggers, in the place of older ones.

    They are short: every connection reads the text of all of them.
    """
    new, old = (check_of(connection, table, row) for row in ("NEW.", "OLD."))
    here = f"table_name = '{table}' AND row_id = OLD.rowid"
    kept = GROUPS if are_kept(connection, GROUP_TABLE) else ()
    groups = {name: GROUPS[name] for name in kept if table_of(name) == table}
    # Those of the groups come first: whether a row was sound is told by its checksum.
    sound = f"(SELECT value FROM {TABLE} WHERE {here}) = {old}"
    moved = " OR ".join(
        f"{value.format(row='OLD.')} IS NOT {value.format(row='NEW.')}"
        for value in ("{row}rowid", *(value for value in groups.values() if "{row}" in value))
    )
    bodies = {
        "insert": regroup(groups, "+")
        + f"INSERT OR REPLACE INTO {TABLE} (table_name, row_id, value) "
        f"VALUES ('{table}', NEW.rowid, {new})",
        "update": regroup(groups, "-+", f"({moved}) AND {sound}")
        + f"UPDATE {TABLE} SET row_id = NEW.rowid, value = {new} WHERE {here} AND value = {old}",
        "delete": regroup(groups, "-", sound) + f"DELETE FROM {TABLE} WHERE {here}",
    }
    for event, body in bodies.items():
        yield f"DROP TRIGGER IF EXISTS check_{table}_{event}"
        yield (
            f'CREATE TRIGGER check_{table}_{event} AFTER {event.upper()} ON "{table}" '
            f"BEGIN {body}; END"
        )
