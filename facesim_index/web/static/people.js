// The page of people: naming, merging by ticks or by dragging, ignoring.

import { all, call, faces, make, one, photos, toast, undo } from "./dom.js";
import { watchNames, watchPicks } from "./picks.js";

const list = one("#list");
const dialog = one("#merge");

const person = (card) => Number(card.dataset.person);

function describe(card, known) {
  const who = known.name ?? `Person ${known.person_id}`;
  card.dataset.who = who;
  card.toggleAttribute("data-named", known.name !== null);
  const field = one(".name", card);
  field.value = known.name ?? "";
  field.defaultValue = field.value;
  if (known.faces !== undefined) {
    one("[data-count]", card).textContent = `${faces(known.faces)} in ${photos(known.pictures)}`;
  }
}

/** Ask whose name stays; the names come first, then whoever has most faces. */
function askToMerge(cards) {
  const ordered = [...cards].sort((a, b) => b.hasAttribute("data-named") - a.hasAttribute("data-named"));
  const named = ordered.filter((card) => card.hasAttribute("data-named"));
  one("[data-covers]", dialog).replaceChildren(...ordered.slice(0, 8).map((card) => {
    const crop = one(".crop", card).cloneNode(true);
    const box = make("li", { class: "crop" });
    box.append(one("img", crop));
    return box;
  }));
  one("[data-names]", dialog).replaceChildren(...(named.length < 2 ? [] : [
    make("span", {}, "Which name is right?"),
    ...named.map((card, place) => {
      const field = make("input", { type: "radio", name: "keep", value: card.dataset.person });
      field.checked = place === 0;
      return make("label", { class: "check" }, field, ` ${card.dataset.who}`);
    }),
  ]));
  const total = cards.reduce((sum, card) => sum + Number(card.dataset.faces), 0);
  one("[data-text]", dialog).textContent =
    `${cards.length} people become ${named.length ? "" : "one, "}${ordered[0].dataset.who}, with ${faces(total)}.`;
  dialog.returnValue = "";
  dialog.showModal();
  dialog.addEventListener("close", () => {
    if (dialog.returnValue !== "merge") return;
    const keep = one("[name=keep]:checked", dialog)?.value;
    const first = ordered.find((card) => card.dataset.person === keep) || ordered[0];
    merge(first, ordered.filter((card) => card !== first));
  }, { once: true });
}

async function merge(first, others) {
  try {
    const known = await call("POST", "/v1/people/merge", { people: [first, ...others].map(person) });
    for (const card of others) card.remove();
    first.dataset.faces = known.faces;
    describe(first, known);
    picks.clear();
    one("a.crop", first).focus();
    toast(`Merged: ${first.dataset.who} now has ${faces(known.faces)}.`, undo);
  } catch (error) {
    toast(error.message);
  }
}

async function setIgnored(cards, ignored) {
  try {
    for (const card of cards) {
      await call("PATCH", `/v1/people/${person(card)}`, { ignored });
      card.remove();
    }
    picks.update();
    const whom = cards.length === 1 ? cards[0].dataset.who : `${cards.length} people`;
    toast(ignored ? `Ignored: ${whom}.` : `Shown again: ${whom}.`, undo);
  } catch (error) {
    toast(error.message);
  }
}

let dragged = null;

function watchDrags() {
  const over = (event) => {
    const card = event.target.closest?.(".card");
    return dragged && card && card !== dragged ? card : null;
  };
  list.addEventListener("dragstart", (event) => {
    dragged = event.target.closest(".card");
    if (!dragged || event.target.closest(".name")) {
      dragged = null;
      return;
    }
    event.dataTransfer.setData("text/plain", dragged.dataset.who);
    event.dataTransfer.effectAllowed = "link";
    dragged.classList.add("dragged");
  });
  list.addEventListener("dragover", (event) => {
    const card = over(event);
    if (!card) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "link";
    for (const other of all(".card.over", list)) other.classList.remove("over");
    card.classList.add("over");
  });
  list.addEventListener("drop", (event) => {
    const card = over(event);
    if (!card) return;
    event.preventDefault();
    askToMerge([card, dragged]);
  });
  list.addEventListener("dragend", () => {
    for (const other of all(".card", list)) other.classList.remove("over", "dragged");
    dragged = null;
  });
}

let picks;

if (list && one("#picks")) {
  picks = watchPicks(list, (number) => (number === 1 ? "person" : "people"));
  watchNames(list, (field) => person(field.closest(".card")));
  watchDrags();
  one("#picks").addEventListener("picked", (event) => {
    one("[data-merge]").disabled = event.detail.length < 2;
  });
  one("[data-merge]").addEventListener("click", () => askToMerge(picks.chosen()));
  one("[data-ignore]").addEventListener("click", () => setIgnored(picks.chosen(), true));
  list.addEventListener("click", (event) => {
    const button = event.target.closest("[data-restore]");
    if (button) setIgnored([button.closest(".card")], false);
  });
  list.addEventListener("renamed", (event) => {
    const card = event.target.closest(".card");
    describe(card, { person_id: person(card), name: event.detail || null });
  });
}
