"""What people do to name and sort people, in a real browser against a real server process."""

import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.visits import (
    DESKTOP,
    PHONE,
    WIDE,
    Open,
    choose,
    follow,
    make_album,
    overflowing,
    server,
    shown_names,
)

PAGES = (
    *("/", "/?face=1", "/?person=1", "/compare", "/people", "/people/1", "/people/review"),
    *("/faces/1", "/index", "/index/calibration", "/people/404", "/photos/1"),
)


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
    choices = page.locator("[data-choices] button")
    expect(choices).to_have_count(2)  # the dialogue has shrunk, and stands still
    choices.first.click()
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
