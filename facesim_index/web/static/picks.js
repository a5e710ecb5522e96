// Ticking cards, and the bar of what can be done with those that are ticked; names in place.

import { all, call, everybody, faces, make, one, toast, undo } from "./dom.js";

/** Watch the ticks in the list; return what gives the ticked cards, and what clears them. */
export function watchPicks(list, noun) {
  const bar = one("#picks");
  const chosen = () => all(".card", list).filter((card) => one(".pick input", card)?.checked);
  function update() {
    const cards = chosen();
    for (const card of all(".card", list)) card.classList.toggle("picked", cards.includes(card));
    bar.hidden = cards.length === 0;
    one("#picked").textContent = `${cards.length} ${noun(cards.length)} selected`;
    bar.dispatchEvent(new CustomEvent("picked", { detail: cards }));
  }
  function clear() {
    for (const card of chosen()) one(".pick input", card).checked = false;
    update();
  }
  list.addEventListener("change", (event) => {
    if (event.target.closest(".pick")) update();
  });
  one("[data-clear]", bar).addEventListener("click", () => {
    const first = chosen()[0];
    clear();
    if (first) one(".pick input", first).focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !bar.hidden && !one("dialog[open]") && !event.target.matches(".name")) clear();
  });
  return { chosen, clear, update };
}

function complain(field, text) {
  field.nextElementSibling?.matches(".field-error") && field.nextElementSibling.remove();
  field.toggleAttribute("aria-invalid", Boolean(text));
  if (text) field.after(make("span", { class: "field-error", role: "alert" }, text));
}

/** When somebody is called so already, both may be one: offer to say so. */
async function offerMerge(field, personId, name) {
  const same = (other) => other.person_id !== personId
    && other.name.toLocaleLowerCase() === name.toLocaleLowerCase();
  const other = (await everybody("&named=true&ignored=true").catch(() => [])).find(same);
  if (!other) return;
  complain(field, `Somebody else is called ${other.name}.`);
  const button = make("button", { type: "button" }, "They are one person");
  button.addEventListener("click", async () => {
    try {
      const known = await call("POST", "/v1/people/merge", { people: [other.person_id, personId] });
      sessionStorage.setItem("said", `Merged: ${known.name} now has ${faces(known.faces)}.`);
      if (location.pathname === "/people") location.reload();
      else location.assign(`/people/${known.person_id}`);
    } catch (error) {
      complain(field, error.message);
    }
  });
  field.nextElementSibling.append(" ", button);
}

async function rename(field, personId) {
  const name = field.value.trim();
  const before = field.defaultValue;
  if (name === before) return complain(field, "");
  field.readOnly = true;
  try {
    await call("PATCH", `/v1/people/${personId}`, { name: name || null });
    field.value = name;
    field.defaultValue = name;
    complain(field, "");
    field.dispatchEvent(new CustomEvent("renamed", { bubbles: true, detail: name }));
    toast(name ? `Named ${name}.` : "The name was taken away.", undo);
  } catch (error) {
    complain(field, error.message);
    await offerMerge(field, personId, name);
  } finally {
    field.readOnly = false;
  }
  return undefined;
}

/** Let names be written where they stand: Enter keeps, Escape leaves it as it was. */
export function watchNames(root, personOf) {
  root.addEventListener("keydown", (event) => {
    const field = event.target;
    if (!field.matches(".name")) return;
    if (event.key === "Enter") {
      event.preventDefault();
      rename(field, personOf(field));
    } else if (event.key === "Escape") {
      field.value = field.defaultValue;
      complain(field, "");
    }
  });
  root.addEventListener("focusout", (event) => {
    if (event.target.matches(".name")) rename(event.target, personOf(event.target));
  });
}
