// The page of searches: the picture is sent as soon as it is chosen, the slider filters at once.

import { all, busy, call, make, one, page, replaceWithin, tell, toast, undo } from "./dom.js";
import { takePictures } from "./upload.js";

const DEGREES = [0, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999];
const WORDS = ["any degree", "0.1 %", "1 %", "5 %", "10 %", "25 %", "50 %", "75 %", "90 %", "99 %", "99.9 %"];

const form = one("#search");
const answer = one("#answer");
let asked;

function filter() {
  const slider = one("#least");
  if (!slider) return;
  const least = DEGREES[slider.value];
  slider.setAttribute("aria-valuetext", WORDS[slider.value]);
  one("#least-text").textContent = WORDS[slider.value];
  sessionStorage.setItem("least", slider.value);
  let shown = 0;
  let known = 0;
  for (const section of all(".query")) {
    const cards = all("[data-degree]", section);
    const kept = cards.filter((card) => Number(card.dataset.degree) >= least);
    for (const card of cards) card.hidden = !kept.includes(card);
    const none = one("[data-none]", section);
    if (none) {
      none.hidden = kept.length > 0;
      none.textContent = `No match reaches ${WORDS[slider.value]}; the best has ${one(".degree", section)?.textContent}.`;
    }
    shown += kept.length;
    known += cards.length;
  }
  one("#shown").textContent = `${shown} of ${known} matches shown`;
}

function prepare() {
  const box = one("[data-filter]");
  if (!box) return;
  box.hidden = false;
  const slider = one("#least");
  slider.value = sessionStorage.getItem("least") || "0";
  slider.addEventListener("input", filter);
  filter();
}

async function search(address, options, words) {
  asked?.abort();
  const mine = new AbortController();
  asked = mine;
  busy(answer, words);
  try {
    replaceWithin("answer", await page(address, { ...options, signal: mine.signal }));
    prepare();
  } catch (error) {
    if (error.name !== "AbortError") tell(answer, error);
  }
}

function searchPicture() {
  history.replaceState(null, "", "/");
  return search("/", { method: "POST", body: new FormData(form) }, "Looking for faces and comparing them …");
}

/** A new option: ask again for what was asked, be it a picture, a face or a person. */
function askAgain() {
  if (form.elements.picture.files.length) return searchPicture();
  const address = new URL(location.href);
  if (!address.searchParams.has("face") && !address.searchParams.has("person")) return undefined;
  for (const [name, value] of new FormData(form)) {
    if (name !== "picture") address.searchParams.set(name, value);
  }
  if (!form.elements.exclude_same_image.checked) address.searchParams.delete("exclude_same_image");
  history.replaceState(null, "", address);
  return search(address, {}, "Comparing …");
}

/** Confirm that a match is the person who was looked for. */
async function confirm(button) {
  button.disabled = true;
  try {
    await call("POST", "/v1/people/move", { faces: [Number(button.dataset.move)], person_id: Number(button.dataset.to) });
    button.replaceWith(make("span", { class: "faded", tabindex: "-1" }, "added"));
    toast("The face was added.", undo);
  } catch (error) {
    button.disabled = false;
    toast(error.message);
  }
}

takePictures(form);
form.addEventListener("change", (event) => {
  if (event.target.type === "file") searchPicture();
  else askAgain();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  searchPicture();
});
answer.addEventListener("click", (event) => {
  const button = event.target.closest("[data-move]");
  if (button) confirm(button);
});
prepare();
