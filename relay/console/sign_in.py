"""What pages need of the sign-in beside `relay.accounts`: links by mail."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from relay.config import Settings
    from relay.core.directory import User
    from relay.store import Store


def link_sender(
    settings: Settings, store: Store
) -> Callable[[User, str, datetime], Awaitable[None]] | None:
    """Return what mails one-time links, as notices; None: no mail can be sent.

    People reach the console at `web.public_url`: without it a link would lead nowhere.
    """
    if settings.notices.smarthost is None or settings.web.public_url is None:
        return None
    from relay.notices import plan_sign_in_link  # noqa: PLC0415 - aiosmtplib

    async def send(user: User, url: str, ends: datetime) -> None:
        await plan_sign_in_link(settings.notices, store, user, url, ends)

    return send
