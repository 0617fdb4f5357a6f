// The script of the console: live updates, keys, copying, dialogs in place, the running count of a selection.
// Every page works without it.
"use strict";

(() => {
  const body = document.body;
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);

  // ---------- live ----------

  const isHeld = (element) =>
    element.hasAttribute("data-list") && (element.matches(":hover, :focus-within") || one("dialog[open]") !== null)
    || element.hasAttribute("data-list") && one("tbody :checked", element) !== null
    || element.contains(document.activeElement) && document.activeElement.matches("input, textarea, select")
    || one("details[data-touched]", element) !== null
    || holdsSelection(element);

  function holdsSelection(element) {
    const selection = document.getSelection();
    return selection !== null && !selection.isCollapsed && element.contains(selection.anchorNode);
  }

  function replaceText(old, fresh) {
    if (old.innerHTML === fresh.innerHTML) return;
    const numbers = new Map(all("[data-number]", old).map((number) => [number.dataset.number, number.textContent]));
    old.replaceChildren(...fresh.childNodes);
    for (const number of all("[data-number]", old)) {
      const before = numbers.get(number.dataset.number);
      if (before !== undefined && before !== number.textContent) number.classList.add("changed");
    }
  }

  function takeIcons(page) {
    const sprite = one(".sprite");
    for (const symbol of all(".sprite symbol", page)) {
      if (!document.getElementById(symbol.id)) sprite.append(document.importNode(symbol, true));
    }
  }

  let isLoading = false;
  let isDue = false;

  async function refresh() {
    if (isLoading) { isDue = true; return; }
    isLoading = true;
    try {
      const address = new URL(location.href);
      const held = all("[data-live][data-list]").find(isHeld);
      if (held && held.dataset.at) address.searchParams.set("at", held.dataset.at);
      const answer = await fetch(address, { headers: { "Trellis-Live": "1" }, credentials: "same-origin" });
      if (!answer.ok || answer.redirected) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      takeIcons(page);
      for (const element of all("[data-live]")) {
        const fresh = page.getElementById(element.id);
        if (fresh && !isHeld(element)) {
          replaceText(element, fresh);
          if (fresh.dataset.at) element.dataset.at = fresh.dataset.at;
        }
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;  // the network: the stream of events says so
    } finally {
      isLoading = false;
      if (isDue) { isDue = false; setTimeout(refresh, 1000); }
    }
  }

  const mark = document.getElementById("live");
  const isLivePage = !body.hasAttribute("data-no-refresh");
  const silentAfter = 25_000;  // milliseconds; the console sends at least every 13 seconds
  const noteAfter = 8_000;
  const reconnectAfter = 5_000;
  let source = null;
  let heardAt = Date.now();
  let offSince = null;

  const describeAge = (milliseconds) => {
    const seconds = Math.round(milliseconds / 1000);
    return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} m ${String(seconds % 60).padStart(2, "0")} s`;
  };

  function showLive(words, sequence, isLate) {
    mark.classList.remove("is-off");
    mark.classList.toggle("is-late", isLate);
    one("use", mark).setAttribute("href", isLate ? "#i-late" : "#i-live");
    if (one("[role=status]", mark).textContent !== words) one("[role=status]", mark).textContent = words;
    one(".lag", mark).textContent = `sequence ${sequence}`;
    for (const numbers of all(".stats")) numbers.classList.remove("dims");
    offSince = null;
    const note = document.getElementById("off");
    if (note) note.remove();
  }

  function showOff() {
    if (offSince !== null) return;
    offSince = Date.now();
    const since = new Date().toISOString().slice(11, 19);
    mark.classList.remove("is-late");
    mark.classList.add("is-off");
    one("use", mark).setAttribute("href", "#i-off");
    one("[role=status]", mark).textContent = `Not live since ${since}`;
    for (const numbers of all(".stats")) numbers.classList.add("dims");
  }

  // A short interruption moves nothing on the page: only the mark says so.
  function noteOff() {
    if (!document.getElementById("off")) {
      document.getElementById("notices").before(document.getElementById("live-off").content.cloneNode(true));
    }
    one("#off [data-age]").textContent = describeAge(Date.now() - heardAt);
  }

  function connect() {
    if (source || !body.dataset.liveUrl) return;
    source = new EventSource(body.dataset.liveUrl);
    source.addEventListener("moved", (event) => {
      const { sequence, behind, changed } = JSON.parse(event.data);
      heardAt = Date.now();
      const wasOff = offSince !== null;
      showLive(behind || "Live", sequence, Boolean(behind));
      if ((changed || wasOff) && isLivePage) refresh();
    });
    source.addEventListener("error", () => {
      showOff();
      if (source && source.readyState === EventSource.CLOSED) {  // an answer that is no stream ends it for good
        disconnect();
        setTimeout(() => { if (!document.hidden) connect(); }, reconnectAfter);
      }
    });
  }

  setInterval(() => {
    if (source && Date.now() - heardAt > silentAfter) showOff();
    if (offSince !== null && Date.now() - offSince > noteAfter) noteOff();
  }, 5_000);

  function disconnect() {
    if (source) source.close();
    source = null;
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { disconnect(); } else { if (offSince === null) heardAt = Date.now(); connect(); if (isLivePage) refresh(); }
  });
  addEventListener("pagehide", disconnect);
  addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
  document.addEventListener("toggle", (event) => { event.target.dataset.touched = ""; }, true);
  for (const details of all("details[open]")) queueMicrotask(() => delete details.dataset.touched);
  if (!document.hidden) connect();

  // ---------- copying ----------

  function copy(button) {
    navigator.clipboard.writeText(button.dataset.copy).then(() => {
      const word = one("[data-word]", button) || button;
      const before = word.textContent;
      word.textContent = "Copied";
      setTimeout(() => { word.textContent = before; }, 1500);
    });
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) { event.preventDefault(); copy(button); }
  });
  for (const button of all("[data-copy][hidden]")) button.hidden = false;

  // ---------- dialogs in place ----------

  async function ask(address) {
    const answer = await fetch(address, { credentials: "same-origin" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const question = one("[data-question]", page);
    if (!question) { location.href = answer.url; return; }
    takeIcons(page);
    const dialog = document.createElement("dialog");
    dialog.className = question.dataset.question || "dlg";
    dialog.setAttribute("aria-labelledby", "dlg-title");
    dialog.append(...question.childNodes);
    for (const button of all("[data-back][hidden]", dialog)) button.hidden = false;
    body.append(dialog);
    dialog.addEventListener("close", () => dialog.remove());
    dialog.addEventListener("click", (event) => {
      if (event.target.closest("[data-back]")) { event.preventDefault(); dialog.close(); }
    });
    guardCount(dialog);
    dialog.showModal();
    const field = one("[autofocus]", dialog);
    if (field) field.focus();
  }

  function guardCount(root) {
    const field = one("[data-count]", root);
    if (!field) return;
    const button = one("button.primary", root);
    const check = () => {
      const isRight = field.value.replaceAll(",", "").trim() === field.dataset.count;
      button.setAttribute("aria-disabled", String(!isRight));
    };
    field.addEventListener("input", check);
    field.form.addEventListener("submit", (event) => {
      if (button.getAttribute("aria-disabled") === "true") { event.preventDefault(); field.focus(); }
    });
    check();
  }
  guardCount(document);

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-ask], a[data-show]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    ask(link.href);
  });
  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!button || !button.hasAttribute("data-ask")) return;
    event.preventDefault();
    const fields = new URLSearchParams(new FormData(event.target, button));
    const address = new URL(event.target.getAttribute("action"), location.href);  // a button is called "action" too
    address.search = fields;
    ask(address);
  });

  // ---------- selection ----------

  function countSelected() {
    const bar = one("[data-selected]");
    if (!bar) return;
    const count = all("tbody input[name=id]:checked").length;
    bar.textContent = `${count} ${count === 1 ? "job" : "jobs"} selected`;
  }
  document.addEventListener("change", (event) => {
    const box = event.target;
    if (box.matches("thead input[type=checkbox]")) {
      for (const row of all("tbody input[name=id]", box.closest("table"))) row.checked = box.checked;
    }
    for (const row of all("tbody input[name=id]")) row.closest("tr").classList.toggle("selected", row.checked);
    countSelected();
  });
  countSelected();

  // ---------- keys ----------

  const pages = { o: "overview", j: "jobs", d: "dead", b: "bulk", w: "workers", a: "audit" };
  let isGoing = false;
  const rows = () => all("[data-rows] tbody tr:not(.group)").filter((row) => one("a", row));

  function move(step) {
    const list = rows();
    const at = list.findIndex((row) => row.contains(document.activeElement));
    const next = list[Math.min(Math.max(at + step, 0), list.length - 1)];
    if (next) { one("a", next).focus(); next.scrollIntoView({ block: "nearest" }); }
  }

  // What a row offers is meant only while the row has the focus, unless there is one such row.
  function press(name, row) {
    const found = all(`[aria-keyshortcuts="${name}"]`).filter((element) => element.checkVisibility());
    const target = found.find((element) => row && row.contains(element))
      || found.find((element) => !element.closest("[data-rows] tbody"))
      || (found.length === 1 ? found[0] : null);
    if (!target) return false;
    if (target.matches("input")) { target.focus(); target.select(); } else { target.click(); }
    return true;
  }

  document.addEventListener("keydown", (event) => {
    if (body.dataset.shortcuts === "off" || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target.closest("input:not([type=checkbox], [type=radio]), textarea, select, dialog")) return;
    const row = event.target.closest("[data-rows] tbody tr");
    let isDone = true;
    if (isGoing) {
      isGoing = false;
      isDone = event.key in pages && press(`g ${event.key}`);
    } else if (event.key === "g") {
      isGoing = true;
      setTimeout(() => { isGoing = false; }, 1500);
    } else if (event.key === "j" || event.key === "k") {
      move(event.key === "j" ? 1 : -1);
    } else if (event.key === " " && row && one("input[name=id]", row)) {
      one("input[name=id]", row).click();
    } else if (event.key === "A") {
      isDone = press("Shift+A");
    } else if (event.key === "Escape") {
      isDone = press("Escape");
    } else {
      isDone = "/?nrcxepysutz".includes(event.key) && event.key.length === 1 && press(event.key, row);
    }
    if (isDone) event.preventDefault();
  });
})();
