// Choosing a picture: by the file dialog, by dropping it, or from the clipboard.

import { all, one } from "./dom.js";

function put(field, file) {
  const files = new DataTransfer();
  files.items.add(file);
  field.files = files.files;
  field.dispatchEvent(new Event("change", { bubbles: true }));
}

const hasFile = (event) => [...(event.dataTransfer?.types || [])].includes("Files");

/** Make every place for a picture below `form` take dropped and pasted ones, too. */
export function takePictures(form) {
  const places = all("[data-drop]", form);
  for (const place of places) {
    const field = one("input[type=file]", place);
    place.addEventListener("dragover", (event) => {
      if (!hasFile(event)) return;
      event.preventDefault();
      place.classList.add("over");
    });
    place.addEventListener("dragleave", () => place.classList.remove("over"));
    place.addEventListener("drop", (event) => {
      if (!hasFile(event)) return;
      event.preventDefault();
      place.classList.remove("over");
      if (event.dataTransfer.files.length) put(field, event.dataTransfer.files[0]);
    });
    field.addEventListener("change", () => {
      if (field.files.length) one("[data-chosen]", place).textContent = field.files[0].name;
    });
  }
  // A picture that misses its place must not make the browser leave the page.
  for (const kind of ["dragover", "drop"]) {
    document.addEventListener(kind, (event) => {
      if (hasFile(event)) event.preventDefault();
    });
  }
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files || [])].find((item) => item.type.startsWith("image/"));
    if (!file) return;
    const free = places.find((place) => !one("input[type=file]", place).files.length) || places[0];
    put(one("input[type=file]", free), file);
  });
}
