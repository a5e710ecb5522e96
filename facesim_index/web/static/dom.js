// What the pages share: asking the server, telling errors where they happen, swapping parts.

export const one = (selector, root = document) => root.querySelector(selector);
export const all = (selector, root = document) => [...root.querySelectorAll(selector)];
export const mayEdit = () => document.body.dataset.edit === "yes";

/** An error the server told (problem+json), or that it could not be reached. */
export class Problem extends Error {
  constructor(message, code = "") {
    super(message);
    this.code = code;
  }
}

async function ask(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("facesim does not answer. Is it still running?");
  }
  if (response.redirected && new URL(response.url).pathname === "/login") {
    location.assign(response.url);
  }
  return response;
}

async function problemOf(response) {
  if ((response.headers.get("content-type") || "").includes("json")) {
    const document = await response.json();
    if (typeof document.detail === "string") return new Problem(document.detail, document.code);
    if (document.title) return new Problem(document.title, document.code);
  }
  return new Problem(`The server answered ${response.status}.`);
}

/** Call the API; return its document, or throw a Problem. */
export async function call(method, address, body) {
  const options = { method, headers: { Accept: "application/json" } };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const response = await ask(address, options);
  if (!response.ok) throw await problemOf(response);
  return response.status === 204 ? null : response.json();
}

/** Fetch another version of a page; return it as a document. */
export async function page(address, options = {}) {
  const response = await ask(address, { ...options, headers: { Accept: "text/html" } });
  const type = response.headers.get("content-type") || "";
  if (!type.includes("text/html")) throw await problemOf(response);
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

/** Put the children that an element has in another version of the page in its place here. */
export function replaceWithin(id, other) {
  const fresh = other.getElementById(id);
  const here = document.getElementById(id);
  const told = one(".error", other);
  if (!fresh && told) throw new Problem(told.textContent);
  if (!fresh || !here) throw new Problem("The server answered with something else.");
  here.replaceChildren(...fresh.childNodes);
  watchImages(here);
  return here;
}

/** Show an error inside an element, in place of what is there. */
export function tell(element, error) {
  element.replaceChildren(make("p", { class: "error", role: "alert" }, error.message));
}

/** Show that something is being done. */
export function busy(element, text) {
  element.replaceChildren(make("p", { class: "busy", role: "status" }, text));
}

/** Make an element; text is text, never markup. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

let fading;

/** Say what happened, with a button that takes it back. */
export function toast(text, undo) {
  const box = one("#toast");
  clearTimeout(fading);
  box.replaceChildren(make("span", {}, text));
  if (undo) {
    const button = make("button", { type: "button" }, "Undo");
    button.addEventListener("click", undo);
    box.append(button);
  }
  box.hidden = false;
  fading = setTimeout(() => (box.hidden = true), undo ? 12000 : 6000);
}

/** Say what an undo took back. */
export const tookBack = (action) => (action === null ? "There is nothing to undo." : `Took back: ${action}.`);

/** Take the newest change back; the page is loaded anew, as much may be different. */
export async function undo() {
  try {
    const { action } = await call("POST", "/v1/people/undo");
    sessionStorage.setItem("said", tookBack(action));
    location.reload();
  } catch (error) {
    toast(error.message);
  }
}

/** Show a neutral figure where a picture cannot be had any more. */
export function watchImages(root) {
  for (const image of all("img", root)) {
    if (image.complete && image.src && image.naturalWidth === 0) gone(image);
  }
}

export function gone(image) {
  if (image.classList.contains("gone")) return;
  image.classList.add("gone");
  image.title = "This picture cannot be read any more.";
  image.src = "/static/gone.svg";
}

export const faces = (number) => `${number.toLocaleString("en")} ${number === 1 ? "face" : "faces"}`;
export const photos = (number) => `${number.toLocaleString("en")} ${number === 1 ? "photo" : "photos"}`;

/** Return the people there are, those with a name first; `asked` may ask for some of them only. */
export async function everybody(asked) {
  const found = [];
  let cursor = "";
  do {
    const part = await call("GET", `/v1/people?limit=500${asked}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
    found.push(...part.people);
    cursor = part.next || "";
  } while (cursor && found.length < 5000);
  return found.sort((a, b) => (a.name === null) - (b.name === null));
}
