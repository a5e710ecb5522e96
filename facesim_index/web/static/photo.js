// The page of one photo: a face in the list and its box in the picture belong together.

import { all } from "./dom.js";

function mark(face, on) {
  for (const element of all(`[data-face="${face}"]`)) element.classList.toggle("chosen", on);
}

for (const element of all("[data-face]")) {
  const { face } = element.dataset;
  for (const kind of ["pointerenter", "focusin"]) element.addEventListener(kind, () => mark(face, true));
  for (const kind of ["pointerleave", "focusout"]) element.addEventListener(kind, () => mark(face, false));
}

const named = location.hash.match(/^#face-(\d+)$/);
if (named) mark(named[1], true);
