"""What may be asked: the parameters of requests, with their ranges."""

from typing import Annotated, Literal

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

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
        """Return them as the library takes them; `skip` more are needed to leave those out."""
        return QueryOptions(
            self.top + skip, face, self.min_degree, self.prior, self.exclude_same_image
        )


class UploadAsked(Asked):
    """The fields beside an uploaded picture."""

    model_config = ConfigDict(extra="forbid")

    face: int | None = Field(
        None, ge=0, le=10_000, description="Only this face, left to right, from 0."
    )


class CompareAsked(BaseModel):
    """The fields beside two uploaded pictures."""

    model_config = ConfigDict(extra="forbid")

    face_a: int | None = Field(None, ge=0, le=10_000, description="Else the largest.")
    face_b: int | None = Field(None, ge=0, le=10_000, description="Else the largest.")
    prior: Probability = 0.5


class PersonChange(BaseModel):
    """What to change of a person; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, max_length=200, description="null takes the name away.")
    ignored: bool | None = None


class Merge(BaseModel):
    """People who are one; the first keeps its number and its name."""

    model_config = ConfigDict(extra="forbid")

    people: list[BodyId] = Field(min_length=2, max_length=1000)


class Faces(BaseModel):
    """Faces that are where they belong."""

    model_config = ConfigDict(extra="forbid")

    faces: list[BodyId] = Field(min_length=1, max_length=100_000)


class Split(BaseModel):
    """Faces that are somebody else's."""

    model_config = ConfigDict(extra="forbid")

    faces: list[BodyId] = Field(min_length=1, max_length=100_000)


class Move(BaseModel):
    """Faces and whose they are; null makes a new person of them."""

    model_config = ConfigDict(extra="forbid")

    faces: list[BodyId] = Field(min_length=1, max_length=100_000)
    person_id: BodyId | None


class Apart(BaseModel):
    """Two people who are not one."""

    model_config = ConfigDict(extra="forbid")

    one: BodyId
    other: BodyId


class Cluster(BaseModel):
    """How to group the faces."""

    model_config = ConfigDict(extra="forbid")

    full: bool = Field(False, description="Group all anew but what a human said.")
