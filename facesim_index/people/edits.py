"""Changes that a human makes to the people of an index; each can be undone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from facesim_index.degrees.gallery_scores import scorer_of
from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.errors import UsageError
from facesim_index.pairs.blocks import load
from facesim_index.pairs.close import closest_pair
from facesim_index.people.evidence import usable_curve
from facesim_index.records import MAX_ID, FaceRecord, Int64Array
from facesim_index.store.catalog import face_rows, people_rows
from facesim_index.store.catalog.people_rows import Change, PersonRow, PersonRows
from facesim_index.store.catalog.transaction import Transaction
from facesim_index.store.protocols import CatalogView, IndexStore
from facesim_index.utils.notebook_hook import Shown

Who = int | str
"""A person, by number or by name."""


@dataclass(frozen=True, slots=True)
class PersonFace:
    """A face of a person.

    Attributes
    ----------
    face : FaceRecord
    confirmed : bool
        A human assigned it; otherwise grouping did.

    Examples
    --------
    >>> person, faces = index.people.show("Anna")
    >>> faces[0].face.face_id, faces[0].confirmed
    (1, False)
    """

    face: FaceRecord
    confirmed: bool


class PersonFaces(list[PersonFace], Shown):
    """The faces of a person: a list of `PersonFace` that a notebook shows as pictures.

    Examples
    --------
    >>> person, faces = index.people.show("Anna")
    >>> [Path(found.face.path).name for found in faces]
    ['anna_1.png', 'anna_2.png', 'anna_and_ben.png']
    """


def find_person(transaction: Transaction, who: Who) -> PersonRow:
    """Return a person by number or name.

    Parameters
    ----------
    transaction : Transaction
    who : int or str
        Number or name; capitals do not count.

    Returns
    -------
    PersonRow

    Raises
    ------
    UsageError
        There is none, or several have this name.
    """
    if isinstance(who, str):
        ids = people_rows.named(transaction, who.strip())
    else:
        ids = [who] if abs(who) <= MAX_ID else []
    found = people_rows.persons(transaction, ids)
    if len(found) > 1:
        listed = ", ".join(str(row.person_id) for row in found)
        raise UsageError(f"several people are called {who!r}: {listed}; name one by its number")
    if not found:
        raise UsageError(f"there is no person {who!r}; `facesim people list --all` names them")
    return found[0]


def list_people(view: CatalogView, *, ignored: bool = False, min_faces: int = 1) -> PersonRows:
    """Return the people of an index, those with most faces first.

    Parameters
    ----------
    view : CatalogView
    ignored : bool, default=False
        Include the people that were ignored.
    min_faces : int, default=1
        Leave out people with fewer faces.

    Returns
    -------
    PersonRows
    """
    rows = people_rows.persons(view.transaction)
    return PersonRows(
        row for row in rows if row.n_faces >= min_faces and (ignored or not row.ignored)
    )


def person_faces(view: CatalogView, who: Who) -> tuple[PersonRow, PersonFaces]:
    """Return a person and its faces.

    Parameters
    ----------
    view : CatalogView
    who : int or str
        Number or name.

    Returns
    -------
    person : PersonRow
    faces : PersonFaces
        In the order of their ids.

    Raises
    ------
    UsageError
        There is no such person, or several have this name.
    """
    person = find_person(view.transaction, who)
    found = people_rows.assignments_of(view.transaction, [person.person_id])
    records = face_rows.faces(view.transaction, found.face_ids)
    faces = PersonFaces(
        PersonFace(record, confirmed)
        for record, confirmed in zip(records, found.confirmed.tolist(), strict=True)
    )
    return person, faces


def name_person(store: IndexStore, who: Who, name: str | None) -> PersonRow:
    """Give a person a name, or take it away.

    Parameters
    ----------
    store : IndexStore
        Writable.
    who : int or str
        Number or present name.
    name : str or None
        The new name; None leaves the person without one.

    Returns
    -------
    PersonRow
        The person as it is now.

    Raises
    ------
    UsageError
        There is no such person; or the name is empty, a number, or another person's.
    """
    clean = None if name is None else _clean(name)
    with store.write() as transaction:
        person = find_person(transaction, who)
        if clean is not None:
            others = [i for i in people_rows.named(transaction, clean) if i != person.person_id]
            if others:
                raise UsageError(
                    f"person {others[0]} is already called {clean}; if they are one, "
                    f"`facesim people merge {others[0]} {person.person_id}`"
                )
        change = Change(transaction, "name")
        change.describe(person.person_id, name=clean, ignored=person.ignored)
        return people_rows.persons(transaction, [person.person_id])[0]


def ignore_person(store: IndexStore, who: Who, *, ignored: bool = True) -> PersonRow:
    """Leave a person out of lists, or list it again.

    Parameters
    ----------
    store : IndexStore
        Writable.
    who : int or str
        Number or name.
    ignored : bool, default=True
        False lists the person again.

    Returns
    -------
    PersonRow
        The person as it is now.

    Raises
    ------
    UsageError
        There is no such person, or several have this name.
    """
    with store.write() as transaction:
        person = find_person(transaction, who)
        change = Change(transaction, "ignore")
        change.describe(person.person_id, name=person.name, ignored=ignored)
        return people_rows.persons(transaction, [person.person_id])[0]


def merge_people(store: IndexStore, those: Sequence[Who]) -> PersonRow:
    """Make one person of several.

    The first keeps its number.  It keeps its name too, or takes the first name among the others.
    All their faces count as confirmed by a human.

    Parameters
    ----------
    store : IndexStore
        Writable.
    those : sequence of int or str
        Numbers or names of two people or more.

    Returns
    -------
    PersonRow
        The person that has all the faces now.

    Raises
    ------
    UsageError
        Fewer than two people were named, one was named twice, or there is no such person.
    """
    with store.write() as transaction:
        people = [find_person(transaction, who) for who in those]
        ids = [person.person_id for person in people]
        if len(ids) < 2 or len(set(ids)) < len(ids):
            raise UsageError("name two or more different people to merge")
        first = people[0]
        change = Change(transaction, "merge")
        faces = people_rows.assignments_of(transaction, ids).face_ids
        inside = set(faces.tolist())
        for one, other in people_rows.faces_apart(transaction):
            if one in inside and other in inside:
                change.set_apart(one, other, apart=False)
        change.assign(faces, np.full(len(faces), first.person_id), people_rows.HUMAN)
        name = next((person.name for person in people if person.name is not None), None)
        change.describe(first.person_id, name=name, ignored=first.ignored)
        change.close()
        return people_rows.persons(transaction, [first.person_id])[0]


def split_person(store: IndexStore, who: Who, face_ids: Sequence[int]) -> PersonRow:
    """Make a new person of some faces of a person.

    Both the faces that go and those that stay count as confirmed by a human.

    Parameters
    ----------
    store : IndexStore
        Writable.
    who : int or str
        Number or name.
    face_ids : sequence of int
        Some of the person's faces, not all.

    Returns
    -------
    PersonRow
        The new person, without a name.

    Raises
    ------
    UsageError
        There is no such person, a face is not that person's, or no face would be left.
    """
    with store.write() as transaction:
        person = find_person(transaction, who)
        own = people_rows.assignments_of(transaction, [person.person_id]).face_ids
        going = np.unique(face_rows.as_ids(face_ids, store.location))
        foreign = np.setdiff1d(going, own)
        if len(foreign):
            raise UsageError(f"face {foreign[0]} is not one of person {person.person_id}")
        if not 0 < len(going) < len(own):
            raise UsageError("name some of the person's faces, not all, to split them off")
        change = Change(transaction, "split")
        staying = np.setdiff1d(own, going)
        change.assign(staying, np.full(len(staying), person.person_id), people_rows.HUMAN)
        return _to_new_person(transaction, change, going)


def move_faces(store: IndexStore, face_ids: Sequence[int], who: Who | None) -> PersonRow:
    """Assign faces to a person, whoever had them before.

    The other faces of that person, and those of whoever had them, count as confirmed by a human:
    one face in another place must not draw them along when all is grouped anew.

    Parameters
    ----------
    store : IndexStore
        Writable.
    face_ids : sequence of int
        At least one.
    who : int, str or None
        Number or name; None makes a new person of the faces.

    Returns
    -------
    PersonRow
        The person that has the faces now.

    Raises
    ------
    UsageError
        There is no such face or person, or several people have this name.
    """
    going = np.unique(face_rows.as_ids(face_ids, store.location))
    with store.write() as transaction:
        unknown = np.setdiff1d(going, face_rows.face_ids(transaction))
        if len(unknown) or not len(going):
            named = unknown[0] if len(unknown) else ""
            raise UsageError(f"there is no face {named} in {store.location}")
        target = None if who is None else find_person(transaction, who)
        change = Change(transaction, "move")
        touched = set(people_rows.whose(transaction, going.tolist()).values())
        touched |= set() if target is None else {target.person_id}
        found = people_rows.assignments_of(transaction, touched)
        change.assign(found.face_ids, found.person_ids, people_rows.HUMAN)
        if target is None:
            return _to_new_person(transaction, change, going)
        change.assign(going, np.full(len(going), target.person_id), people_rows.HUMAN)
        change.close()
        return people_rows.persons(transaction, [target.person_id])[0]


def keep_faces(store: IndexStore, face_ids: Sequence[int]) -> None:
    """Confirm that faces belong to the people that have them: no later grouping moves them.

    Parameters
    ----------
    store : IndexStore
        Writable.
    face_ids : sequence of int
        At least one.

    Raises
    ------
    UsageError
        A face is not assigned to any person.
    """
    faces = np.unique(face_rows.as_ids(face_ids, store.location))
    with store.write() as transaction:
        owners = people_rows.whose(transaction, faces.tolist())
        lone = [face for face in faces.tolist() if face not in owners]
        if lone or not len(faces):
            named = lone[0] if lone else ""
            raise UsageError(f"face {named} is nobody's; say whose it is instead")
        change = Change(transaction, "confirm")
        change.assign(faces, np.array([owners[face] for face in faces.tolist()]), people_rows.HUMAN)


def confirm_faces(store: IndexStore, labels: Mapping[str, Sequence[int]]) -> None:
    """Assign faces to people by their names, and make the people that are not there yet.

    Parameters
    ----------
    store : IndexStore
        Writable.
    labels : mapping of str to sequence of int
        Face ids by the name of the person; without any, nothing is changed.

    Raises
    ------
    UsageError
        A name is empty or a number.
    """
    if not labels:
        return
    with store.write() as transaction:
        change = Change(transaction, "ingest --people")
        known = people_rows.ids_by_name(transaction)
        for name, face_ids in labels.items():
            clean = _clean(name)
            person_id = known.get(clean.casefold())
            if person_id is None:
                person_id = known[clean.casefold()] = change.new_person(clean)
            faces = np.unique(face_rows.as_ids(face_ids, store.location))
            change.assign(faces, np.full(len(faces), person_id), people_rows.HUMAN)
        change.close()


def set_people_apart(store: IndexStore, one: Who, other: Who) -> tuple[int, int]:
    """Keep two people apart: no later grouping puts them into one.

    The index remembers it by the two faces that are most alike: no grouping assigns both of them
    to one person.

    Parameters
    ----------
    store : IndexStore
        Writable.
    one, other : int or str
        Numbers or names.

    Returns
    -------
    tuple of (int, int)
        Those two faces, one of each person.

    Raises
    ------
    UsageError
        There is no such person, or both are the same one.
    CalibrationError
        There is no calibration, or it is of a kind by which people cannot be told apart.
    """
    with store.view() as view:
        scorer = scorer_of(view, usable_curve(calibration_in_force(view)))
        people = [find_person(view.transaction, who) for who in (one, other)]
        if people[0].person_id == people[1].person_id:
            raise UsageError("name two different people to keep apart")
        ids = [
            people_rows.assignments_of(view.transaction, [person.person_id]).face_ids
            for person in people
        ]
        left, right = (load(faces, view, scorer) for faces in ids)
    row, column = closest_pair(left, right)
    pair = int(ids[0][row]), int(ids[1][column])
    with store.write() as transaction:
        Change(transaction, "apart").set_apart(*pair)
    return pair


def undo(store: IndexStore) -> str | None:
    """Take back the newest change.

    Parameters
    ----------
    store : IndexStore
        Writable.

    Returns
    -------
    str or None
        The command that had made the change; None when there is nothing to take back.
    """
    with store.write() as transaction:
        return people_rows.undo(transaction)


def _to_new_person(transaction: Transaction, change: Change, faces: Int64Array) -> PersonRow:
    person_id = change.new_person()
    change.assign(faces, np.full(len(faces), person_id), people_rows.HUMAN)
    change.close()
    return people_rows.persons(transaction, [person_id])[0]


def _clean(name: str) -> str:
    clean = " ".join(name.split())
    if not clean or not clean.isprintable():
        raise UsageError(
            f"{name!r} cannot be a person's name: it needs a letter, and no control characters or "
            "bytes that are no text; choose another name, or give the folder of that name another"
        )
    if clean.isascii() and clean.isdigit():
        raise UsageError(f"{clean} would be taken for a person's number; choose another name")
    return clean
