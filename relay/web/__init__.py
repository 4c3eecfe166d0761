"""The relay over HTTP: `POST /messages` takes whole mails from programs.

`messages` is the application, `server` listens. Who may hand over is a matter of API
tokens in the store; what is taken is judged by whoever the app hands in as `take`.
"""

from relay.web.server import WebServer

__all__ = ["WebServer"]
