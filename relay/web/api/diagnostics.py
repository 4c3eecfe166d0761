"""Routes of what fails and what is wrong, of presets, and of re-plays."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from relay.admin.rule_change import RuleChange, read_rules, replayable
from relay.admin.settings import read_value
from relay.console import diagnostics, presets
from relay.console.checks import Checks, Run
from relay.console.replays import Replays, Wanted
from relay.core.access import Caller, Scope
from relay.core.errors import InvalidInput, RelayError, StoreUnavailable
from relay.core.filters import read_time
from relay.core.past import PastFilter
from relay.web.api import models
from relay.web.api.mails import shown
from relay.web.api.people import find
from relay.web.api.problems import Problem
from relay.web.api.rules import text_of
from relay.web.api.wire import (
    USUAL,
    Context,
    Cursor,
    IfMatch,
    Limit,
    answer,
    matches,
    needs,
    read_cursor,
    tagged,
    write_cursor,
)

LOG = needs(Scope.LOG_READ)
STATUS = needs(Scope.STATUS_READ)
READ = needs(Scope.SETTINGS_READ)
WRITE = needs(Scope.SETTINGS_WRITE)


def diagnostics_router(context: Context) -> APIRouter:
    """Return the routes of failures and of the check."""
    router = APIRouter(tags=["diagnostics"])
    checks = Checks(context.settings, context.clock)

    @router.get(
        "/failures",
        response_model=models.Failures,
        summary="Say what fails, by its code: category, meaning and remedy",
    )
    async def failures(who: Annotated[Caller, LOG]) -> JSONResponse:
        found = await diagnostics.failing(context.store, who)
        return answer({"items": [shown(who, one.as_json()) for one in found]})

    @router.get(
        "/check",
        response_model=models.Check,
        summary="Say how far the latest check is, and what it has found",
    )
    async def latest(who: Annotated[Caller, STATUS]) -> JSONResponse:
        del who
        return answer(_as_json(checks.latest))

    @router.post(
        "/check",
        response_model=models.Check,
        status_code=202,
        summary="Check machine, store, listeners, DNS and Salesforce, as relay check",
    )
    async def start(who: Annotated[Caller, STATUS]) -> JSONResponse:
        place = {"Location": "/api/v1/check"}
        return answer(_as_json(checks.start(who.name)), 202, place)

    return router


def _as_json(run: Run | None) -> dict[str, Any]:
    """Return the stable names of a check; before the first one they are empty."""
    return {
        "started_at": run.started_at if run else None,
        "by": run.by if run else "",
        "step": run.step if run else "",
        "done": run.done if run else 0,
        "total": run.total if run else 0,
        "ended_at": run.ended_at if run else None,
        "error": run.error if run else "",
        "items": [one.as_json() for one in run.findings] if run else [],
    }


# ------------------------------------------------------------------ presets


def presets_router(context: Context) -> APIRouter:
    """Return the routes of presets."""
    router = APIRouter(tags=["settings"])
    store, loaded = context.store, context.settings

    async def one(name: str) -> presets.PresetView:
        try:
            return await presets.preset(store, loaded, name)
        except InvalidInput as error:
            raise Problem(404, "unknown", error.problem, error.hint) from None

    @router.get("/presets", response_model=models.Presets, summary="List the presets")
    async def list_presets(who: Annotated[Caller, READ]) -> JSONResponse:
        del who
        found = await presets.presets(store, loaded)
        return answer({"items": [view.as_json(whole=False) for view in found]})

    @router.get(
        "/presets/{name}",
        response_model=models.Preset,
        summary="Show the rules of a preset beside those that hold now",
    )
    async def show(name: str, who: Annotated[Caller, READ]) -> JSONResponse:
        del who
        return tagged((await one(name)).as_json(whole=True))

    @router.post(
        "/presets/{name}/take",
        response_model=models.TakenPreset,
        summary="Take the rules of a preset as one change",
    )
    async def take(
        name: str,
        how: models.TakePreset,
        who: Annotated[Caller, WRITE],
        if_match: IfMatch = None,
    ) -> JSONResponse:
        view = await one(name)
        matches(if_match, view.as_json(whole=True))
        if not how.unchecked:
            await _check(context, view)
        number = await presets.take(store, view, who.name)
        return answer({"name": name, "changed": len(view.changed), "change": number})

    return router


async def _check(context: Context, view: presets.PresetView) -> None:
    try:
        await presets.check(context.settings, view)
    except (InvalidInput, StoreUnavailable):
        raise
    except RelayError as error:
        detail = f"Salesforce cannot be asked whether it fits: {error}"
        hint = 'send it again later, or with "unchecked": true'
        wait = {"Retry-After": "30"}
        raise Problem(
            503, "salesforce_unavailable", detail, hint, headers=wait
        ) from error


# ------------------------------------------------------------------ re-plays


def replays_router(context: Context) -> APIRouter:
    """Return the routes of re-plays."""
    router = APIRouter(tags=["settings"])

    def replays() -> Replays:
        if context.replays is None:
            raise Problem(409, "not_possible", "nothing re-plays here", "use the relay")
        return context.replays

    @router.get(
        "/replays",
        response_model=models.Replays,
        summary="List the re-plays that run or are kept",
    )
    async def list_replays(who: Annotated[Caller, READ]) -> JSONResponse:
        del who
        return answer({"items": [job.as_json() for job in replays().all()]})

    @router.post(
        "/replays",
        response_model=models.Replay,
        status_code=202,
        summary="Try a change of rules on past mail, in the background",
    )
    async def start(
        new: models.NewReplay, who: Annotated[Caller, WRITE]
    ) -> JSONResponse:
        change = await _change(context, new)
        now = context.clock.now()
        since = read_time(new.since, now)
        until = read_time(new.until, now, end=True) if new.until else None
        if until is not None and until <= since:
            raise InvalidInput("until is not later than since", "send later times")
        email = (await find(context, who, new.user)).user.email if new.user else None
        if context.settings.salesforce.instance_url is None:
            hint = "set salesforce.instance_url"
            raise Problem(409, "no_salesforce", "the relay has no org", hint)
        past = PastFilter(since, until)
        wanted = Wanted(change, past, email, new.limit, dry=new.dry)
        job = replays().start(wanted, who.name)
        place = {"Location": f"/api/v1/replays/{job.id}"}
        return answer(job.as_json(), 202, place)

    @router.get(
        "/replays/{id}",
        response_model=models.Replay,
        summary="Say how far a re-play is, and what it has counted",
    )
    async def show(id: str, who: Annotated[Caller, READ]) -> JSONResponse:  # noqa: A002
        del who
        return answer(replays().get(id).as_json())

    @router.get(
        "/replays/{id}/differences",
        response_model=models.Differences,
        summary="List the mails that differ, the newest first",
    )
    async def differences(
        id: str,  # noqa: A002
        who: Annotated[Caller, WRITE],  # They hold texts of mails.
        cursor: Cursor = None,
        limit: Limit = USUAL,
    ) -> JSONResponse:
        job = replays().get(id)
        question = ["differences", id]
        begin = read_cursor(cursor, question, int) or 0
        rows = job.differences[begin : begin + limit]
        end = begin + len(rows)
        more = end < len(job.differences) or job.ended_at is None
        return answer(
            {
                "items": [shown(who, row) for row in rows],
                "next": write_cursor(end, question) if more else None,
            }
        )

    @router.delete(
        "/replays/{id}",
        status_code=204,
        summary="End a re-play, and forget it",
        description="Takes no If-Match: a re-play is ended, however far it is by now.",
    )
    async def cancel(id: str, who: Annotated[Caller, WRITE]) -> Response:  # noqa: A002
        del who
        await replays().cancel(id)
        return Response(status_code=204)

    return router


async def _change(context: Context, new: models.NewReplay) -> RuleChange:
    """Return the rules to try.

    Raises:
        InvalidInput: Not exactly one of the three is given, or it does not fit.
    """
    given = [one for one in (new.rules, new.settings, new.preset) if one is not None]
    if len(given) != 1:
        problem = "a re-play tries one of rules, settings and preset"
        raise InvalidInput(problem, "send one of them")
    loaded = context.settings
    if new.rules is not None:
        return read_rules(loaded, new.rules)
    if new.preset is not None:
        view = await presets.preset(context.store, loaded, new.preset)
        return view.change
    values = {}
    for key, value in (new.settings or {}).items():
        read = read_value(loaded, key, text_of(value))
        if not replayable(key):
            problem = f"{key} cannot be tried on past mail"
            raise InvalidInput(problem, "name rules of [match] or [automatic]")
        values[key] = read
    if not values:
        raise InvalidInput("the change is empty", "name a setting")
    return RuleChange(values)
