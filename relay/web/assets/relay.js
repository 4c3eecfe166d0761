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

  // One key leads to the search.
  document.addEventListener("keydown", (event) => {
    const field = document.querySelector("[data-shortcut]");
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (!field || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key !== field.dataset.shortcut) return;
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

  document.addEventListener("htmx:after:swap", () => arm(document));
  arm(document);
})();
