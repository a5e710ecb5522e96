// The queue of questions: one at a time, answered by a button or a key.

import { all, call, mayEdit, one, page, replaceWithin, tell, toast, tookBack } from "./dom.js";

let questions = [];
let at = 0;
let busy = false;
const answered = [];

// People who went into others in this queue; an undo forgets it.
const became = new Map();
const today = (person) => (became.has(person) ? today(became.get(person)) : person);

function show(place, focus = true) {
  at = Math.max(0, Math.min(place, questions.length));
  questions.forEach((question, number) => (question.hidden = number !== at));
  one("#problem").hidden = true;
  one("#done").hidden = at < questions.length;
  one("#place").textContent = at < questions.length
    ? `Question ${at + 1} of ${questions.length}` : `${questions.length} of ${questions.length} seen`;
  if (focus) (at < questions.length ? one("h2", questions[at]) : one("#done")).focus();
}

const number = (text) => (text ? Number(text) : null);

/** What an answer asks of the API; null when there is nothing to keep. */
function change(question, yes) {
  const a = today(number(question.dataset.a));
  const b = today(number(question.dataset.b));
  const face = number(question.dataset.face);
  const first = number(question.dataset.firstFace);
  if (question.dataset.kind === "face") {
    return yes ? ["/v1/people/confirm", { faces: [face] }] : [`/v1/people/${a}/split`, { faces: [face] }];
  }
  if (first !== null) return yes ? ["/v1/people/move", { faces: [first, face], person_id: null }] : null;
  if (b !== null && a === b) return null; // an earlier answer made them one
  if (b !== null) return yes ? ["/v1/people/merge", { people: [a, b] }] : ["/v1/people/apart", { one: a, other: b }];
  return yes ? ["/v1/people/move", { faces: [face], person_id: a }] : null;
}

async function answer(question, what) {
  const asked = what === "skip" ? null : change(question, what === "yes");
  if (asked) {
    busy = true;
    try {
      await call("POST", ...asked);
      const gone = asked[0].endsWith("/merge") ? asked[1].people[1] : null;
      if (gone !== null) became.set(gone, asked[1].people[0]);
      answered.push({ at, gone });
      toast(what === "yes" ? "Yes, noted." : "No, noted.", takeBack);
    } catch (error) {
      const box = one("#problem");
      box.textContent = error.message;
      box.hidden = false;
      return;
    } finally {
      busy = false;
    }
  } else if (what === "no") {
    toast("Left as it is.");
  }
  show(at + 1);
}

async function takeBack() {
  try {
    const { action } = await call("POST", "/v1/people/undo");
    toast(tookBack(action));
    const { at: place, gone } = answered.pop() ?? { at, gone: null };
    became.delete(gone);
    show(place);
  } catch (error) {
    toast(error.message);
  }
}

function typed(event) {
  if (busy || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select")) return;
  const question = questions[at];
  const key = event.key.toLowerCase();
  if (key === "arrowright" && question) show(at + 1);
  else if (key === "arrowleft") show(at - 1);
  else if (mayEdit() && question && (key === "y" || key === "n")) answer(question, key === "y" ? "yes" : "no");
  else if (mayEdit() && key === "u") takeBack();
  else return;
  event.preventDefault();
}

function begin() {
  questions = all(".question");
  if (!questions.length) return;
  for (const question of questions) {
    question.addEventListener("click", (event) => {
      const button = event.target.closest("[data-answer]");
      if (button && !busy) answer(question, button.dataset.answer);
    });
  }
  document.addEventListener("keydown", typed);
  show(0, false);
}

const queue = one("#queue");
if (one(".busy", queue)) {
  try {
    replaceWithin("queue", await page(queue.dataset.address));
  } catch (error) {
    tell(queue, error);
  }
}
begin();
