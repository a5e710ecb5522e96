"""Property tests: whatever the API's description allows is answered as it describes."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from facesim_index.web.api.openapi import VERSION, _older
from tests.coloured_people import BLUE, GREEN, RED
from tests.example_pictures import fake_photo
from tests.property_tests import examples
from tests.web.serving import ADDRESS, TestClient, app_of, client_of, make_index, make_photos

with warnings.catch_warnings():  # it imports what its own dependencies call old
    warnings.simplefilter("ignore", DeprecationWarning)
    import schemathesis
    from schemathesis import APIOperation, Case
    from schemathesis.checks import not_a_server_error
    from schemathesis.core.result import Ok
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

#: What pictures of forms are, in these tests.
PICTURES = [fake_photo([RED]), fake_photo([GREEN, BLUE]), fake_photo([]), b"", b"no picture"]
schemathesis.openapi.format("binary", st.sampled_from(PICTURES))

Operation: TypeAlias = APIOperation[Any, Any, Any, Any]
AnyCase: TypeAlias = Case[Any]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
BOUNDED = settings(
    examples(12),
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def editing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a server that may change its own index."""
    folder = tmp_path_factory.mktemp("described")
    index = make_index(folder / "i.facesim", make_photos(folder / "photos"))
    with client_of(app_of(index, edit=True)) as client:
        yield client


def operations() -> list[Operation]:
    """Return what there is to ask, as a client reads it from the description."""
    app = app_of(Path("no index is needed for that"))
    described = schemathesis.openapi.from_dict(app.openapi())
    found = list(described.get_all_operations())
    read = [one.ok() for one in found if isinstance(one, Ok)]
    assert len(read) == len(found), found
    return read


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.label)
def test_answers_are_as_described(operation: Operation, editing: TestClient) -> None:
    if operation.path == "/v1/people/cluster":
        return  # its own tests start it; here one for each example would be in the way

    @given(case=operation.as_strategy())
    @BOUNDED
    def ask(case: AnyCase) -> None:
        sent = requests.Request(**case.as_transport_kwargs(base_url=ADDRESS)).prepare()
        assert sent.method is not None
        assert sent.url is not None
        response = editing.request(
            sent.method, sent.url, headers=dict(sent.headers), content=sent.body or b""
        )
        case.validate_response(schemathesis.Response.from_any(response), checks=CHECKS)

    ask()


def test_the_description_is_of_the_version_that_is_shown(shared_index: Path) -> None:
    with client_of(app_of(shared_index)) as client:
        text = client.get("/v1/openapi.json").text
        described = client.get("/v1/openapi.json").json()
    assert described["openapi"] == VERSION == "3.0.3"
    for newer in ('"type": "null"', '"const"', '"prefixItems"'):
        assert newer not in text
    match = described["components"]["schemas"]["Match"]["properties"]
    assert match["degree"]["nullable"] is True
    form = described["paths"]["/v1/query"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert form["schema"]["properties"]["picture"] == {"type": "string", "format": "binary"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=3), part),
        max_leaves=10,
    )
)
def test_what_both_versions_say_alike_is_left_as_it_is(part: object) -> None:
    assert _older(part) == part
