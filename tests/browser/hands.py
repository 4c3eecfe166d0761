"""Three ways to do a task on the pages: with a pointer, by keyboard alone, at 400 %.

A task says what is to be done (`press`, `write`, `sees`), and each way does it as a
person would, and fails where a person would be stuck:

- `Pointer` counts its clicks.
- `Keyboard` has the keys Tab, Enter, Space, the arrows and letters. What has the focus
  must show it, must be in sight, and must not be lost (WCAG 2.2: 2.1.1, 2.4.3, 2.4.7,
  2.4.11); the number of keys is bounded, so that the way to skip must work.
- `Zoomed` sees 320 times 256 CSS pixels, which is a window of 1280 times 1024 at 400 %.
  Nothing is moved sideways (1.4.10), nothing lies over what is pressed, and what can be
  pressed is large enough (2.5.8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from playwright.sync_api import expect

from tests.browser.conftest import check_width

if TYPE_CHECKING:
    from playwright.sync_api import Download, Locator, Page

MOST_CLICKS: Final = 3
MOST_KEYS: Final = 70
"""Keys from one element to the next that a task needs; typing is not counted."""
_SKIP: Final = 2
"""Keys that skip what stands on each page."""
_MOST_CHOICES: Final = 10

_FOCUS: Final = """(target) => {
  const at = document.activeElement, problems = [];
  const looks = (e) => {
    const s = getComputedStyle(e);
    const line = s.outlineStyle === "none" ? "" : s.outlineWidth + s.outlineColor;
    return [line, s.boxShadow, s.backgroundColor, s.borderColor, s.top].join("|");
  };
  // What an element looks like without focus is kept when a page is first looked at.
  const isNew = !window.plain;
  if (isNew) {
    window.plain = new WeakMap();
    for (const e of document.querySelectorAll("a, button, input, select, textarea, "
      + "summary, [tabindex]")) if (e !== at) window.plain.set(e, looks(e));
  }
  const inMain = Boolean(target.closest("main"));
  if (at === document.body) return {none: true, isNew, inMain, problems};
  const name = at.outerHTML.slice(0, 160);
  if (at.id !== "main") {
    if (window.plain.get(at) === looks(at)) problems.push("shows no focus: " + name);
    const s = getComputedStyle(at);
    if (!window.plain.has(at) && s.outlineStyle === "none")
      problems.push("shows no outline: " + name);
    const all = [...at.getClientRects()];
    const r = all[0] || at.getBoundingClientRect();
    const tall = r.height > innerHeight, broad = r.width > innerWidth;
    const inside = r.bottom > 0 && r.top < innerHeight && r.right > 0
      && r.left < innerWidth;
    const whole = (tall || (r.top >= -1 && r.bottom <= innerHeight + 1))
      && (broad || (r.left >= -1 && r.right <= innerWidth + 1));
    if (!inside || !whole)
      problems.push("is out of sight: " + name + JSON.stringify(r));
    else if (!tall && !broad) {
      const x = r.left + r.width / 2, y = r.top + r.height / 2;
      const over = document.elementFromPoint(x, y);
      const label = at.labels && [...at.labels].some((one) => one.contains(over));
      if (over && !at.contains(over) && !over.contains(at) && !label)
        problems.push("is covered by " + over.outerHTML.slice(0, 120) + ": " + name);
    }
    // The line around it must not be cut off by a box that it lies in.
    if (s.outlineStyle !== "none" && all.length === 1) {
      const away = parseFloat(s.outlineOffset) + parseFloat(s.outlineWidth) / 2;
      let sides = {top: r.top - away, bottom: r.bottom + away,
        left: r.left - away, right: r.right + away};
      for (let box = at.parentElement; box; box = box.parentElement) {
        const how = getComputedStyle(box);
        if (how.overflowX === "visible" || box === document.documentElement
          || box === document.body) continue;
        const b = box.getBoundingClientRect();
        const cut = [sides.top < b.top, sides.bottom > b.bottom,
          sides.left < b.left, sides.right > b.right].filter(Boolean).length;
        if (cut > 1) problems.push(cut + " sides of the focus are cut off: " + name);
      }
    }
  }
  const near = at.type === "radio" && at.name === target.name;
  return {none: false, isNew, inMain, problems, here: at === target || near};
}"""
_SMALL: Final = """() => {
  const LEAST = 24;
  const shown = (e) => e.checkVisibility({visibilityProperty: true})
    && !e.closest("[hidden], .unseen, thead, dialog:not([open])");
  const rect = (e) => {
    const r = e.getBoundingClientRect();
    const own = {left: r.left, right: r.right, top: r.top, bottom: r.bottom};
    for (const label of e.labels || []) {
      const l = label.getBoundingClientRect();
      own.left = Math.min(own.left, l.left); own.right = Math.max(own.right, l.right);
      own.top = Math.min(own.top, l.top); own.bottom = Math.max(own.bottom, l.bottom);
    }
    return own;
  };
  const all = [...document.querySelectorAll("a[href], button, input, select, textarea,"
    + " summary")].filter((e) => e.type !== "hidden" && shown(e));
  const rects = new Map(all.map((e) => [e, rect(e)]));
  const inText = (e) => getComputedStyle(e).display === "inline"
    && e.parentElement.textContent.trim().length > e.textContent.trim().length + 1;
  const found = [];
  for (const e of all) {
    const r = rects.get(e), w = r.right - r.left, h = r.bottom - r.top;
    if (w === 0 || h === 0 || r.bottom < -500 || (w >= LEAST && h >= LEAST)
      || inText(e)) continue;
    // Small ones may be: a circle around them must touch no other target.
    const x = (r.left + r.right) / 2, y = (r.top + r.bottom) / 2;
    for (const other of all) {
      if (other === e || e.contains(other) || other.contains(e)) continue;
      const o = rects.get(other);
      const dx = Math.max(o.left - x, 0, x - o.right);
      const dy = Math.max(o.top - y, 0, y - o.bottom);
      if (Math.hypot(dx, dy) < LEAST / 2) {
        found.push(`${Math.round(w)} x ${Math.round(h)}: ${e.outerHTML.slice(0, 160)}`);
        break;
      }
    }
  }
  return found;
}"""


class Pointer:
    """Clicks, and counts."""

    view: Final[dict[str, Any]] = {}

    def __init__(self, page: Page) -> None:
        """Take a page of the console that somebody has signed in to."""
        self.page = page
        self.clicks = 0
        page.goto("/")

    def found(self, role: Any, name: Any, within: str) -> Locator:
        """Return what a task names."""
        return self.page.locator(within).get_by_role(role, name=name).first

    def go(self, name: str) -> None:
        """Go to a page of the menu."""
        self.press("link", name, "#menu")

    def press(self, role: str, name: Any, within: str = "main") -> None:
        """Press a button or a link, tick a box."""
        self.clicks += 1
        self.found(role, name, within).click()

    def write(self, label: Any, text: str, within: str = "main") -> None:
        """Write into a field; what stands in it goes."""
        self.clicks += 1
        self.page.locator(within).get_by_label(label).first.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(text)

    def write_next(self, text: str) -> None:
        """Write into the field that follows."""
        self.page.keyboard.press("Tab")
        self.page.keyboard.type(text)

    def send(self) -> None:
        """Send the form that was written into."""
        self.page.keyboard.press("Enter")

    def takes(self, role: str, name: Any) -> Download:
        """Press what sends a file, and return the file."""
        with self.page.expect_download() as found:
            self.press(role, name)
        return found.value

    def sees(self, text: Any) -> None:
        """Wait until a text is to be read."""
        expect(self.page.get_by_text(text).first).to_be_visible()

    def ends(self) -> None:
        """Judge how it was done."""
        assert self.clicks <= MOST_CLICKS, self.clicks


class Keyboard(Pointer):
    """Has no pointer, and gives no element the focus but by keys."""

    view: Final = {"viewport": {"width": 1280, "height": 1024}}

    def __init__(self, page: Page) -> None:
        """Begin at the top of the first page."""
        super().__init__(page)
        self.keys = 0

    def press(self, role: str, name: Any, within: str = "main") -> None:
        """Tab to it; a box is ticked with Space, all else is pressed with Enter."""
        target = self.found(role, name, within)
        self._reach(target)
        if role == "radio":
            for _ in range(_MOST_CHOICES):
                if target.is_checked():
                    return
                self.page.keyboard.press("ArrowDown")
        self.page.keyboard.press("Space" if role == "checkbox" else "Enter")

    def write(self, label: Any, text: str, within: str = "main") -> None:
        """Tab to the field; the browser marks what stands in it."""
        self._reach(self.page.locator(within).get_by_label(label).first)
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(text)

    def ends(self) -> None:
        """Judge how it was done."""
        assert self.keys <= MOST_KEYS, self.keys

    def _reach(self, target: Locator) -> None:
        target.wait_for(state="visible")
        keys, state = 0, target.evaluate(_FOCUS)
        if state["none"]:
            assert state["isNew"], f"the page lost the focus; wanted: {target}"
            if state["inMain"]:
                self._skip()
                keys, state = _SKIP, target.evaluate(_FOCUS)
        while not state.get("here"):
            assert keys < MOST_KEYS, f"{target} is {MOST_KEYS} keys away"
            self.page.keyboard.press("Tab")
            keys, state = keys + 1, target.evaluate(_FOCUS)
            assert not state["none"], f"the focus left the page; wanted: {target}"
            assert state["problems"] == [], state["problems"]
        self.keys += keys

    def _skip(self) -> None:
        """Go past what stands on each page; a page that is new has no focus yet."""
        self.page.keyboard.press("Tab")
        at = "document.activeElement.className"
        assert self.page.evaluate(at) == "skip", self.page.evaluate(at)
        self.page.keyboard.press("Enter")


class Zoomed(Pointer):
    """Sees a sixteenth of a page at a time."""

    view: Final = {"viewport": {"width": 320, "height": 256}, "device_scale_factor": 4}

    def go(self, name: str) -> None:
        """Open the menu first: there is no room beside the page."""
        self.press("button", "Menu", ".top")
        super().go(name)

    def press(self, role: str, name: Any, within: str = "main") -> None:
        """Look the page over before anything on it is pressed."""
        self.found(role, name, within).wait_for(state="visible")
        self._look()
        super().press(role, name, within)

    def sees(self, text: Any) -> None:
        """Look the page over."""
        super().sees(text)
        self._look()

    def ends(self) -> None:
        """Any number of clicks: the menu costs one."""

    def _look(self) -> None:
        check_width(self.page)
        small = self.page.evaluate(_SMALL)
        assert small == [], "\n".join([self.page.url, *small])


WAYS: Final = {"pointer": Pointer, "keyboard": Keyboard, "zoomed": Zoomed}
