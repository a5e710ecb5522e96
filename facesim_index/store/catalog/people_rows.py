"""The people of an index: who there is, whose each face is, and what a human said of it.

Rows are checked as they are read, and so is that all of them are found, so that nothing is told,
grouped or taken back by a damaged one: where nothing else is said, every function raises an
`IndexDamagedError` then.

Whatever is changed through a `Change` can be undone: it records how each face and each person
was before.  The log names faces by rows that go when the face goes, and a person who has no
face left, neither now nor in the log, is dropped: of a forgotten face nothing stays.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    Connection,
    Executable,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from facesim_index.records import ImageId, Int64Array
from facesim_index.store.catalog.schema import (
    Face,
    FacePerson,
    FacesApart,
    Image,
    PeopleChange,
    PeopleChangeApart,
    PeopleChangeFace,
    PeopleChangePerson,
    Person,
)
from facesim_index.store.catalog.statements import among, among_listed, listed
from facesim_index.store.catalog.transaction import (
    advance,
    dialect_of,
    now,
    require_complete,
    require_whole,
    require_whole_groups,
)
from facesim_index.utils.notebook_hook import Shown

HUMAN, MACHINE = "human", "machine"
KEPT_CHANGES = 100
"""Older changes cannot be undone any more."""


@dataclass(frozen=True, slots=True)
class PersonRow(Shown):
    """A person as the catalog keeps it.

    Attributes
    ----------
    person_id : int
    name : str or None
    ignored : bool
    n_faces, n_pictures : int
    n_confirmed : int
        Faces that a human put there.

    Examples
    --------
    >>> index.people.everyone()[0]
    PersonRow(person_id=1, name='Anna', ignored=False, n_faces=3, n_pictures=3, n_confirmed=0)
    """

    person_id: int
    name: str | None
    ignored: bool
    n_faces: int
    n_pictures: int
    n_confirmed: int


class PersonRows(list[PersonRow], Shown):
    """People, as a list.

    Examples
    --------
    >>> [person.name for person in index.people.everyone()]
    ['Anna', None]
    """


@dataclass(frozen=True, slots=True)
class Assignments:
    """Whose faces are.

    Attributes
    ----------
    face_ids : ndarray of shape (n,), int64, ascending
    person_ids : ndarray of shape (n,), int64
    confirmed : ndarray of shape (n,), bool
        A human said so.
    """

    face_ids: Int64Array
    person_ids: Int64Array
    confirmed: NDArray[np.bool_]


def persons(connection: Connection, person_ids: Iterable[int] | None = None) -> list[PersonRow]:
    """Return people, those with most faces first."""
    wanted = None if person_ids is None else [int(person_id) for person_id in person_ids]
    require_whole(connection, "person", wanted)
    if wanted is None:
        require_whole(connection, "face_person")
        require_complete(connection, "face.image_id")
    else:
        require_whole(connection, "face", assignments_of(connection, wanted).face_ids.tolist())
    query = (
        select(
            Person.id,
            Person.name,
            Person.ignored,
            func.count(FacePerson.face_id),
            func.count(func.distinct(Face.image_id)),
            func.count().filter(FacePerson.source == HUMAN),
        )
        .outerjoin(FacePerson, FacePerson.person_id == Person.id)
        .outerjoin(Face, Face.id == FacePerson.face_id)
        .group_by(Person.id)
        .order_by(func.count(FacePerson.face_id).desc(), Person.id)
    )
    if wanted is not None:
        query = query.where(among(Person.id, wanted))
    return [PersonRow(*row) for row in connection.execute(query)]


def named(connection: Connection, name: str) -> list[int]:
    """Return the people of a name, capitals apart or not."""
    require_whole(connection, "person")
    rows = connection.execute(select(Person.id, Person.name).where(Person.name.is_not(None)))
    return [person_id for person_id, known in rows if str(known).casefold() == name.casefold()]


def ids_by_name(connection: Connection) -> dict[str, int]:
    """Return the person of each name, in folded case; the first where several have it.

    For many names at once: `named` reads the names of all people to find one.
    """
    known: dict[str, int] = {}
    query = select(Person.id, Person.name).where(Person.name.is_not(None)).order_by(Person.id)
    for person_id, name in connection.execute(query):
        known.setdefault(str(name).casefold(), person_id)
    return known


def assignments(connection: Connection) -> Assignments:
    """Return whose each face is; faces that are nobody's are left out."""
    require_whole(connection, "face_person")
    return _assignments(connection, _BY_FACE)


def assignments_of(connection: Connection, person_ids: Iterable[int]) -> Assignments:
    """Return the faces of some people."""
    wanted = [int(person_id) for person_id in person_ids]
    found = _assignments(connection, _ASSIGNMENTS_OF, wanted)
    faces = found.face_ids.tolist()
    require_complete(connection, "face_person.person_id", wanted, faces)
    require_whole(connection, "face_person", faces)
    return found


def assignments_among(connection: Connection, face_ids: Iterable[int]) -> Assignments:
    """Return whose some faces are; those that are nobody's are left out."""
    wanted = [int(face_id) for face_id in face_ids]
    require_whole(connection, "face_person", wanted)
    return _assignments(connection, _ASSIGNMENTS_AMONG, wanted)


def names(connection: Connection, person_ids: Iterable[int]) -> dict[int, str | None]:
    """Return the names of people; None for one without."""
    wanted = list(person_ids)
    require_whole(connection, "person", wanted)
    rows = connection.execute(_NAMES, listed(wanted))
    return {person_id: name for person_id, name in rows}  # noqa: C416 - rows are no pairs


def whose(connection: Connection, face_ids: Iterable[int]) -> dict[int, int]:
    """Return the person of each of some faces that has one."""
    wanted = [int(face_id) for face_id in face_ids]
    require_whole(connection, "face_person", wanted)
    rows = connection.execute(_WHOSE, listed(wanted))
    return {face_id: person_id for face_id, person_id in rows}  # noqa: C416 - rows are no pairs


def faces_apart(connection: Connection) -> list[tuple[int, int]]:
    """Return the pairs of faces that a human said are not one person's."""
    require_whole(connection, "faces_apart")
    rows = connection.execute(
        select(FacesApart.face_a, FacesApart.face_b).order_by(FacesApart.face_a, FacesApart.face_b)
    )
    return [(a, b) for a, b in rows]


def face_bars(connection: Connection) -> tuple[Int64Array, Int64Array, NDArray[np.float64]]:
    """Return every living face: its id, its picture, and (detection, size_px)."""
    require_whole(connection, "face")
    rows = connection.execute(
        select(Face.id, Face.image_id, Face.detection, Face.size_px).order_by(Face.id)
    )
    table = np.array([tuple(row) for row in rows], dtype=np.float64).reshape(-1, 4)
    return table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:]


def picture_sizes(
    connection: Connection, image_ids: Collection[ImageId]
) -> dict[ImageId, tuple[int, int]]:
    """Return width and height of upright pictures."""
    require_whole(connection, "image", image_ids)
    query = select(Image.id, Image.width_px, Image.height_px).where(among(Image.id, image_ids))
    return {
        ImageId(row.id): (row.width_px or 0, row.height_px or 0)
        for row in connection.execute(query)
    }


class Change:
    """One change to the people, which can be undone as a whole.

    Parameters
    ----------
    connection : Connection
        Inside a transaction of `Catalog.write`.
    action : str
        The command that made it.
    """

    def __init__(self, connection: Connection, action: str) -> None:
        self._connection = connection
        self._dialect = dialect_of(connection)
        require_whole(connection, "people_change")
        advance(connection, same_faces=True)
        statement = insert(PeopleChange).values(action=action, made_at=now())
        self._id = connection.execute(statement.returning(PeopleChange.id)).scalar_one()
        oldest = self._id - KEPT_CHANGES
        connection.execute(delete(PeopleChange).where(PeopleChange.id <= oldest))

    def new_person(self, name: str | None = None) -> int:
        """Make a person without faces; return its id."""
        return self.new_people([name])[0]

    def new_people(self, names: Sequence[str | None]) -> list[int]:
        """Make people without faces; return their ids."""
        if not names:
            return []
        first = self._dialect.next_id(self._connection, "person")
        ids = [first + number for number in range(len(names))]
        made = {"ignored": False, "created_at": now()}
        people = [{"id": i, "name": name, **made} for i, name in zip(ids, names, strict=True)]
        self._connection.execute(insert(Person), people)
        nothing = {"name": None, "ignored": None, "created_at": None}
        log = [{"change_id": self._id, "person_id": i, **nothing} for i in ids]
        self._connection.execute(insert(PeopleChangePerson), log)
        return ids

    def describe(self, person_id: int, *, name: str | None, ignored: bool) -> None:
        """Set the name of a person, and whether it is ignored."""
        self._remember_person(person_id, self._person(person_id))
        self._connection.execute(
            update(Person).where(Person.id == person_id).values(name=name, ignored=ignored)
        )

    def assign(self, face_ids: Int64Array, person_ids: Int64Array, source: str) -> None:
        """Say whose faces are."""
        self._remember_faces(face_ids)
        rows = [
            {"face_id": face_id, "person_id": person_id, "source": source}
            for face_id, person_id in zip(face_ids.tolist(), person_ids.tolist(), strict=True)
        ]
        if rows:
            put = self._dialect.upsert(FacePerson, ("face_id",), ("person_id", "source"))
            self._connection.execute(put, rows)

    def release(self, face_ids: Int64Array) -> None:
        """Let faces be nobody's."""
        self._remember_faces(face_ids)
        self._connection.execute(delete(FacePerson).where(among(FacePerson.face_id, face_ids)))

    def set_apart(self, face_a: int, face_b: int, *, apart: bool = True) -> None:
        """Say that two faces are not one person's, or that nothing is known of that."""
        low, high = sorted((face_a, face_b))
        require_whole(self._connection, "faces_apart")
        pair = (FacesApart.face_a == low) & (FacesApart.face_b == high)
        query = select(func.count()).select_from(FacesApart).where(pair)
        before = bool(self._connection.execute(query).scalar_one())
        self._connection.execute(
            self._dialect.upsert(PeopleChangeApart, ("change_id", "face_a", "face_b"), ()),
            {"change_id": self._id, "face_a": low, "face_b": high, "were_apart": before},
        )
        _put_apart(self._connection, low, high, apart=apart)

    def close(self) -> None:
        """Drop the people whom the change left without a face."""
        for person_id in _without_faces(self._connection):
            self._remember_person(person_id, self._person(person_id))
            self._connection.execute(delete(Person).where(Person.id == person_id))

    def _person(self, person_id: int) -> tuple[str | None, bool, str] | None:
        require_whole(self._connection, "person", [person_id])
        row = self._connection.execute(
            select(Person.name, Person.ignored, Person.created_at).where(Person.id == person_id)
        ).one_or_none()
        return None if row is None else (row.name, row.ignored, row.created_at)

    def _remember_person(self, person_id: int, before: tuple[str | None, bool, str] | None) -> None:
        name, ignored, created_at = before or (None, None, None)
        values = {"name": name, "ignored": ignored, "created_at": created_at}
        self._connection.execute(
            self._dialect.upsert(PeopleChangePerson, ("change_id", "person_id"), ()),
            {"change_id": self._id, "person_id": person_id, **values},
        )

    def _remember_faces(self, face_ids: Int64Array) -> None:
        require_sound_owners(self._connection, face_ids.tolist())
        before = {
            row.face_id: row
            for row in self._connection.execute(
                select(*_ASSIGNMENT).where(among(FacePerson.face_id, face_ids))
            )
        }
        rows = [
            {
                "change_id": self._id,
                "face_id": face_id,
                "person_id": before[face_id].person_id if face_id in before else None,
                "source": before[face_id].source if face_id in before else None,
            }
            for face_id in face_ids.tolist()
        ]
        if rows:
            remember = self._dialect.upsert(PeopleChangeFace, ("change_id", "face_id"), ())
            self._connection.execute(remember, rows)


def undo(connection: Connection) -> str | None:
    """Take the newest change back; return what it was, or None when there is none."""
    require_whole(connection, "people_change")
    newest = connection.execute(
        select(PeopleChange.id, PeopleChange.action).order_by(PeopleChange.id.desc()).limit(1)
    ).one_or_none()
    if newest is None:
        return None
    _require_sound_change(connection, newest.id)
    advance(connection, same_faces=True)
    people = connection.execute(
        select(*PeopleChangePerson.__table__.columns).where(
            PeopleChangePerson.change_id == newest.id
        )
    ).all()
    for row in people:
        if row.created_at is not None:
            values = {"name": row.name, "ignored": row.ignored, "created_at": row.created_at}
            put = dialect_of(connection).upsert(Person, ("id",), tuple(values))
            connection.execute(put, {"id": row.person_id, **values})
    _restore_faces(connection, newest.id)
    apart = select(*PeopleChangeApart.__table__.columns).where(
        PeopleChangeApart.change_id == newest.id
    )
    for row in connection.execute(apart).all():
        _put_apart(connection, row.face_a, row.face_b, apart=row.were_apart)
    connection.execute(delete(PeopleChange).where(PeopleChange.id == newest.id))
    drop_traces(connection)
    return str(newest.action)


def drop_traces(connection: Connection) -> None:
    """Drop who has no face any more, and what the log says of whom no face in it was."""
    gone = _without_faces(connection)
    connection.execute(delete(Person).where(among(Person.id, gone)))
    connection.execute(
        delete(PeopleChangePerson).where(
            among(PeopleChangePerson.person_id, _without_traces(connection)),
            PeopleChangePerson.created_at.is_not(None),
        )
    )
    connection.execute(delete(PeopleChange).where(among(PeopleChange.id, _empty(connection))))


def _without_traces(connection: Connection) -> Sequence[int]:
    """Return who is in the log, but is nobody's any more, and no face in it was theirs."""
    require_whole(connection, "people_change_person")
    query = select(PeopleChangePerson.person_id).where(
        PeopleChangePerson.created_at.is_not(None),
        ~exists().where(Person.id == PeopleChangePerson.person_id),
    )
    former = connection.execute(query.distinct()).scalars().all()
    require_whole(connection, "person", former)
    require_whole_groups(connection, "people_change_face.person_id", former)
    unknown = ~exists().where(PeopleChangeFace.person_id == PeopleChangePerson.person_id)
    return connection.execute(query.where(unknown).distinct()).scalars().all()


def _empty(connection: Connection) -> Sequence[int]:
    """Return the changes of which the log says nothing any more."""
    require_whole(connection, "people_change")
    for log in _LOGS:
        require_complete(connection, f"{log.__tablename__}.change_id")
    nothing = (~exists().where(log.change_id == PeopleChange.id) for log in _LOGS)
    return connection.execute(select(PeopleChange.id).where(*nothing)).scalars().all()


def require_sound_owners(connection: Connection, face_ids: Collection[int]) -> None:
    """Refuse damaged rows about whose some faces are, and whose their people's other faces are.

    To be asked before faces go: whoever has no face left goes too.
    """
    owners = whose(connection, face_ids)
    require_whole_groups(connection, "face_person.person_id", set(owners.values()))


def require_sound_references(connection: Connection, face_ids: Collection[int]) -> None:
    """Refuse damaged rows that refer to some faces, which take them along when they go."""
    require_sound_owners(connection, face_ids)
    require_whole(connection, "faces_apart")
    require_whole(connection, "people_change_apart")
    require_whole_groups(connection, "people_change_face.face_id", face_ids)


_LOGS = (PeopleChangeFace, PeopleChangePerson, PeopleChangeApart)
_WHOSE = select(FacePerson.face_id, FacePerson.person_id).where(among_listed(FacePerson.face_id))
_NAMES = select(Person.id, Person.name).where(among_listed(Person.id))
_ASSIGNMENT = (FacePerson.face_id, FacePerson.person_id, FacePerson.source)
_BY_FACE = select(*_ASSIGNMENT).order_by(FacePerson.face_id)
_ASSIGNMENTS_OF = _BY_FACE.where(among_listed(FacePerson.person_id))
_ASSIGNMENTS_AMONG = _BY_FACE.where(among_listed(FacePerson.face_id))


def _assignments(connection: Connection, query: Executable, ids: Iterable[int] = ()) -> Assignments:
    rows = connection.execute(query, listed(ids)).all()
    return Assignments(
        np.array([row.face_id for row in rows], dtype=np.int64),
        np.array([row.person_id for row in rows], dtype=np.int64),
        np.array([row.source == HUMAN for row in rows], dtype=np.bool_),
    )


def _require_sound_change(connection: Connection, change_id: int) -> None:
    """Refuse to take back by rows of the log that are damaged, or are not all found."""
    for log in _LOGS:
        require_whole_groups(connection, f"{log.__tablename__}.change_id", [change_id])
    require_whole(connection, "faces_apart")
    rows = connection.execute(
        select(PeopleChangeFace.face_id, PeopleChangeFace.person_id).where(
            PeopleChangeFace.change_id == change_id
        )
    ).all()
    require_sound_owners(connection, [row.face_id for row in rows])
    require_whole(connection, "person", {row.person_id for row in rows if row.person_id})


def _without_faces(connection: Connection) -> Sequence[int]:
    """Return who has no face: surely, for they are about to be dropped."""
    alone = ~exists().where(FacePerson.person_id == Person.id)
    gone = connection.execute(select(Person.id).where(alone)).scalars().all()
    require_whole(connection, "person", gone)
    require_complete(connection, "face_person.person_id", gone)
    return gone


def _restore_faces(connection: Connection, change_id: int) -> None:
    """Let faces be whose they were before a change, as far as that person is there."""
    known = or_(
        PeopleChangeFace.person_id.is_(None),
        exists().where(Person.id == PeopleChangeFace.person_id),
    )
    before = select(
        PeopleChangeFace.face_id, PeopleChangeFace.person_id, PeopleChangeFace.source
    ).where(PeopleChangeFace.change_id == change_id, known)
    touched = select(PeopleChangeFace.face_id).where(PeopleChangeFace.change_id == change_id, known)
    connection.execute(delete(FacePerson).where(FacePerson.face_id.in_(touched)))
    connection.execute(
        insert(FacePerson).from_select(
            ["face_id", "person_id", "source"],
            before.where(PeopleChangeFace.person_id.is_not(None)),
        )
    )


def _put_apart(connection: Connection, face_a: int, face_b: int, *, apart: bool) -> None:
    if apart:
        put = dialect_of(connection).upsert(FacesApart, ("face_a", "face_b"), ())
        connection.execute(put, {"face_a": face_a, "face_b": face_b})
    else:
        connection.execute(
            delete(FacesApart).where(FacesApart.face_a == face_a, FacesApart.face_b == face_b)
        )
