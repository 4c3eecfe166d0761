"""The relay over HTTP: `POST /messages` takes whole mails from programs.

`messages` is the application, `server` listens. A program needs an API token of the
store; its mails go to `relay.intake`, which decides what is accepted. `release` has the
pages for people, which release held mail.
"""

from relay.web.release import ReleasePages
from relay.web.server import WebServer

__all__ = ["ReleasePages", "WebServer"]
