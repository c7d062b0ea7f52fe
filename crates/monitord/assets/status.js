// Keeps the page up to date. Without it the page is complete and only stands still.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const clock = byId("clock");
  const skew = Number(clock.dataset.now) - Date.now();
  const now = () => Date.now() + skew;
  let known = document.body.dataset.known;

  // Replaces the parts that changed and nothing else: what is open stays open.
  const patch = (root) => {
    for (const fresh of root.querySelectorAll("[data-part]")) {
      const old = byId(fresh.id);
      if (!old || old.source === fresh.innerHTML) continue;
      const focused = old.contains(document.activeElement) && document.activeElement.dataset.action;
      old.source = fresh.innerHTML;
      old.replaceChildren(...fresh.cloneNode(true).childNodes);
      old.className = fresh.className;
      if (focused) (old.querySelector(`[data-action="${focused}"]`) ?? old.querySelector("button:nth-child(2)")).focus();
    }
    document.title = `${byId("headline").querySelector("h1").textContent} · ${document.body.dataset.title}`;
    tick();
  };

  // As the server writes it.
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const brief = (seconds) => {
    const at = units.findIndex(([, size]) => seconds >= size);
    const [unit, size] = units[at];
    const [small, part] = units[at + 1] ?? ["", Infinity];
    const rest = Math.floor((seconds % size) / part);
    return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${small}` : ""}`;
  };

  const tick = () => {
    const offset = Number(clock.dataset.offset) * 1000;
    clock.textContent = new Date(now() + offset).toISOString().slice(11, 19);
    for (const time of document.querySelectorAll("time[data-until]")) {
      const seconds = Math.round((Number(time.dataset.until) - now()) / 1000);
      time.textContent = seconds > 0 ? `in ${brief(seconds)}` : "now";
    }
  };

  // The whole page anew: after a gap in the stream, and while there is no stream.
  const refresh = async () => {
    const answer = await fetch("/", { cache: "no-store" });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const ids = (root) => [...root.querySelectorAll("[data-id]")].map((row) => row.dataset.id).join();
    if (ids(page) !== ids(document)) {
      for (const open of document.querySelectorAll("details[open]")) {
        const row = page.getElementById(open.id);
        if (row) row.open = true;
      }
      document.querySelector("main").replaceWith(page.querySelector("main"));
    }
    known = page.body.dataset.known;
    patch(page);
  };

  const live = (state, text) => {
    byId("live").className = `live ${state}`;
    byId("liveness").textContent = text;
  };

  const connect = () => {
    const source = new EventSource(`/events?after=${known}`);
    source.onopen = () => live("on", "live ·");
    source.addEventListener("update", (event) => {
      const parts = document.createElement("template");
      parts.innerHTML = JSON.parse(event.data).html;
      patch(parts.content);
    });
    source.addEventListener("resync", () => refresh().catch(() => {}));
    source.onerror = () => {
      live("off", "reconnecting ·");
      if (source.readyState !== EventSource.CLOSED) return;
      setTimeout(() => refresh().catch(() => {}).finally(connect), 5000);
    };
  };

  const act = async (button) => {
    const row = button.closest("[data-id]");
    const path = `/api/admin/probes/${row.dataset.id}/${button.dataset.action}`;
    const headers = { "content-type": "application/json" };
    const answer = await fetch(path, { method: "POST", headers, body: "{}" });
    const { detail } = await answer.json();
    byId("notice").textContent = `${row.dataset.name}: ${detail}`;
  };

  document.documentElement.classList.add("scripted");
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-action]");
    if (button) act(button).catch(() => { byId("notice").textContent = "The server cannot be reached."; });
  });
  setInterval(tick, 1000);
  connect();
})();
