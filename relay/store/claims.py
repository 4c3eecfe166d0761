"""Claims: addresses that a user has yet to prove, with the digest of a mailed code.

A code counts for a while and for a few attempts. An attempt is counted before the code
is compared, so that nobody gains a try by breaking off. Of the code a slow hash alone
is kept (`relay.core.passwords`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, func, insert, or_, select, update

from relay.core.directory import Claim, Source
from relay.core.errors import Conflict
from relay.store import schema
from relay.store.context import Part
from relay.store.edits import edit_directory
from relay.store.values import SECOND, moment, stamp

if TYPE_CHECKING:
    from datetime import datetime

    from relay.store.edits import Edit

MOST_ATTEMPTS: Final = 5
"""Wrong codes for one claim; then another code must be mailed."""
MOST_A_DAY: Final = 10
"""Codes mailed for one user in a day: a stranger's mailbox must not be flooded."""
_DAY: Final = 86_400 * SECOND
c = schema.address_claims.c


class Claims(Part):
    """Operations on claims."""

    async def begin(
        self, user_id: int, key: str, hashed: str, expires_at: datetime, actor: str
    ) -> int:
        """Keep a claim with the hash of its code, and return the claim's number.

        An earlier claim of the user for the same address goes.

        Raises:
            NotFound: There is no such user.
            Conflict: The address may send already, is another user's, or too many codes
                were mailed for the user today.
        """

        def work(edit: Edit) -> int:
            user = edit.user(user_id)
            accepted, users = schema.accepted_addresses.c, schema.users.c
            mine = (accepted.user_id == user_id) & (accepted.address == key)
            edit.refuse_if(
                select(accepted.id).where(mine),
                f"{key} may send for {user.email} already",
            )
            edit.refuse_if(
                select(accepted.id).where(accepted.address == key),
                f"{key} sends for another user; an admin may add it",
            )
            edit.refuse_if(
                select(users.id).where(users.email_key == key),
                f"{key} is the address of another user; an admin may add it",
            )
            audit = schema.audit.c
            made = edit.connection.scalar(
                select(func.count())
                .select_from(schema.audit)
                .where(
                    audit.user_id == user_id,
                    audit.action == "address_claim",
                    audit.at > edit.now - _DAY,
                )
            )
            if (made or 0) >= MOST_A_DAY:
                text = (
                    f"{MOST_A_DAY} codes were mailed for {user.email} in a day; try "
                    "again tomorrow, or let an admin add the address"
                )
                raise Conflict(text)
            edit.connection.execute(
                delete(schema.address_claims).where(
                    c.user_id == user_id,
                    or_(c.address == key, c.expires_at <= edit.now),
                )
            )
            made_claim = edit.connection.execute(
                insert(schema.address_claims).values(
                    user_id=user_id,
                    address=key,
                    hash=hashed,
                    created_at=edit.now,
                    created_by=edit.actor,
                    expires_at=stamp(expires_at),
                )
            )
            edit.done("address_claim", user, None, key)
            (number,) = made_claim.inserted_primary_key or (0,)
            return int(number)

        return await edit_directory(self._context, actor, work)

    async def open(self, user_id: int | None = None) -> list[Claim]:
        """Return the claims that can still be proven, oldest first."""
        now = self._context.now()
        query = (
            select(schema.address_claims)
            .where(c.expires_at > now, c.attempts < MOST_ATTEMPTS)
            .order_by(c.id)
        )
        if user_id is not None:
            query = query.where(c.user_id == user_id)
        return await self._context.read(
            lambda connection: [
                Claim(
                    row.id,
                    row.user_id,
                    row.address,
                    row.hash,
                    moment(row.expires_at),
                    MOST_ATTEMPTS - row.attempts,
                )
                for row in connection.execute(query)
            ]
        )

    async def try_code(self, claim_id: int) -> bool:
        """Count an attempt; False: none is left, or the claim has expired."""
        now = self._context.now()
        counted = (
            update(schema.address_claims)
            .where(c.id == claim_id, c.expires_at > now, c.attempts < MOST_ATTEMPTS)
            .values(attempts=c.attempts + 1)
        )
        return await self._context.write(
            lambda connection: bool(connection.execute(counted).rowcount)
        )

    async def prove(self, claim: Claim, actor: str) -> None:
        """Let a proven address send; its claim ends.

        Raises:
            NotFound: The user is gone.
            Conflict: The claim has ended since, or the address is another user's now.
        """

        def work(edit: Edit) -> None:
            user = edit.user(claim.user_id)
            this = (c.id == claim.id) & (c.expires_at > edit.now)
            if not edit.connection.execute(
                delete(schema.address_claims).where(this)
            ).rowcount:
                text = f"the claim of {claim.address} has ended; claim it again"
                raise Conflict(text)
            accepted = schema.accepted_addresses.c
            edit.refuse_if(
                select(accepted.id).where(
                    accepted.address == claim.address,
                    accepted.user_id != claim.user_id,
                ),
                f"{claim.address} sends for another user by now",
            )
            edit.add_address(claim.user_id, claim.address, Source.CLAIM)
            new = edit.accepted(claim.user_id, claim.address)
            edit.done("address_add", user, None, new)

        await edit_directory(self._context, actor, work)
