// The page of one person: its name, and faces that are somebody else's.

import { call, everybody, faces, make, one, toast, undo } from "./dom.js";
import { watchNames, watchPicks } from "./picks.js";

const head = one("#person");
const id = Number(head.dataset.person);
const noun = (number) => (number === 1 ? "face" : "faces");

let picks;
let known = [];

const chosenFaces = () => picks.chosen().map((card) => Number(card.dataset.face));

/** Run a change of the ticked faces, and leave them out of this person's list. */
async function away(change, told) {
  const cards = picks.chosen();
  try {
    const target = await change(chosenFaces());
    for (const card of cards) card.remove();
    picks.update();
    one("#move").close();
    toast(`${cards.length} ${noun(cards.length)} ${told(target)}`, undo);
    one("#main").focus();
  } catch (error) {
    toast(error.message);
  }
}

const nameOf = (target) => target.name ?? `Person ${target.person_id}`;

const split = () => away(
  (face_ids) => call("POST", `/v1/people/${id}/split`, { faces: face_ids }),
  (target) => `became ${nameOf(target)}.`,
);

const moveTo = (person_id) => away(
  (face_ids) => call("POST", "/v1/people/move", { faces: face_ids, person_id }),
  (target) => `went to ${nameOf(target)}.`,
);

function choice(target) {
  const button = make("button", { type: "button" });
  if (target.cover_face_id) {
    button.append(make("img", { src: `/v1/faces/${target.cover_face_id}/crop?side_px=96`, alt: "", loading: "lazy", width: "44", height: "44" }));
  }
  button.append(make("span", {}, nameOf(target), make("span", { class: "faded" }, ` ${faces(target.faces)}`)));
  button.addEventListener("click", () => moveTo(target.person_id));
  return button;
}

function showChoices() {
  const sought = one("[data-find]").value.trim().toLocaleLowerCase();
  const fitting = known.filter((other) => other.person_id !== id
    && (nameOf(other).toLocaleLowerCase().includes(sought) || String(other.person_id) === sought));
  const fresh = make("button", { type: "button" }, "A new person");
  fresh.addEventListener("click", () => moveTo(null));
  one("[data-choices]").replaceChildren(...fitting.slice(0, 50).map(choice), fresh);
}

async function openMove() {
  one("#move").showModal();
  one("[data-choices]").replaceChildren(make("p", { class: "busy" }, "Loading people …"));
  try {
    if (!known.length) known = await everybody("");
    showChoices();
  } catch (error) {
    one("[data-choices]").replaceChildren(make("p", { class: "error", role: "alert" }, error.message));
  }
}

async function setIgnored(ignored) {
  try {
    await call("PATCH", `/v1/people/${id}`, { ignored });
    sessionStorage.setItem("said", ignored ? "Ignored." : "Shown again.");
    location.reload();
  } catch (error) {
    toast(error.message);
  }
}

if (one(".name", head)) {
  watchNames(head, () => id);
  const button = one("[data-ignored]");
  button.addEventListener("click", () => setIgnored(button.dataset.ignored === "true"));
}
if (one("#picks")) {
  picks = watchPicks(one("#all"), noun);
  one("[data-split]").addEventListener("click", split);
  one("[data-move]").addEventListener("click", openMove);
  one("[data-find]").addEventListener("input", showChoices);
  one("[data-close]").addEventListener("click", () => one("#move").close());
}
