"""What people do to search and compare, in a real browser against a real server process."""

import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from facesim_index.index import FaceIndex
from facesim_index.people.grouping import PeopleOptions
from facesim_index.store.folder.store import FolderStore
from tests.browser.visits import STRANGE_NAME, Open, choose, fake_server, picture_bytes, server
from tests.web.pages.test_routes import make_index, photos

pytestmark = pytest.mark.slow  # a browser and a server


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
