"""The REST API: `/api/v1/…`, described by `/api/openapi.json`.

`gate` stands before everything: tokens, limits, security headers, requests that are
sent again. Behind it each file has the routes of one thing; they translate, and call
`relay.console`, which the command line calls, too. `models` is what goes over the wire.
"""

from relay.web.api.app import PREFIX, create_api

__all__ = ["PREFIX", "create_api"]
