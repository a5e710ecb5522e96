// The page of the index: numbers follow while something is written; the check is made when asked.

import { busy, call, one, page, replaceWithin, tell } from "./dom.js";

const check = one("#check");

check?.addEventListener("click", async (event) => {
  if (!event.target.closest("a.button")) return;
  event.preventDefault();
  busy(check, "Comparing faces of strangers …");
  try {
    replaceWithin("check", await page(check.dataset.address));
  } catch (error) {
    tell(check, error);
  }
});

async function follow() {
  try {
    const { writer_active: active } = await call("GET", "/v1/status");
    const shown = !one("#writer").hidden;
    one("#writer").hidden = !active;
    if (active || shown) replaceWithin("numbers", await page("/index"));
  } catch {
    // The next look will tell.
  }
  setTimeout(follow, document.hidden ? 10000 : 3000);
}

setTimeout(follow, 3000);
