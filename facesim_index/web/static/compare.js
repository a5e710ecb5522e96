// The page of comparisons: compares as soon as there are two pictures, or another face is chosen.

import { busy, one, page, replaceWithin, tell } from "./dom.js";
import { takePictures } from "./upload.js";

const form = one("#compare");
const answer = one("#answer");
let asked;

async function compare() {
  if (!form.elements.a.files.length || !form.elements.b.files.length) return;
  asked?.abort();
  const mine = new AbortController();
  asked = mine;
  const body = new FormData(form);
  busy(answer, "Looking for faces and comparing them …");
  try {
    const fresh = await page("/compare", { method: "POST", body, signal: mine.signal });
    replaceWithin("answer", fresh);
  } catch (error) {
    if (error.name !== "AbortError") tell(answer, error);
  }
}

takePictures(form);
form.addEventListener("change", async (event) => {
  const { type, name, value } = event.target;
  // Another picture has other faces: the choice for it goes before the form is read.
  if (type === "file") for (const field of form.querySelectorAll(`[name=face_${name}]`)) field.remove();
  await compare();
  if (type === "radio") one(`[name=${name}][value="${value}"]`)?.focus();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  compare();
});
answer.addEventListener("click", (event) => {
  const box = event.target.closest("[data-face]");
  if (!box) return;
  const field = one(`[name=face_${box.closest("[data-side]").dataset.side}][value="${box.dataset.face}"]`);
  if (field && !field.checked) field.click();
});
