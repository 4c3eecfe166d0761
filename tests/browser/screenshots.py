"""Take the pictures of docs/images from a real console: `make screenshots`."""

from __future__ import annotations

import smtplib
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.conftest import Desk
from tests.fakes.processes import mail_to

SUBJECTS = (
    "Offer for 40 torque wrenches",
    "Re: Delivery dates for March",
    "Minutes of our call",
    "Re: Offer for 40 torque wrenches",
    "Samples are on their way",
)


def main(folder: Path) -> None:
    """Fill a relay with mail, and take the pictures."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as started:
        chromium = started.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        desk = Desk(Path(place), chromium)
        desk.org.person("Contact", "mara@birch.example")
        ids = [
            desk.relay.send(
                mail_to("mara@birch.example", Subject=subject), desk.addresses["ada"]
            )
            for subject in SUBJECTS
        ]
        unknown = mail_to("pia@nowhere.example", Subject="Nice to meet you")
        ids.append(desk.relay.send(unknown, desk.addresses["ada"]))
        for id_ in ids:
            desk.settled(id_)
        stranger = mail_to("mara@birch.example", From="eve@evil.example")
        with suppress(smtplib.SMTPException):
            desk.relay.send(stranger, desk.addresses["ada"])
        for name, who, view, scheme, path in (
            ("home", "root", "desktop", "light", "/"),
            ("log", "root", "desktop", "light", "/log"),
            ("decision", "root", "desktop", "dark", f"/log/{ids[0]}"),
            ("phone", "ada", "phone", "light", "/"),
        ):
            options = {"device_scale_factor": 1, "color_scheme": scheme}
            with desk.visit(who, view, **options) as page:
                page.goto(path)
                page.screenshot(path=folder / f"console-{name}.png")
        desk.stop()
        chromium.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
