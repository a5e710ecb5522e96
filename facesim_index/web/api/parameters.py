"""The parameters and bodies of requests, with their ranges."""

from typing import Annotated, Literal

from fastapi import Path, Query
from pydantic import BaseModel, Field

from facesim_index.search.queries import QueryOptions

MOST_IDS = 1 << 62
MOST_MATCHES = 1000

Id = Annotated[int, Path(ge=1, le=MOST_IDS)]
BodyId = Annotated[int, Field(ge=1, le=MOST_IDS)]
Limit = Annotated[int, Query(ge=1, le=1000, description="Most to return.")]
Cursor = Annotated[str | None, Query(max_length=10_000, description="`next` of the page before.")]
Probability = Annotated[float, Field(gt=0.0, lt=1.0)]
PriorAsked = Literal["gallery"] | Probability


class Asked(BaseModel):
    """Which matches are asked for."""

    top: int = Field(10, ge=1, le=MOST_MATCHES, description="Most matches for each face.")
    min_degree: float | None = Field(None, ge=0.0, le=1.0, description="Only of this degree.")
    prior: PriorAsked = Field(
        "gallery", description="Probability, before looking, that two faces show one person."
    )
    exclude_same_image: bool = Field(
        False, description="Leave out faces of the same picture, or those that are the person's."
    )

    def options(self, *, face: int | None = None, skip: int = 0) -> QueryOptions:
        """Return what is asked for as the library takes it.

        Parameters
        ----------
        face : int, optional
            Only this face of the picture, left to right, from 0.
        skip : int, default=0
            How many matches are left out afterwards; so many more are searched for.

        Returns
        -------
        QueryOptions
        """
        return QueryOptions(
            self.top + skip, face, self.min_degree, self.prior, self.exclude_same_image
        )


class UploadAsked(Asked, extra="forbid"):
    """The fields beside an uploaded picture."""

    face: int | None = Field(
        None, ge=0, le=10_000, description="Only this face, left to right, from 0."
    )


class _Strict(BaseModel, extra="forbid"):
    """Fields among which an unknown one is an error."""


class CompareAsked(_Strict):
    """The fields beside two uploaded pictures."""

    face_a: int | None = Field(None, ge=0, le=10_000, description="Else the largest.")
    face_b: int | None = Field(None, ge=0, le=10_000, description="Else the largest.")
    prior: Probability = 0.5


class PersonChange(_Strict):
    """What to change of a person; what is left out stays."""

    name: str | None = Field(None, max_length=200, description="null takes the name away.")
    ignored: bool | None = None


class Merge(_Strict):
    """People who are one; the first keeps its number and its name."""

    people: list[BodyId] = Field(min_length=2, max_length=1000)


class Faces(_Strict):
    """Faces that are where they belong."""

    faces: list[BodyId] = Field(min_length=1, max_length=100_000)


class Split(Faces):
    """Faces that are somebody else's."""


class Move(Faces):
    """Faces and whose they are; null makes a new person of them."""

    person_id: BodyId | None


class Apart(_Strict):
    """Two people who are not one."""

    one: BodyId
    other: BodyId


class Cluster(_Strict):
    """How to group the faces."""

    full: bool = Field(False, description="Group all anew but what a human said.")
