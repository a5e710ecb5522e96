// On every page: missing pictures, lists that grow as one scrolls, undo, grouping.

import { all, busy, call, gone, make, one, page, tell, toast, undo, watchImages } from "./dom.js";

document.documentElement.classList.add("scripted");
document.addEventListener("error", (event) => {
  if (event.target instanceof HTMLImageElement) gone(event.target);
}, true);
watchImages(document);

const said = sessionStorage.getItem("said");
if (said) {
  sessionStorage.removeItem("said");
  toast(said);
}

async function grow(link) {
  if (link.dataset.loading) return;
  link.dataset.loading = "yes";
  const words = link.textContent;
  link.textContent = "Loading …";
  try {
    const next = await page(link.href);
    const added = [...one("[data-list]", next).children];
    one("[data-list]").append(...added);
    const further = one("[data-more]", next);
    if (further) link.href = further.href;
    else link.parentElement.remove();
    link.textContent = words;
    delete link.dataset.loading;
    if (further) watch(link);
  } catch (error) {
    link.textContent = words;
    delete link.dataset.loading;
    toast(error.message);
  }
}

// Observing anew tells at once whether the link is still near: a tall screen needs several pages.
const nearing = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) grow(entry.target);
}, { rootMargin: "1200px" });

function watch(link) {
  nearing.unobserve(link);
  nearing.observe(link);
}

for (const link of all("[data-more]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    grow(link);
  });
  watch(link);
}

for (const button of all("[data-undo]")) button.addEventListener("click", undo);

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

async function follow(job, id) {
  const bar = make("progress", { "aria-label": "Grouping faces", max: "1" });
  const words = make("p", { class: "faded", role: "status" }, "Grouping faces …");
  job.replaceChildren(words, bar);
  for (;;) {
    const { state, stage, done, total, result, problem } = await call("GET", `/v1/jobs/${id}`);
    if (state === "done") return result;
    if (state === "failed") throw new Error(problem?.detail || "Grouping did not finish.");
    if (total) bar.value = done / total;
    words.textContent = `Grouping faces${stage ? `: ${stage}` : ""} …`;
    await wait(400);
  }
}

async function cluster(button) {
  const job = one("#job");
  const buttons = all("[data-cluster]");
  for (const other of buttons) other.disabled = true;
  busy(job, "Grouping faces …");
  try {
    const { job_id: id } = await call("POST", "/v1/people/cluster", { full: button.dataset.cluster === "full" });
    const result = await follow(job, id);
    sessionStorage.setItem("said", `${result.people} people, ${result.people_new} of them new.`);
    location.reload();
  } catch (error) {
    tell(job, error);
    for (const other of buttons) other.disabled = false;
  }
}

for (const button of all("[data-cluster]")) button.addEventListener("click", () => cluster(button));
