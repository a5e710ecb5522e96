"""The pages as they come from the server; test_browser.py looks at them in a browser."""

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from facesim_index.calibration.document import to_json
from facesim_index.calibration.kinds import KindProbe
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.degrees import cautions
from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.index import FaceIndex
from facesim_index.people.grouping import PeopleOptions
from facesim_index.records import Failure, FailureCode, Float32Array
from facesim_index.store.catalog import calibration_rows, people_rows
from facesim_index.store.folder.store import FolderStore
from facesim_index.web.app import create_app
from facesim_index.web.service.service import Service
from tests.builders import FAKE, commit_pictures, failed, new_store, picture
from tests.example_pictures import fake_photo
from tests.people.test_grouping import person

HOST = "127.0.0.1"
STRANGE = "/p/<img src=x onerror=alert(1)>\n\u202e\udce9&\"'.jpg"
SHOWN_STRANGE = "&lt;img src=x onerror=alert(1)&gt;\\n\\u202e\\udce9&amp;&#34;&#39;.jpg"
ALL_PAGES = ("/", "/compare", "/people", "/people/review?ask=true", "/index", "/index/calibration")
CURVE = Calibration(
    "made up",
    FAKE_IDENTITY.key,
    "by hand",
    ((0.15, -4.0), (0.45, 4.0)),
    Evidence("made up", 2, 10, 10, "2026-01-01"),
)


class Outline(HTMLParser):
    """What is in a page, as a browser would find it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data.replace("\xa0", " ").strip())

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]

    def having(self, attribute: str) -> list[str | None]:
        return [found[attribute] for _, found in self.tags if attribute in found]

    @property
    def text(self) -> str:
        return " ".join(word for word in self.words if word)


@dataclass(frozen=True)
class Site:
    """A server's application, asked without a network."""

    app: FastAPI

    def ask(self, method: str, address: str, **sent: object) -> httpx.Response:
        async def answer() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            client = httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}")
            async with client:
                return await client.request(method, address, **sent)  # type: ignore[arg-type]

        return asyncio.run(answer())

    def get(self, address: str, status: int = 200) -> Outline:
        response = self.ask("GET", address)
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        return Outline(response.text)

    def html(self, address: str) -> str:
        return self.ask("GET", address).text


def photos(people: Sequence[int], n_faces: int) -> dict[str, list[Float32Array]]:
    """Return a photo for each face of some people."""
    return {
        f"{who}-{number}": [face]
        for who in people
        for number, face in enumerate(person(who, n_faces))
    }


def make_index(
    folder: Path, shown: dict[str, list[Float32Array]], *, calibrated: bool = True
) -> Path:
    """Make an index with pictures by name, and group their faces."""
    with new_store(folder) as store:
        if calibrated:
            with store.catalog.write() as transaction:
                calibration_rows.put(transaction, CURVE.name, CURVE.engine_key, to_json(CURVE))
                calibration_rows.activate(transaction, CURVE.name)
        pictures = {
            name if name.startswith("/") else f"/p/{name}.jpg": picture(str(number), faces)
            for number, (name, faces) in enumerate(shown.items())
        }
        if pictures:
            commit_pictures(store, pictures)
    return folder


Serve = Callable[..., Site]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """What serves indexes until the test is over."""
    services: list[Service] = []

    def served(folder: Path, *, edit: bool = True) -> Site:
        app = create_app(folder, edit=edit, hosts=frozenset({HOST}), engine=FAKE)
        services.append(app.state.service)
        return Site(app)

    yield served
    for service in services:
        service.close()


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path, serve: Serve) -> Site:
    """Two people of five and four faces (1-4 and 8, 5-7 and 9), and a stranger of an odd name."""
    shown = {**photos([1], 4), **photos([2], 3), "/p/two.jpg": [person(1, 5)[4], person(2, 4)[3]]}
    shown[STRANGE] = [person(3, 1)[0]]
    folder = make_index(tmp_path / "i", shown)
    with FaceIndex.open(folder) as index:
        index.people.cluster(PeopleOptions(prior=0.01))
        index.people.name(1, "Zoë <b>")
    return serve(folder, edit=getattr(request, "param", True))


def test_every_page_has_a_frame_to_find_ones_way_in(site: Site) -> None:
    for address in ALL_PAGES:
        page = site.get(address)
        assert page.all("html") == [{"lang": "en"}]
        assert len(page.all("main")) == len(page.all("h1")) == 1
        assert {"class": "skip", "href": "#main"} in page.all("a")
        assert [link["href"] for link in page.all("a")][1:6] == [
            *("/", "/", "/compare", "/people", "/index")
        ]


def test_nothing_is_inline_and_nothing_comes_from_elsewhere(site: Site) -> None:
    addresses = (*ALL_PAGES, "/?face=1", "/?person=1", "/people/1", "/photos/8", "/people/404")
    for address in addresses:
        html = site.html(address)
        page = Outline(html)
        assert all("src" in script for script in page.all("script"))
        assert not page.having("style")
        assert not page.all("style")
        assert not [name for _, found in page.tags for name in found if name.startswith("on")]
        loaded = [str(address) for address in [*page.having("src"), *page.having("href")]]
        assert all(address.startswith(("/", "#", "data:image/jpeg;")) for address in loaded)
        assert not re.search("https?://", html)


def test_names_cannot_steer_a_page(site: Site) -> None:
    for address in ("/photos/9", "/?face=1"):
        html = site.html(address)
        assert SHOWN_STRANGE in html
        assert "\u202e" not in html
    html = site.html("/people")
    assert 'value="Zoë &lt;b&gt;"' in html
    assert "<b>" not in html.replace('<b id="picked" role="status">', "")


def test_people_are_listed_with_covers_and_counts(site: Site) -> None:
    page = site.get("/people")
    assert "2 people, 1 named" in page.text
    assert "5 faces in 5 photos" in page.text
    assert "4 faces in 4 photos" in page.text
    assert page.having("data-person") == ["1", "2"]
    sources = [image["src"] for image in page.all("img")]
    assert sources == ["/v1/faces/1/crop?side_px=256", "/v1/faces/5/crop?side_px=256"]
    assert all(image["loading"] == "lazy" for image in page.all("img"))
    names = [field["value"] for field in page.all("input") if field.get("class") == "name"]
    assert names == ["Zoë <b>", ""]


def test_people_can_be_chosen_by_what_is_known_of_them(site: Site) -> None:
    site.app.state.service.ignore_person(2)
    assert site.get("/people").having("data-person") == ["1"]
    assert site.get("/people?show=named").having("data-person") == ["1"]
    assert site.get("/people?show=ignored").having("data-person") == ["2"]
    unnamed = site.get("/people?show=unnamed")
    assert unnamed.having("data-person") == []
    assert "Everybody has a name." in unnamed.text


@pytest.mark.parametrize("site", [False], indirect=True)
def test_a_page_that_may_not_edit_says_how_to_start_one_that_may(site: Site) -> None:
    for address in ("/people", "/people/1", "/people/review?ask=true", "/index"):
        page = site.get(address)
        assert "serve --edit" in page.text
        assert "read-only" in page.text
        offered = [name for _, found in page.tags for name in found if name.startswith("data-")]
        assert not {"data-undo", "data-cluster", "data-merge", "data-split"} & set(offered)
        assert page.all("input") == []
    refused = site.ask("POST", "/v1/people/confirm", json={"faces": [1]})
    assert refused.status_code == 403


def test_a_person_with_the_doubtful_faces_first(site: Site) -> None:
    assert site.get("/people/1").having("data-face") == ["1", "2", "3", "4", "8"]
    folder = site.app.state.service.folder
    with FolderStore(folder, writable=True) as store, store.catalog.write() as transaction:
        change = people_rows.Change(transaction, "test")
        change.assign(np.array([10]), np.array([1]), people_rows.MACHINE)
    page = site.get("/people/1")
    assert page.having("data-face")[0] == "10"
    assert sorted(page.having("data-face"), key=str) == ["1", "10", "2", "3", "4", "8"]
    assert "6 faces in 6 photos" in page.text
    assert "Like the others the least" in page.text
    assert "% sure" in page.text


def test_a_photo_has_a_box_for_each_face_with_its_name(site: Site) -> None:
    page = site.get("/photos/8")
    assert "2 faces, 640 × 480 pixels, taken 4 July 2021, 12:30" in page.text
    boxes = [link for link in page.all("a") if link.get("class") == "box"]
    assert [box["href"] for box in boxes] == ["/?face=8", "/?face=9"]
    assert boxes[0]["aria-label"] == "Search for face 1, Zoë <b>"
    assert page.all("svg")[1]["viewbox"] == "0 0 640 480"
    place = {"x": "50.0", "y": "20.0", "width": "30.0", "height": "40.0"}
    assert page.all("rect")[-1] == {**place, "rx": "1.2"}


def test_a_face_leads_to_its_photo(site: Site) -> None:
    response = site.ask("GET", "/faces/9")
    assert (response.status_code, response.headers["location"]) == (303, "/photos/8#face-9")


def test_a_search_from_a_face_tells_degrees_and_strangers(site: Site) -> None:
    page = site.get("/?face=1&prior=0.5")
    degrees = [float(str(degree)) for degree in page.having("data-degree")]
    assert degrees == sorted(degrees, reverse=True)
    assert "> 99.99 %" in page.text
    assert "Faces like this one of Zoë <b>" in page.text
    assert "one pair in two" in page.text
    assert [field["name"] for field in page.all("input") if field["type"] == "file"] == ["picture"]


def test_a_search_for_a_person_asks_of_those_who_are_not_theirs(site: Site) -> None:
    page = site.get("/?person=1")
    assert "Faces that are most probably of Zoë <b>" in page.text
    assert set(page.having("data-to")) == {"1"}
    assert not {"1", "2", "3", "4"} & set(page.having("data-move"))
    more = site.get("/?person=1&exclude_same_image=true")
    assert len(more.having("data-degree")) == len(more.having("data-move")) == 5


def test_a_picture_is_searched_for_and_marked(site: Site) -> None:
    sent = {"picture": ("me.png", fake_photo([(200, 10, 10), (10, 200, 10)]), "image/png")}
    response = site.ask("POST", "/", files=sent, data={"top": "3"})
    assert response.status_code == 200
    page = Outline(response.text)
    assert "2 faces in your picture" in page.text
    assert len([link for link in page.all("a") if link.get("class") == "box"]) == 2
    assert len(page.having("data-degree")) == 6
    assert str(page.all("img")[0]["src"]).startswith("data:image/jpeg;base64,")


def test_two_pictures_are_compared_in_one_sentence(site: Site) -> None:
    red, green = (fake_photo([colour]) for colour in ((200, 10, 10), (10, 200, 10)))
    for other, words in ((red, "one person"), (green, "two people")):
        sent = {"a": ("a.png", red, "image/png"), "b": ("b.png", other, "image/png")}
        response = site.ask("POST", "/compare", files=sent, data={"prior": "0.01"})
        assert response.status_code == 200
        page = Outline(response.text)
        assert f"support that they show {words}" in page.text
        assert "If one pair in 100 shows one person, such a pair does so in" in page.text
        assert len([c for c in page.all("circle") if c.get("class") == "landmark"]) == 10


def test_cautions_stand_beside_matches_and_comparisons(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "Caution: both are children"
    assert "Caution" not in site.get("/?face=1").text
    no_weights, even = np.zeros((1, FAKE_IDENTITY.dimension)), np.zeros(1)
    everybody = KindProbe((FAKE_IDENTITY.key,), "made up", ("child",), no_weights, even, even, 0.0)
    monkeypatch.setattr(cautions, "shipped_probe", {FAKE_IDENTITY.key: everybody}.get)
    for address in ("/?face=1", "/?person=1"):
        page = site.get(address)
        assert page.text.count(words) == len(page.having("data-degree")) > 0
    matches = site.ask("GET", "/v1/faces/1/matches").json()["faces"][0]["matches"]
    assert [match["caution"] for match in matches] == [["children"]] * len(matches)
    red = ("a.png", fake_photo([(200, 10, 10)]), "image/png")
    compared = site.ask("POST", "/compare", files={"a": red, "b": red})
    assert f"{words}; children are more alike than adults: " in Outline(compared.text).text


@pytest.mark.parametrize(
    ("address", "files", "words"),
    [
        ("/", {"picture": b"no picture"}, "in a format that can be read"),
        ("/", {"picture": fake_photo([(0, 0, 0)], 16)}, "in which it is larger"),
        ("/", {"other": b"x"}, "The form has no picture called picture."),
        ("/compare", {"a": b"no picture", "b": b"x"}, "in a format that can be read"),
        ("/compare", {"a": b""}, "The form has no picture called b."),
    ],
)
def test_what_is_wrong_with_a_picture_is_told_in_the_page(
    site: Site, address: str, files: dict[str, bytes], words: str
) -> None:
    response = site.ask("POST", address, files=files)
    assert response.status_code == 422
    page = Outline(response.text)
    [error] = [found for tag, found in page.tags if found.get("role") == "alert"]
    assert error["class"] == "error"
    assert words in page.text
    assert "answer" in page.having("id")


def test_what_is_not_there_is_told_on_a_page(site: Site) -> None:
    page = site.get("/people/404", 404)
    assert "There is no person 404 in the index." in page.text
    assert "There is no picture 404 in the index." in site.get("/photos/404", 404).text
    assert "There is no face 404 in the index." in site.get("/?face=404", 404).text
    assert "begin anew" in site.get("/people?cursor=bad", 422).text


def test_questions_come_with_both_sides(site: Site) -> None:
    site.app.state.service.split_person(1, [1, 2])
    page = site.get("/people/review?ask=true")
    kinds = page.having("data-kind")
    assert kinds[0] == "merge"
    assert page.having("data-a")[0] == "1"
    assert page.having("data-b")[0] == "3"
    assert "Are these one person?" in page.text
    assert "Is this face Person 2’s?" in page.text


def test_a_kept_face_is_no_question_any_more(site: Site) -> None:
    before = site.get("/people/review?ask=true").having("data-face")
    assert {"5", "6", "7"} <= set(before)
    assert site.ask("POST", "/v1/people/confirm", json={"faces": [6]}).status_code == 204
    assert set(site.get("/people/review?ask=true").having("data-face")) == set(before) - {"6"}
    assert site.ask("POST", "/v1/people/undo").json() == {"action": "confirm"}
    assert site.get("/people/review?ask=true").having("data-face") == before


def test_the_page_of_questions_comes_before_them(site: Site) -> None:
    page = site.get("/people/review")
    assert page.having("data-kind") == []
    assert page.having("data-address") == ["/people/review?ask=true"]


def test_the_index_tells_what_is_in_it(site: Site) -> None:
    page = site.get("/index")
    assert "10 faces" not in page.text
    assert "faces 10" in page.text
    assert "Calibration made up" in page.text
    assert "There is none." in page.text


def test_the_calibration_is_checked_and_drawn(site: Site) -> None:
    page = site.get("/index/calibration")
    assert "calibration 'made up'" in page.text
    drawn = [found for found in page.all("circle") if str(found["class"]).startswith("point")]
    rows = page.all("tr")
    assert len(drawn) == max(0, len(rows) - 1)


def test_confirmed_faces_are_drawn_too(site: Site, tmp_path: Path, serve: Serve) -> None:
    assert "Too few faces are confirmed yet." in site.get("/index/calibration").text
    many = serve(make_index(tmp_path / "many", photos([1, 2], 8)))
    with FaceIndex.open(tmp_path / "many") as index:
        index.people.cluster(PeopleOptions(prior=0.01))
        index.people.keep(list(range(1, 17)))
    page = many.get("/index/calibration")
    assert "2 people that you confirmed: 56 pairs of one person, 64 pairs of two" in page.text
    [drawn] = [image["src"] for image in page.all("img")]
    svg = many.ask("GET", str(drawn))
    assert (svg.status_code, svg.headers["content-type"]) == (200, "image/svg+xml")


def test_files_that_could_not_be_used_are_listed_in_parts(tmp_path: Path, serve: Serve) -> None:
    folder = make_index(tmp_path / "i", {"one": [person(1, 1)[0]]})
    failure = Failure(FailureCode.TOO_LARGE, "it has too many pixels")
    names = [f"/p/{number:03d}.jpg" for number in range(130)]
    with FaceIndex.open(folder), FolderStore(folder, writable=True) as store:
        commit_pictures(store, {name: failed(name, failure) for name in names})
    site = serve(folder)
    page = site.get("/index")
    assert page.text.count("too large it has too many pixels") == 100
    [further] = [link["href"] for link in page.all("a") if "data-more" in link]
    rest = site.get(str(further))
    assert rest.text.count("too large it has too many pixels") == 30
    assert not [link for link in rest.all("a") if "data-more" in link]


def test_many_people_come_in_parts(tmp_path: Path, serve: Serve) -> None:
    folder = make_index(tmp_path / "i", photos(range(130), 2))
    with FaceIndex.open(folder) as index:
        index.people.cluster(PeopleOptions(prior=0.001))
    site = serve(folder)
    address, seen = "/people", []
    while address:
        page = site.get(address)
        seen.append(page.having("data-person"))
        links = [link for link in page.all("a") if "data-more" in link]
        address = str(links[0]["href"]) if links else ""
    assert [len(part) for part in seen] == [60, 60, 10]
    assert len({person_id for part in seen for person_id in part}) == 130


def test_a_person_of_many_faces_comes_in_parts(tmp_path: Path, serve: Serve) -> None:
    folder = make_index(tmp_path / "i", photos([1], 150))
    with FaceIndex.open(folder) as index:
        index.people.cluster(PeopleOptions(prior=0.01))
    site = serve(folder)
    first = site.get("/people/1")
    [further] = [link["href"] for link in first.all("a") if "data-more" in link]
    faces = [*first.having("data-face"), *site.get(str(further)).having("data-face")]
    assert sorted(map(int, map(str, faces))) == list(range(1, 151))


def test_an_empty_index_says_how_to_fill_it(tmp_path: Path, serve: Serve) -> None:
    folder = make_index(tmp_path / "my index", {})
    site = serve(folder)
    for address in ("/", "/people", "/index"):
        page = site.get(address)
        assert "There are no faces in this index yet" in page.text
        assert f"facesim --index '{folder}' ingest ~/Pictures" in page.text


def test_before_grouping_the_pages_offer_it(tmp_path: Path, serve: Serve) -> None:
    folder = make_index(tmp_path / "i", photos([1], 3))
    site = serve(folder)
    assert site.get("/people").having("data-cluster") == [None]
    assert "Group the faces" in site.get("/people").text
    assert "Group them on the page of people." in site.get("/people/review").text
    assert len(site.get("/").all("img")) == 3
    reading = serve(folder, edit=False)
    assert f"facesim --index {folder} people cluster" in reading.get("/people").text


def test_without_a_calibration_there_are_cosines(tmp_path: Path, serve: Serve) -> None:
    folder = make_index(tmp_path / "i", photos([1], 3), calibrated=False)
    site = serve(folder)
    page = site.get("/?face=1")
    assert "cosine 0." in page.text
    assert "There is no calibration for the engine" in page.text
    assert "%" not in page.text
    assert "facesim calibrate --people" in site.get("/index").text


def test_a_token_is_asked_for(tmp_path: Path) -> None:
    folder = make_index(tmp_path / "i", {})
    app = create_app(folder, token="correct horse battery", hosts=frozenset({HOST}))
    site = Site(app)
    refused = site.ask("GET", "/people", headers={"Accept": "text/html"})
    assert (refused.status_code, refused.headers["location"]) == (303, "/login?next=/people")
    page = site.get("/login?next=/people&wrong=1")
    assert "That is not the token." in page.text
    assert [field["value"] for field in page.all("input") if field["name"] == "next"] == ["/people"]
    app.state.service.close()
