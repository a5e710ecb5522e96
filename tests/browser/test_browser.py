"""What people do on the pages, in a real browser against a real server process."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from facesim_index.index import FaceIndex
from facesim_index.people.grouping import PeopleOptions
from facesim_index.store.folder.store import FolderStore
from tests.browser.visits import (
    ARGUMENTS,
    DESKTOP,
    PHONE,
    STRANGE_NAME,
    WIDE,
    Visit,
    chromium_path,
    fake_server,
    make_album,
    overflowing,
    picture_bytes,
    server,
)
from tests.web.pages.test_routes import make_index, photos

PAGES = (
    *("/", "/?face=1", "/?person=1", "/compare", "/people", "/people/1", "/people/review"),
    *("/faces/1", "/index", "/index/calibration", "/people/404", "/photos/1"),
)

Open = Callable[..., Visit]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium_path()
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def album(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of a group of six, three times, and a team; its faces grouped into people."""
    return make_album(tmp_path_factory.mktemp("album"))


@pytest.fixture(scope="module")
def reading(album: Path) -> Iterator[str]:
    """The address of a server that only reads."""
    with server(album) as address:
        yield address


@pytest.fixture
def editing(album: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a server that may change a copy of the index."""
    copy = tmp_path / "copy.facesim"
    shutil.copytree(album, copy)
    with server(copy, "--edit") as address:
        yield address


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    """What opens windows; each is looked over when the test is done."""
    visits: list[Visit] = []

    def opened(address: str, size: tuple[int, int] = DESKTOP) -> Visit:
        visits.append(Visit(browser, address, size))
        return visits[-1]

    yield opened
    for one in visits:
        one.leave()


def choose(page: Page, field: str, name: str) -> None:
    """Choose an example picture in a field."""
    file = {"name": name, "mimeType": "image/jpeg", "buffer": picture_bytes(name)}
    page.locator(f"input[name={field}]").set_input_files(file)  # type: ignore[arg-type]


def follow(page: Page, name: str) -> None:
    """Follow a link, and wait until the scripts of the page behind it have run."""
    with page.expect_event("load"):
        page.get_by_role("link", name=name).click()


def shown_names(page: Page) -> list[str]:
    return [field.input_value() for field in page.locator("input.name").all()]


def test_search_by_a_picture_then_by_a_face_of_it(reading: str, visit: Open) -> None:
    page = visit(reading).go("/")
    choose(page, "picture", "yaoming.jpg")
    expect(page.locator("#answer h2")).to_have_text("1 face in your picture")
    cards = page.locator(".matches .card")
    expect(cards).to_have_count(12)
    expect(cards.first.locator(".degree")).to_have_text(re.compile(r"^(> )?\d\d(\.\d+)?\s%( \*)?$"))
    expect(cards.first.locator(".where")).to_have_text("team.jpg")
    expect(cards.first).to_contain_text("95 % interval")
    expect(cards.first).to_contain_text("strangers expected")
    expect(page.locator("#picture .box")).to_have_count(1)
    expect(page.locator("#picture img")).to_have_js_property("naturalWidth", 233)

    cards.first.locator("a.crop").click()
    expect(page.locator("#answer h2")).to_contain_text("Faces like this one")
    expect(page.locator(".matches .card").first).to_contain_text("team.jpg")


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_picture_can_be_dropped_or_pasted(reading: str, visit: Open, way: str) -> None:
    page = visit(reading).go("/")
    page.evaluate(
        """([bytes, way]) => {
          const files = new DataTransfer();
          const type = { type: "image/jpeg" };
          files.items.add(new File([Uint8Array.from(bytes)], "me.jpg", type));
          const options = { bubbles: true, cancelable: true };
          const event = way === "drop"
            ? new DragEvent("drop", { ...options, dataTransfer: files })
            : new ClipboardEvent("paste", { ...options, clipboardData: files });
          document.querySelector(".drop").dispatchEvent(event);
        }""",
        [list(picture_bytes("yaoming.jpg")), way],
    )
    expect(page.locator("[data-chosen]")).to_have_text("me.jpg")
    expect(page.locator(".matches .card")).to_have_count(12)


def test_the_slider_filters_at_once_and_says_what_is_left(reading: str, visit: Open) -> None:
    page = visit(reading).go("/?face=1")
    page.locator("#least").fill("8")
    expect(page.locator("#least-text")).to_have_text("90 %")
    expect(page.locator("#shown")).to_have_text("2 of 12 matches shown")
    expect(page.locator(".matches .card:visible")).to_have_count(2)
    page.locator("#least").press("Home")
    expect(page.locator("#shown")).to_have_text("12 of 12 matches shown")
    page.locator("#least").fill("10")
    page.goto(f"{reading}/?face=20")
    expect(page.locator("#least-text")).to_have_text("99.9 %")
    expect(page.locator("[data-none]")).to_contain_text("No match reaches 99.9 %; the best has")


def test_options_ask_again(reading: str, visit: Open) -> None:
    page = visit(reading).go("/?face=1")
    page.get_by_text("Options", exact=True).click()
    page.get_by_label("Matches for each face").select_option("24")
    expect(page.locator(".matches .card")).to_have_count(24)
    page.get_by_label("Before looking").select_option("0.5")
    expect(page.locator("#answer")).to_contain_text("one pair in two")
    expect(page).to_have_url(re.compile("top=24&prior=0.5"))


def test_from_a_match_to_its_photo_and_to_a_person(reading: str, visit: Open) -> None:
    page = visit(reading).go("/?face=1")
    page.locator(".matches .card .where").first.click()
    expect(page).to_have_url(re.compile(r"/photos/\d+#face-\d+$"))
    expect(page.locator(".picture .box")).to_have_count(6)
    expect(page.locator(".row.chosen")).to_have_count(1)
    assert page.locator(".picture img").evaluate("image => image.naturalWidth") > 600
    page.locator(".row .who").first.click()
    expect(page.locator("#all .card")).to_have_count(3)
    expect(page.locator("h1")).to_have_text(re.compile(r"^Person \d+$"))


def test_a_box_of_a_photo_searches_for_the_face(reading: str, visit: Open) -> None:
    page = visit(reading).go("/faces/1")
    box = page.locator(".picture .box").nth(2)
    box.hover()
    face = box.get_attribute("data-face")
    expect(page.locator(f'.row[data-face="{face}"]')).to_have_class(re.compile("chosen"))
    box.locator("rect").last.click()
    expect(page.locator(".matches .card")).to_have_count(12)


def test_strange_names_are_shown_and_harmless(reading: str, visit: Open) -> None:
    page = visit(reading).go("/?face=1")
    shown = STRANGE_NAME.replace("\u202e", r"\u202e")
    expect(
        page.locator(f'.where:text-is("{shown}")').or_(page.get_by_text(shown)).first
    ).to_be_visible()
    assert page.locator(".where b").count() == 0


def test_compare_two_pictures_and_choose_another_face(reading: str, visit: Open) -> None:
    page = visit(reading).go("/compare")
    choose(page, "a", "yaoming.jpg")
    choose(page, "b", "astronaut.png")
    verdict = page.locator("#verdict")
    expect(verdict.locator("h2")).to_contain_text("that they show two people")
    expect(verdict).to_contain_text("If one pair in two shows one person, such a pair does so in")
    expect(verdict).to_contain_text("of pairs of strangers")
    expect(page.locator(".landmark")).to_have_count(10)
    choose(page, "b", "t1.jpg")
    expect(page.locator("[data-side=b] .box")).to_have_count(6)
    chosen = page.locator("[data-side=b] .box.chosen")
    before = chosen.get_attribute("data-face")
    page.locator("[data-side=b] .box:not(.chosen) rect:not(.under)").first.click()
    expect(chosen).not_to_have_attribute("data-face", before or "")
    expect(page.locator("input[name=face_b]:checked")).to_be_focused()
    page.get_by_label("How many such pairs").select_option("0.001")
    expect(page.locator("#verdict")).to_contain_text("If one pair in 1,000 shows one person")


def test_a_file_that_is_no_picture_is_told_where_it_was_chosen(reading: str, visit: Open) -> None:
    here = visit(reading)
    here.expected = "422"
    page = here.go("/")
    file = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"}
    page.locator("input[name=picture]").set_input_files(file)  # type: ignore[arg-type]
    expect(page.locator("#answer [role=alert]")).to_contain_text("in a format that can be read")
    choose(page, "picture", "yaoming.jpg")
    expect(page.locator(".matches .card")).to_have_count(12)


def test_name_rename_and_undo(editing: str, visit: Open) -> None:
    here = visit(editing)
    here.expected = "422"  # a name that somebody has already
    page = here.go("/people")
    field = page.locator("input.name").first
    field.fill("Anna")
    field.press("Enter")
    expect(page.locator("#toast")).to_contain_text("Named Anna.")
    page.reload()
    assert shown_names(page)[0] == "Anna"
    page.locator("input.name").nth(1).fill("anna")
    with page.expect_response("**/v1/people/*"):
        page.locator("input.name").nth(1).press("Enter")
    expect(page.locator(".field-error")).to_contain_text("Somebody else is called Anna.")
    page.locator("input.name").nth(1).press("Escape")
    expect(page.locator(".field-error")).to_have_count(0)
    page.get_by_role("button", name="Undo").first.click()
    expect(page.locator("#toast")).to_contain_text("Took back: name.")
    assert shown_names(page)[0] == ""


def test_a_name_that_somebody_has_offers_to_merge(editing: str, visit: Open) -> None:
    here = visit(editing)
    here.expected = "422"
    page = here.go("/people/2")
    with page.expect_response("**/v1/people/2"):
        page.locator("input.name").fill("Anna")
        page.locator("input.name").press("Enter")
    page.goto(f"{editing}/people/3")
    page.locator("input.name").fill("anna")
    page.locator("input.name").press("Tab")
    page.get_by_role("button", name="They are one person").click()
    expect(page).to_have_url(f"{editing}/people/2")
    expect(page.locator("#toast")).to_contain_text("Merged: Anna now has 6 faces.")
    expect(page.locator("#all .card")).to_have_count(6)


def test_merge_by_ticking_and_take_it_back(editing: str, visit: Open) -> None:
    page = visit(editing).go("/people")
    cards = page.locator("#list .card")
    number = cards.count()
    for place in (0, 2):
        cards.nth(place).locator(".pick").click()
    expect(page.locator("#picked")).to_have_text("2 people selected")
    page.get_by_role("button", name="They are one person").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("2 people become one, Person 1, with 6 faces.")
    page.get_by_role("button", name="Yes, merge").click()
    expect(cards).to_have_count(number - 1)
    expect(cards.first).to_contain_text("6 faces in 3 photos")
    expect(page.locator("#picks")).to_be_hidden()
    page.locator("#toast button").click()
    expect(page.locator("#toast")).to_contain_text("Took back: merge.")
    expect(cards).to_have_count(number)


def test_merge_by_dragging_keeps_the_name_that_is_right(editing: str, visit: Open) -> None:
    page = visit(editing).go("/people")
    cards = page.locator("#list .card")
    for place, name in ((0, "Anna"), (1, "Annie")):
        with page.expect_response("**/v1/people/*"):
            cards.nth(place).locator("input.name").fill(name)
            cards.nth(place).locator("input.name").press("Enter")
    cards.nth(1).locator(".crop").drag_to(cards.nth(0).locator(".crop"))
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Which name is right?")
    dialog.get_by_label("Annie").check()
    dialog.get_by_role("button", name="Yes, merge").click()
    expect(page.locator("#toast")).to_contain_text("Merged: Annie now has 6 faces.")
    assert "Anna" not in shown_names(page)
    page.reload()
    assert shown_names(page)[0] == "Annie"


def test_ignore_somebody_and_show_them_again(editing: str, visit: Open) -> None:
    page = visit(editing).go("/people")
    cards = page.locator("#list .card")
    number = cards.count()
    cards.first.locator(".pick").click()
    page.get_by_role("button", name="Ignore").click()
    expect(cards).to_have_count(number - 1)
    follow(page, "Ignored")
    expect(cards).to_have_count(1)
    page.get_by_role("button", name="Show again").click()
    expect(cards).to_have_count(0)
    follow(page, "Everybody")
    expect(cards).to_have_count(number)


def test_faces_of_a_person_are_split_off_and_moved(editing: str, visit: Open) -> None:
    page = visit(editing).go("/people/1")
    cards = page.locator("#all .card")
    expect(cards).to_have_count(3)
    cards.first.locator(".pick").click()
    page.get_by_role("button", name="Somebody else, a new person").click()
    expect(page.locator("#toast")).to_contain_text("1 face became Person")
    expect(cards).to_have_count(2)
    cards.first.locator(".pick").click()
    page.get_by_role("button", name="Move to …").click()
    page.get_by_label("Name or number").fill("2")
    page.locator("[data-choices] button").first.click()
    expect(page.locator("#toast")).to_contain_text("1 face went to Person 2.")
    expect(cards).to_have_count(1)
    page.goto(f"{editing}/people/2")
    expect(cards).to_have_count(4)
    expect(page.locator("h1 + p")).to_contain_text("4 faces confirmed by you")


def test_more_faces_of_a_person_are_found_and_added(editing: str, visit: Open) -> None:
    page = visit(editing).go("/people/1")
    page.locator("#all .card .pick").first.click()
    page.get_by_role("button", name="Somebody else, a new person").click()
    expect(page.locator("#toast")).to_be_visible()
    follow(page, "Find more faces")
    expect(page.locator("#answer h2")).to_have_text("Faces that are most probably of Person 1")
    page.get_by_role("button", name="Yes, it is").first.click()
    expect(page.locator("#toast")).to_contain_text("The face was added.")
    page.goto(f"{editing}/people/1")
    expect(page.locator("#all .card")).to_have_count(3)


def test_review_by_keys_and_take_an_answer_back(editing: str, visit: Open) -> None:
    page = visit(editing).go("/people/1")
    page.locator("#all .card .pick").first.click()
    page.get_by_role("button", name="Somebody else, a new person").click()
    expect(page.locator("#toast")).to_be_visible()

    page.goto(f"{editing}/people/review")
    expect(page.locator("#place")).to_contain_text("Question 1 of")
    first = page.locator(".question").first
    expect(first.locator("h2")).to_have_text("Are these one person?")
    page.keyboard.press("y")
    expect(page.locator("#toast")).to_contain_text("Yes, noted.")
    expect(page.locator("#place")).to_contain_text("Question 2 of")
    page.keyboard.press("u")
    expect(page.locator("#toast")).to_contain_text("Took back: merge.")
    expect(page.locator("#place")).to_contain_text("Question 1 of")
    page.keyboard.press("n")
    expect(page.locator("#place")).to_contain_text("Question 2 of")
    page.keyboard.press("ArrowLeft")
    expect(first.locator("h2")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".question:visible h2")).to_contain_text("Is this face")
    page.get_by_role("button", name="Yes").click()
    expect(page.locator("#place")).to_contain_text("Question 3 of")

    page.reload()
    expect(page.locator("#place")).to_contain_text("Question 1 of")
    expect(page.locator(".question:visible h2")).to_contain_text("Is this face")


def test_group_faces_from_the_page(browser: Browser, tmp_path: Path, visit: Open) -> None:
    index = make_album(tmp_path, grouped=False)
    with server(index, "--edit") as address:
        here = visit(address)
        page = here.go("/people")
        page.get_by_role("button", name="Group the faces").click()
        expect(page.locator("#toast")).to_contain_text("people,", timeout=60_000)
        expect(page.locator("#list .card").first).to_contain_text("3 faces in 3 photos")
        here.leave()


def test_a_server_that_only_reads_offers_no_change(reading: str, visit: Open) -> None:
    page = visit(reading).go("/people")
    expect(page.locator(".note")).to_contain_text("serve --edit")
    assert page.locator("button:visible, input:visible").count() == 0
    page.goto(f"{reading}/people/review")
    expect(page.locator("#place")).to_contain_text("Question 1 of")
    assert page.locator("[data-answer=yes]").count() == 0
    page.keyboard.press("y")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#place")).to_contain_text("Question 2 of")


@pytest.mark.parametrize("size", [PHONE, DESKTOP, WIDE])
def test_no_page_is_wider_than_the_window(editing: str, visit: Open, size: tuple[int, int]) -> None:
    here = visit(editing, size)
    here.expected = "404"
    for path in PAGES:
        page = here.go(path)
        assert overflowing(page) == [], path
    page = here.go("/compare")
    choose(page, "a", "t1.jpg")
    choose(page, "b", "gdp.jpg")
    expect(page.locator("#verdict")).to_be_visible()
    assert overflowing(page) == []


def test_everything_can_be_done_with_keys_alone(editing: str, visit: Open) -> None:
    page = visit(editing).go("/people")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, "#list .card:nth-child(1) .pick input")
    page.keyboard.press("Space")
    tab_to(page, "#list .card:nth-child(1) .name")
    page.keyboard.type("Anna")
    page.keyboard.press("Enter")
    expect(page.locator("#toast")).to_contain_text("Named Anna.")
    tab_to(page, "#list .card:nth-child(2) .pick input")
    page.keyboard.press("Space")
    tab_to(page, "[data-merge]")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("2 people become Anna")
    tab_to(page, "dialog .main-action")
    page.keyboard.press("Enter")
    expect(page.locator("#toast")).to_contain_text("Merged: Anna now has 6 faces.")
    expect(page.locator("#list .card:nth-child(1) a.crop")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/people/1$"))


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until an element has the focus, and see that the focus can be seen."""
    wanted = page.locator(selector)
    for _ in range(200):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            outline = wanted.evaluate("element => getComputedStyle(element).outlineStyle")
            assert outline != "none", f"{selector} does not show that it has the focus"
            return
    pytest.fail(f"{selector} cannot be reached with Tab")


def test_a_picture_that_is_gone_is_a_neutral_figure(tmp_path: Path, visit: Open) -> None:
    index = make_album(tmp_path)
    shutil.rmtree(tmp_path / "photos")
    with server(index) as address:
        here = visit(address)
        here.expected = "404"
        page = here.go("/people")
        expect(page.locator(".crop img.gone").first).to_be_visible()
        sources = {image.get_attribute("src") for image in page.locator("img:visible").all()}
        assert sources == {"/static/gone.svg"}
        here.leave()


def test_the_index_page_checks_the_calibration_and_lists_errors(reading: str, visit: Open) -> None:
    page = visit(reading).go("/index")
    expect(page.locator("#numbers")).to_contain_text("files not usable")
    expect(page.locator("#list")).to_contain_text("broken.jpg")
    page.get_by_role("link", name="Check the calibration").click()
    expect(page.locator("#check")).to_contain_text("calibration 'lfw-dev'")


def test_the_index_page_tells_that_somebody_writes(
    album: Path, tmp_path: Path, visit: Open
) -> None:
    copy = tmp_path / "copy.facesim"
    shutil.copytree(album, copy)
    with server(copy) as address:
        here = visit(address)
        with FolderStore(copy, writable=True):
            page = here.go("/index")
            expect(page.locator("#writer")).to_be_visible()
        expect(page.locator("#writer")).to_be_hidden(timeout=10_000)
        here.leave()


def test_a_list_grows_as_one_scrolls(tmp_path: Path, visit: Open) -> None:
    index = make_index(tmp_path / "i", photos(range(150), 2))
    with FaceIndex.open(index) as opened:
        opened.people.cluster(PeopleOptions(prior=0.001))
    with fake_server(index) as address:
        here = visit(address)
        here.expected = "404"  # its pictures do not exist
        page = here.go("/people")
        cards = page.locator("#list .card")
        page.mouse.wheel(0, 100_000)
        expect(cards).to_have_count(120)
        page.mouse.wheel(0, 100_000)
        expect(cards).to_have_count(150)
        expect(page.locator("[data-more]")).to_have_count(0)
        here.leave()


def test_without_scripts_one_can_still_search_compare_and_read(
    reading: str, browser: Browser
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{reading}/")
    choose(page, "picture", "yaoming.jpg")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#answer h2")).to_have_text("1 face in your picture")
    page.goto(f"{reading}/compare")
    choose(page, "a", "yaoming.jpg")
    choose(page, "b", "astronaut.png")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#verdict h2")).to_contain_text("that they show two people")
    page.goto(f"{reading}/people/review")
    page.get_by_role("link", name="Show the questions").click()
    expect(page.locator(".question").first).to_be_visible()
    page.goto(f"{reading}/index")
    page.get_by_role("link", name="Check the calibration").click()
    expect(page.locator("#check")).to_contain_text("calibration 'lfw-dev'")
    context.close()


def test_dark_and_light(reading: str, visit: Open) -> None:
    page = visit(reading).go("/people")
    colour = "() => getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(colour) == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(colour) == "rgb(20, 23, 27)"


def test_a_token_is_asked_for_once(album: Path, visit: Open) -> None:
    with server(album, "--token", "correct horse battery") as address:
        here = visit(address)
        page = here.go("/people")
        page.get_by_label("Token").fill("wrong horse battery")
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("[role=alert]")).to_have_text("That is not the token.")
        page.get_by_label("Token").fill("correct horse battery")
        page.get_by_role("button", name="Log in").click()
        expect(page).to_have_url(f"{address}/people")
        expect(page.locator("#list .card").first).to_be_visible()
        here.leave()
