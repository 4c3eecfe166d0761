"""A real browser, on a desktop and a phone, against a real relay and the sandbox.

Whatever a test is for: a page that breaks its Content-Security-Policy, writes an error
to the console, fails in a script, or asks anything of another host fails the test.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.fakes.children import free_port, listening
from tests.fakes.processes import RelayProcess, SandboxProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page

AXE = Path(__file__).parent.parent / "node/node_modules/axe-core/axe.min.js"
VIEWS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 800}},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
    },
}
WAIT_MS = 30_000
"""How long a page may take; it takes that long where nothing ever comes."""
PASSWORD = "four words for nobody"
PEOPLE = {
    "ada": ("Ada Byron", "ada@corp.example", "rep"),
    "bob": ("Bob Stone", "bob@corp.example", "rep"),
    "mona": ("Mona Watch", "mona@corp.example", "monitor"),
    "root": ("Root Keys", "root@corp.example", "admin"),
}
_SERIOUS = frozenset({"serious", "critical"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test here the time that a browser on a busy machine needs."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(240))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Start the machine's Chromium; skip where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("tests in a browser: chromium was not found (make deps)")
    playwright = pytest.importorskip("playwright.sync_api")
    if _driver_fails():
        pytest.skip("tests in a browser: Playwright needs libatomic (make deps)")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--lang=en-US"]
        )
        yield browser
        browser.close()


def _driver_fails() -> bool:
    """Say whether the program that drives the browser does not even start."""
    from playwright._impl._driver import compute_driver_executable

    node, *_ = compute_driver_executable()
    return (
        subprocess.run([node, "--version"], check=False, capture_output=True).returncode
        != 0
    )


class Desk:
    """A relay that is served with its console, the org, and people who sign in."""

    def __init__(self, folder: Path, chromium: Browser, **keys: object) -> None:
        """Start the org and the relay; nobody has signed in."""
        self.chromium = chromium
        # A browser's loop runs in this thread, and commands have one of their own.
        self._aside = ThreadPoolExecutor(1, "commands")
        self.org = SandboxProcess(folder)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.relay = RelayProcess(
            folder / "relay",
            self.org.url,
            **{"web__listen": f"127.0.0.1:{self.port}"} | keys,
        )
        self.addresses: dict[str, str] = {}
        for key, (name, email, role) in PEOPLE.items():
            self.addresses[key] = self.do(
                self.relay.add_user, name, email, "--role", role
            )
        self.relay.start()
        self.relay.process.wait_until(lambda: listening(self.port), "the console")
        self._signed_in: dict[str, Any] = {}

    def do(self, job: Any, *arguments: Any, **options: Any) -> Any:
        """Do something that runs commands of the relay."""
        return self._aside.submit(job, *arguments, **options).result()

    def run(self, *arguments: str, **options: Any) -> Any:
        """Run a command of the relay."""
        return self.do(self.relay.run, *arguments, **options)

    def json(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command with `--json`."""
        found: list[dict[str, Any]] = self.do(self.relay.json, *arguments)
        return found

    def settled(self, id_: str) -> Any:
        """Return a message's row once it rests."""
        return self.do(self.relay.settled, id_)

    @contextmanager
    def visit(
        self, who: str | None, view: str = "desktop", **options: Any
    ) -> Iterator[Page]:
        """Open the console as somebody; None: as nobody."""
        state = self._state(who) if who else None
        with self._context(view, storage_state=state, **options) as (context, seen):
            page = context.new_page()
            yield page
            page.close()
            assert seen == [], seen

    @contextmanager
    def _context(
        self, view: str, **options: Any
    ) -> Iterator[tuple[BrowserContext, list[str]]]:
        context = self.chromium.new_context(
            base_url=self.url,
            locale="en-US",
            timezone_id="Europe/Stockholm",
            **VIEWS[view] | options,
        )
        context.set_default_timeout(WAIT_MS)
        # The first page of a process loads what it needs: slow on a busy machine.
        context.set_default_navigation_timeout(3 * WAIT_MS)
        seen: list[str] = []
        context.add_init_script(
            "addEventListener('securitypolicyviolation', (event) => console.error("
            "'CSP', event.violatedDirective, event.blockedURI))"
        )

        def watch(page: Page) -> None:
            page.on(
                "console",
                lambda said: (
                    seen.append(f"{said.type}: {said.text}")
                    if said.type in {"error", "warning"} and not _expected(said.text)
                    else None
                ),
            )
            page.on("pageerror", lambda error: seen.append(f"script: {error}"))

        def asked(request: Any) -> None:
            if urlsplit(request.url).netloc != urlsplit(self.url).netloc:
                seen.append(f"foreign: {request.url[:200]}")

        context.on("page", watch)
        context.on("request", asked)
        try:
            yield context, seen
        finally:
            context.close()

    def _state(self, who: str) -> Any:
        """Return cookies of somebody who has signed in by a one-time link."""
        if who not in self._signed_in:
            email = PEOPLE[who][1]
            (row,) = self.json("user", "link", email)
            link = urlsplit(row["sign_in_link"])
            with self._context("desktop") as (context, seen):
                page = context.new_page()
                page.goto(link.path)
                page.get_by_label("New password").fill(PASSWORD)
                page.get_by_label("The same password again").fill(PASSWORD)
                page.get_by_role("button", name="Set password and sign in").click()
                page.wait_for_url(f"{self.url}/")
                self._signed_in[who] = context.storage_state()
                assert seen == [], seen
        return self._signed_in[who]

    def stop(self) -> None:
        """End relay and org."""
        self.relay.stop()
        self.org.stop()
        self._aside.shutdown()


def _expected(text: str) -> bool:
    """Say whether the browser only tells that an answer had a status of an error."""
    return text.startswith(
        "Failed to load resource: the server responded with a status"
    )


@pytest.fixture(scope="module")
def desk(
    tmp_path_factory: pytest.TempPathFactory, chromium: Browser, keys: dict[str, Any]
) -> Iterator[Desk]:
    """One relay for the tests of a file."""
    made = Desk(tmp_path_factory.mktemp("desk"), chromium, **keys)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def keys() -> dict[str, Any]:
    """Return further settings, as `section__key`; a file may have its own."""
    return {}


@pytest.fixture(params=sorted(VIEWS))
def view(request: pytest.FixtureRequest) -> str:
    """Each view in its turn."""
    name: str = request.param
    return name


def check_accessibility(page: Page) -> None:
    """Fail on what axe finds serious; the policy of the page stays in force.

    The source is evaluated by the debugger, not as a script of the page.
    """
    if not AXE.exists():
        pytest.skip("accessibility: axe-core was not found (make deps)")
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate(
        "async () => (await axe.run(document, {resultTypes: ['violations']}))"
        ".violations.map(({id, impact, help, nodes}) => "
        "({id, impact, help, where: nodes.slice(0, 5).map((n) => n.html.slice(0, 200) "
        "+ ' | ' + (n.failureSummary || '').slice(0, 200))}))"
    )
    serious = [one for one in found if one["impact"] in _SERIOUS]
    assert serious == [], json.dumps(serious, indent=1)


def check_width(page: Page) -> None:
    """Fail where the page must be moved sideways to be read (WCAG 2.2, 1.4.10)."""
    wide = page.evaluate(
        "() => { const e = document.documentElement; "
        "return e.scrollWidth - e.clientWidth; }"
    )
    assert wide <= 1, f"{page.url}: {wide} px too wide"
