"""Routes of addresses that prove themselves: claims, and those of Salesforce users."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from starlette.responses import JSONResponse

from relay.admin.inputs import email_address
from relay.console import claims, people
from relay.console.people_import import changing, follow, plan_addresses
from relay.core.access import Caller, Scope
from relay.web.api import models
from relay.web.api.people import find
from relay.web.api.problems import Problem
from relay.web.api.wire import Context, answer, needs, tagged

READ = needs(Scope.USERS_READ)
WRITE = needs(Scope.USERS_WRITE)
CLAIM = needs(Scope.ADDRESSES_CLAIM)


def claims_router(context: Context) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["accepted addresses"])
    store, settings = context.store, context.settings

    @router.get(
        "/users/{user}/address-claims",
        response_model=models.AddressClaims,
        summary="List the claims that can still be proven; never their codes",
    )
    async def list_claims(user: str, who: Annotated[Caller, READ]) -> JSONResponse:
        found = await find(context, who, user)
        return answer({"items": await claims.pending(store, found.user)})

    @router.post(
        "/users/{user}/address-claims",
        response_model=models.AddressClaim,
        status_code=202,
        summary="Mail a code to an address that the user says is theirs",
    )
    async def claim(
        user: str, new: models.NewClaim, who: Annotated[Caller, CLAIM]
    ) -> JSONResponse:
        found = await find(context, who, user)
        claims.own(who, found.user)
        people.not_removed(found)
        key = email_address(new.address)
        await claims.begin(
            *(settings, store, found.user, key),
            now=context.clock.now(),
            actor=who.name,
        )
        rows = await claims.pending(store, found.user)
        return answer(next(one for one in rows if one["address"] == key), 202)

    @router.post(
        "/users/{user}/address-claims/proof",
        response_model=models.AcceptedAddress,
        status_code=201,
        summary="Let the address send to which this code was mailed",
    )
    async def prove(
        user: str, proof: models.ClaimProof, who: Annotated[Caller, CLAIM]
    ) -> JSONResponse:
        found = await find(context, who, user)
        claims.own(who, found.user)
        key = await claims.prove(
            settings, store, found.user, proof.code, actor=who.name
        )
        rows = await people.accepted(store, found.user.id)
        place = f"/api/v1/users/{found.user.id}/accepted-addresses/{key}"
        row = next(one for one in rows if one["address"] == key)
        return tagged(row, 201, Location=place)

    @router.get(
        "/address-import",
        response_model=models.ImportPlan,
        summary="Plan: what each user's e-mail in Salesforce would change",
    )
    async def plan(who: Annotated[Caller, WRITE]) -> JSONResponse:
        del who
        steps = await plan_addresses(settings, store, context.clock)
        rows = [step.row for step in steps]
        return answer({"items": rows, "count": len(changing(steps))})

    @router.post(
        "/address-import",
        response_model=models.CarriedOut,
        summary="Carry the plan out",
    )
    async def carry_out(
        plan: models.CarryOut, who: Annotated[Caller, WRITE]
    ) -> JSONResponse:
        steps = await plan_addresses(settings, store, context.clock)
        number = len(changing(steps))
        if number != plan.expected:
            detail = f"the plan has {number} changes, not {plan.expected}"
            hint = "GET the plan again, and send its count"
            raise Problem(409, "count_changed", detail, hint, count=number)
        return answer({"changed": await follow(store, steps, who.name)})

    return router
