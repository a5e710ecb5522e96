"""Which rows belong together, so that one which is not found is missed.

A checksum helps nobody who never sees the row.  A file whose number of the picture has changed is
not among the files of that picture any more, and the checksums of those that are found are right.
So the table ``row_group`` keeps, for each value by which rows are asked for (the files of a
picture, the faces of a person), how many rows have it, and the sum of their ids.  Whoever asks
counts and adds up what was found.  Ids are positive: without a row the sum is smaller, and a row
that is there by mistake is told by its own checksum.
"""

import json
from collections.abc import Collection, Iterator, Mapping

from sqlalchemy import Connection

from facesim_index.store.catalog.transaction import Key
from facesim_index.store.sqlite.row_checks import (
    FUNCTION,
    GROUP_TABLE,
    Value,
    all_whole,
    holds,
    raw_rows,
    row_check,
)

_SET = "iif({row}%s IS NULL, NULL, 1)"

GROUPS = {
    "face.id": "1",
    "face.image_id": "{row}image_id",
    "face_person.face_id": "1",
    "face_person.person_id": "{row}person_id",
    "face_person.source": "{row}source",
    "file.failed": _SET % "failure_code",
    "file.folder_id": "{row}folder_id",
    "file.id": "1",
    "file.image_id": "{row}image_id",
    "file.missing": _SET % "missing_since",
    "image.content_hash": FUNCTION + "({row}content_hash)",
    "image.id": "1",
    "image.status": "{row}status",
    "people_change_apart.change_id": "{row}change_id",
    "people_change_face.change_id": "{row}change_id",
    "people_change_face.face_id": "{row}face_id",
    "people_change_face.person_id": "{row}person_id",
    "people_change_person.change_id": "{row}change_id",
    "person.id": "1",
    "person.ignored": "nullif({row}ignored, 0)",
    "person.named": _SET % "name",
}
"""By what rows are asked for: a name that begins with the table, and the value in SQL.

Rows of which the value is NULL belong to no group, and those with the value 1 are all rows of the
table, or all that the name says something of (`transaction.ANY`).
"""

_ALL_GROUPS = f"SELECT name, value, n_rows, row_ids FROM {GROUP_TABLE}"
_IS_KEPT = ""  # the value that stands for the group itself: its rows are added up


def add_up(connection: Connection) -> int:
    """Make the sums of the groups anew, but of tables with a damaged row; return how many differed.

    Nobody can tell which groups a damaged row belongs to.  Until it is mended every row of its
    table is looked at, whatever is asked.
    """
    before = {row[:2]: row[2:] for row in raw_rows(connection, _ALL_GROUPS, [])}
    connection.exec_driver_sql(f"DELETE FROM {GROUP_TABLE}")
    sound = {table for table in map(table_of, GROUPS) if all_whole(connection, table)}
    for name in [name for name in GROUPS if table_of(name) in sound]:
        connection.exec_driver_sql(
            f"INSERT INTO {GROUP_TABLE} (name, value, n_rows, row_ids) "
            f"SELECT '{name}', '{_IS_KEPT}', 0, 0 "
            f"UNION ALL SELECT '{name}', value, count(*), sum(row_id) "
            f"FROM ({_grouped(name, 'NOT INDEXED')}) GROUP BY value"
        )
    after = {row[:2]: row[2:] for row in raw_rows(connection, _ALL_GROUPS, [])}
    return sum(before.get(group) != after.get(group) for group in before | after)


def wrong_groups(connection: Connection) -> Iterator[str]:
    """Yield what is wrong with each sum of rows that is not that of the rows that are found."""
    kept = connection.exec_driver_sql(
        f"SELECT name FROM {GROUP_TABLE} WHERE value = ?", (_IS_KEPT,)
    ).scalars()
    known = set(kept)
    for name in GROUPS:
        if name not in known:
            yield f"the rows of table {table_of(name)} are not added up: see `{name}`"
        elif not is_complete(connection, name):
            yield incomplete(name)
    names = ", ".join(f"'{name}'" for name in GROUPS)
    strange = f"SELECT name FROM {GROUP_TABLE} WHERE name NOT IN ({names})"
    for (other,) in raw_rows(connection, strange, []):
        yield f"there are sums of rows by {other!a}, by which no rows are added up"


def is_complete(connection: Connection, name: str) -> bool:
    """Tell whether the rows of every group of a name are found, by an index and without."""
    found = "SELECT value, count(*) AS n_rows, sum(row_id) AS row_ids FROM ({rows}) GROUP BY value"
    return not any(
        holds(
            connection,
            f"SELECT EXISTS (SELECT 1 FROM ({found.format(rows=rows)}) AS f "
            f"LEFT JOIN {GROUP_TABLE} AS g ON g.name = '{name}' AND g.value = +f.value "
            "WHERE g.n_rows IS NOT f.n_rows OR g.row_ids IS NOT f.row_ids) "
            f"OR (SELECT count(*) FROM ({rows})) IS NOT "
            f"(SELECT sum(n_rows) FROM {GROUP_TABLE} WHERE name = '{name}')",
        )
        for rows in (_grouped(name), _grouped(name, "NOT INDEXED"))
    )


def total_of(
    connection: Connection, name: str, values: Collection[Key]
) -> tuple[float, float] | None:
    """Return how many rows have one of some values, and the sum of their ids.

    Parameters
    ----------
    connection : Connection
        Inside a transaction.
    name : str
        One of `GROUPS`.
    values : collection of int, str or bytes

    Returns
    -------
    n_rows, row_ids : float
        Or None when the rows are not added up: see `add_up`.
    """
    wanted: list[Value] = [_IS_KEPT, *values]
    if name == "image.content_hash":
        wanted = [_IS_KEPT, *map(row_check, values)]
        chosen, parameters = ", ".join("?" * len(wanted)), [name, *wanted]
    else:  # perhaps more than a statement may take
        chosen, parameters = "SELECT value FROM json_each(?)", [name, json.dumps(wanted)]
    [(is_kept, n_rows, row_ids)] = raw_rows(
        connection,
        f"SELECT total(value = '{_IS_KEPT}'), total(n_rows), total(row_ids) FROM {GROUP_TABLE} "
        f"WHERE name = ? AND value IN ({chosen})",
        parameters,
    )
    assert isinstance(n_rows, float)  # as `total` always returns
    assert isinstance(row_ids, float)
    return (n_rows, row_ids) if is_kept else None


def rows_of_groups(connection: Connection, name: str, values: Collection[int]) -> list[int]:
    """Return the ids of the rows that have one of some values."""
    table, value = table_of(name), GROUPS[name].format(row="")
    rows = connection.exec_driver_sql(
        f'SELECT rowid FROM "{table}" WHERE {value} IN (SELECT value FROM json_each(?))',
        (json.dumps([int(number) for number in values]),),
    )
    return list(rows.scalars())


def regroup(groups: Mapping[str, str], signs: str, condition: str = "TRUE") -> str:
    """Return the statements by which a trigger takes a row out of its groups, or puts it in.

    Parameters
    ----------
    groups : mapping of str to str
        Those of `GROUPS` that are of the table.
    signs : {"+", "-", "-+"}
        Whether the new row is put in, the old one is taken out, or both.
    condition : str, optional
        Of which everything depends, in SQL.

    Returns
    -------
    str
    """
    if not groups:
        return ""
    rows = {"+": "NEW.", "-": "OLD."}
    changes = ", ".join(
        f"('{name}', {value.format(row=rows[sign])}, {sign}1, {sign}{rows[sign]}rowid)"
        for sign in signs
        for name, value in groups.items()
    )
    former = ", ".join(
        f"('{name}', {value.format(row=rows['-'])})" for name, value in groups.items()
    )
    statements = (
        f"INSERT INTO {GROUP_TABLE} (name, value, n_rows, row_ids) "
        f"SELECT * FROM (SELECT 0, NULL AS value, 0, 0 UNION ALL VALUES {changes}) "
        f"WHERE value IS NOT NULL AND {condition} "
        "ON CONFLICT (name, value) DO UPDATE "
        "SET n_rows = n_rows + excluded.n_rows, row_ids = row_ids + excluded.row_ids; "
    )
    if "-" in signs:
        statements += (
            f"DELETE FROM {GROUP_TABLE} WHERE (name, value) IN (VALUES {former}) AND n_rows = 0; "
        )
    return statements


def table_of(name: str) -> str:
    """Return the table of a name of `GROUPS`."""
    return name.partition(".")[0]


def incomplete(name: str) -> str:
    """Return what is said when the rows of a group are not all found."""
    table, _, by = name.partition(".")
    return f"not all rows of table {table} are found by `{by}`"


def _grouped(name: str, how: str = "") -> str:
    """Return the question for all rows of a group: their values and ids."""
    value = GROUPS[name].format(row="")
    return (
        f"SELECT {value} AS value, rowid AS row_id "
        f'FROM "{table_of(name)}" {how} WHERE {value} IS NOT NULL'
    )
