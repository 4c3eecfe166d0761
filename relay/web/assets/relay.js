/* What pages do beyond reading. Without it everything can be read, and every form works. */
"use strict";

(() => {
  // The zone of the browser, for readers who have none from Salesforce.
  const base = document.documentElement.dataset.base || "";
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `relay_zone=${zone}; Path=${base || "/"}; Max-Age=31536000; SameSite=Lax${secure}`;

  // Buttons that only work here stay hidden without it.
  const arm = (root) => {
    for (const button of root.querySelectorAll("[data-copy][hidden], [data-scripted][hidden]")) {
      button.hidden = false;
    }
  };

  document.addEventListener("click", async (event) => {
    const copy = event.target.closest("[data-copy]");
    if (!copy) return;
    const text = copy.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // No clipboard without TLS: select it, and let the older command copy it.
      const code = copy.parentElement.querySelector("code");
      if (code) getSelection().selectAllChildren(code);
      document.execCommand("copy");
    }
    const label = copy.querySelector("span");
    if (!label) return;
    const before = label.textContent;
    label.textContent = copy.dataset.done;
    setTimeout(() => { label.textContent = before; }, 2000);
  });

  // A form with data-confirm asks first; the server asks again where it matters.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    const text = form.dataset ? form.dataset.confirm : "";
    const dialog = document.getElementById("confirm");
    if (!text || !dialog || form.dataset.confirmed) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const button = event.submitter;
    document.getElementById("confirm-text").textContent = text;
    dialog.returnValue = "";
    dialog.showModal();
    dialog.addEventListener("close", () => {
      if (dialog.returnValue !== "yes") return;
      form.dataset.confirmed = "yes";
      form.requestSubmit(button || undefined);
      delete form.dataset.confirmed;
    }, { once: true });
  }, true);

  // Control or Command with one letter leads to the search: a letter alone would take
  // what is dictated (WCAG 2.1.4).
  document.addEventListener("keydown", (event) => {
    const field = document.querySelector("[data-shortcut]");
    if (!field || event.altKey || event.shiftKey || !(event.ctrlKey || event.metaKey)) return;
    if (event.key.toLowerCase() !== field.dataset.shortcut) return;
    event.preventDefault();
    field.focus();
    field.select();
  });

  // A menu that is open closes when the focus or a click goes elsewhere.
  const close = (event) => {
    for (const open of document.querySelectorAll("details.me[open], details.pop[open]")) {
      if (!open.contains(event.target)) open.open = false;
    }
  };
  document.addEventListener("click", close);
  document.addEventListener("focusin", close);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const open of document.querySelectorAll("details.me[open], details.pop[open]")) {
      open.open = false;
      open.querySelector("summary").focus();
    }
  });

  // Fields with data-submit send their form when they change.
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
  });

  // The live view of the mail log: rows come by themselves, and wait while one is read.
  const live = (bar) => {
    const list = bar.parentElement.querySelector("tbody");
    const text = bar.querySelector(".text");
    const toggle = bar.querySelector("[data-toggle]");
    if (!list || !toggle) return;
    let source = null;
    let waiting = [];
    let touched = false;
    let last = "";
    let paused = false;
    const reads = () => touched || list.contains(document.activeElement);
    const say = () => {
      const rests = source && reads();
      bar.classList.toggle("rests", Boolean(rests));
      bar.classList.toggle("on", Boolean(source));
      const words = source ? (rests ? bar.dataset.rests : bar.dataset.follows) : bar.dataset.off;
      const next = waiting.length ? `${words} · ${waiting.length} ${bar.dataset.new}` : words;
      if (text.textContent !== next) text.textContent = next;
      toggle.setAttribute("aria-pressed", String(Boolean(source)));
    };
    const put = (html) => {
      const made = document.createElement("template");
      made.innerHTML = `<table><tbody>${html}</tbody></table>`;
      const row = made.content.querySelector("tr");
      if (!row) return;
      const old = document.getElementById(row.id);
      row.classList.add("fresh");
      if (old) old.replaceWith(row);
      else list.prepend(row);
      const empty = bar.parentElement.querySelector(".empty");
      if (empty) empty.remove();
      list.closest("table").hidden = false;
      while (list.rows.length > 500) list.rows[list.rows.length - 1].remove();
    };
    const show = () => {
      if (!reads()) {
        for (const html of waiting) put(html);
        waiting = [];
      }
      say();
    };
    const take = (event) => {
      last = event.lastEventId || last;
      waiting.push(event.data);
      if (waiting.length > 2000) waiting.shift();
      show();
    };
    const start = () => {
      const url = new URL(bar.dataset.live, location.href);
      if (last) url.searchParams.set("after", last);
      source = new EventSource(url);
      source.addEventListener("new", take);
      source.addEventListener("changed", take);
      source.addEventListener("lost", () => location.reload());
      source.addEventListener("error", () => {
        if (source && source.readyState === EventSource.CLOSED) { source = null; say(); }
      });
      show();
    };
    const stop = () => { if (source) source.close(); source = null; say(); };
    toggle.addEventListener("click", () => (source ? stop() : start()));
    list.addEventListener("focusin", say);
    list.addEventListener("focusout", () => setTimeout(show));
    list.addEventListener("mouseenter", () => { touched = true; say(); });
    list.addEventListener("mouseleave", () => { touched = false; show(); });
    addEventListener("pagehide", stop);
    // A tab that nobody sees takes no connection: a browser has six for a host.
    document.addEventListener("visibilitychange", () => {
      if (document.hidden && source) { paused = true; stop(); }
      else if (!document.hidden && paused) { paused = false; start(); }
    });
    if ("auto" in bar.dataset) start();
  };

  // A filter is completed as it is typed (ARIA: combobox with a list of options).
  const suggest = (input) => {
    const box = document.createElement("div");
    box.className = "combo";
    input.replaceWith(box);
    const list = document.createElement("ul");
    list.className = "options";
    list.id = `${input.id}-options`;
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", input.getAttribute("aria-label") || input.placeholder);
    list.hidden = true;
    box.append(input, list);
    input.setAttribute("role", "combobox");
    input.setAttribute("aria-autocomplete", "list");
    input.setAttribute("aria-expanded", "false");
    input.setAttribute("aria-controls", list.id);
    let at = -1;
    let asked = 0;
    const close = () => {
      list.hidden = true;
      at = -1;
      input.setAttribute("aria-expanded", "false");
      input.removeAttribute("aria-activedescendant");
    };
    const take = (text) => {
      const end = input.selectionStart;
      const before = input.value.slice(0, end).replace(/\S*$/, "");
      const space = text.endsWith(":") ? "" : " ";
      const after = input.value.slice(end).replace(/^\S*\s?/, "");
      input.value = before + text + space + after;
      const place = (before + text + space).length;
      input.setSelectionRange(place, place);
      close();
      if (!space) look();
    };
    const mark = (next) => {
      const all = [...list.children];
      at = (next + all.length) % all.length;
      all.forEach((one, index) => one.setAttribute("aria-selected", String(index === at)));
      input.setAttribute("aria-activedescendant", all[at].id);
      all[at].scrollIntoView({ block: "nearest" });
    };
    const look = async () => {
      const number = ++asked;
      const text = input.value.slice(0, input.selectionStart);
      const url = `${input.dataset.suggest}?${new URLSearchParams({ q: text })}`;
      let found = [];
      try {
        const answer = await fetch(url, { headers: { Accept: "application/json" } });
        if (answer.ok) found = await answer.json();
      } catch { /* without an answer nothing is proposed */ }
      if (number !== asked || document.activeElement !== input) return;
      list.replaceChildren(...found.map((one, index) => {
        const item = document.createElement("li");
        item.id = `${list.id}-${index}`;
        item.setAttribute("role", "option");
        item.setAttribute("aria-selected", "false");
        item.textContent = one;
        item.addEventListener("mousedown", (event) => { event.preventDefault(); take(one); });
        return item;
      }));
      at = -1;
      list.hidden = !found.length;
      input.setAttribute("aria-expanded", String(Boolean(found.length)));
    };
    let later = 0;
    input.addEventListener("input", () => { clearTimeout(later); later = setTimeout(look, 120); });
    input.addEventListener("blur", close);
    input.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown" && list.hidden) { event.preventDefault(); look(); return; }
      if (list.hidden) return;
      if (event.key === "ArrowDown") { event.preventDefault(); mark(at + 1); }
      else if (event.key === "ArrowUp") { event.preventDefault(); mark(at < 0 ? -1 : at - 1); }
      else if ((event.key === "Enter" || event.key === "Tab") && at >= 0) {
        event.preventDefault();
        take(list.children[at].textContent);
      } else if (event.key === "Escape") { event.preventDefault(); close(); }
    });
  };
  for (const bar of document.querySelectorAll("[data-live]")) live(bar);
  for (const input of document.querySelectorAll("[data-suggest]")) suggest(input);

  // A table that can be moved sideways is moved by keys; one that cannot is no stop.
  const stops = () => {
    for (const box of document.querySelectorAll(".scroll[role=region]")) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else if (box !== document.activeElement) box.removeAttribute("tabindex");
    }
  };
  addEventListener("resize", stops);
  document.addEventListener("toggle", stops, true);

  // A swap may take away what has the focus. Then the same thing gets it in the new part,
  // else what the page says of the act, so that its Undo comes next; else the page.
  let had = null;
  document.addEventListener("htmx:before:swap", () => {
    const at = document.activeElement;
    had = at && at !== document.body
      ? { at, href: at.getAttribute("href"), keys: at.matches(":focus-visible") }
      : null;
  });
  document.addEventListener("htmx:after:swap", () => {
    arm(document);
    stops();
    const { at, href, keys } = had || {};
    had = null;
    const main = document.getElementById("main");
    if (!at || at.isConnected || document.activeElement !== document.body || !main) return;
    const said = main.querySelector("#said .flash");
    const same = href && [...main.querySelectorAll("a[href]")]
      .find((one) => one.getAttribute("href") === href);
    const next = said || same || main;
    if (next === said) said.tabIndex = -1;
    // Who points at the page is left where they are on it.
    next.focus({ preventScroll: !keys });
  });
  arm(document);
  stops();
})();
