"""Settings → Rules: what decides about mail, tried on last week's mail before it holds.

Every setting that holds without a restart, with its meaning, its default and who set
it; exclusions; and presets. A change is saved from a form, and can be taken back.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import HTMLResponse
from starlette.routing import Route

from relay.admin.inputs import address_pattern
from relay.admin.presets import PRESETS
from relay.console import people, presets, rules
from relay.console.history import undo
from relay.console.replays import Progress, Replays, Wanted
from relay.core.access import Scope
from relay.core.directory import SkipKind
from relay.core.errors import Conflict, InvalidInput, NotFound
from relay.core.past import PastFilter
from relay.core.translate import N_
from relay.web.pages.asked import done, path_of, shown
from relay.web.pages.context import caller_of
from relay.web.pages.render import (
    HEADERS,
    page,
    part,
    reader_of,
    say_and_go,
    without_secrets,
)

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from relay.console.rules import Rule
    from relay.web.pages.asked import Form
    from relay.web.pages.context import Context

PATH: Final = "/settings/rules"
DAYS: Final = 7
"""Days of past mail on which a change is tried."""
SHOWN: Final = 100
"""Mails that differ which are shown; the others are counted."""
GROUPS: Final = (
    (
        "records",
        N_("On which records"),
        (
            *("match.objects", "match.several", "match.contact_email_fields"),
            *("match.lead_email_fields", "match.follow_converted_leads"),
            *("match.opportunities", "match.account_opportunities", "match.accounts"),
            *("match.lookups", "match.more_objects", "match.contact_condition"),
            *("match.lead_condition", "match.opportunity_condition"),
            *("match.account_condition", "match.thread", "match.visibility"),
            *("match.record_tags", "match.remove_tags"),
        ),
    ),
    (
        "who",
        N_("Whose addresses count"),
        ("match.internal_domains", "match.more_headers", "user.address_rules"),
    ),
    (
        "content",
        N_("What is written"),
        (
            *("match.kinds", "match.subject", "match.task_type", "match.body"),
            *("match.body_rules", "match.forward_note", "match.confidential"),
            *("match.confidential_marks", "match.confidential_sensitivity"),
        ),
    ),
    ("automatic", N_("Automatic mail"), ("automatic.",)),
    (
        "unmatched",
        N_("Mail that fits no record"),
        ("match.unmatched_create", "match.unmatched_task", "match.rematch_s"),
    ),
    ("sender", N_("Senders"), ("sender.",)),
    ("alerts", N_("Alerts"), ("alerts.",)),
    ("rest", N_("Others"), ("",)),
)
"""Settings under their headings: keys, or beginnings of keys; the rest comes last."""


def routes(context: Context) -> list[Route]:
    """Return the routes of rules."""
    pages = _Pages(context)
    return [
        Route(PATH, shown(pages.show), name="rules"),
        Route(f"{PATH}/trial/{{id}}", shown(pages.trial), name="rules_trial"),
        Route(f"{PATH}/preset/{{name}}", shown(pages.preset), name="rules_preset"),
        *(
            Route(
                f"{PATH}/{path}",
                done(_back, work),
                methods=["POST"],
                name=f"rules_{path.partition('/')[0].replace('-', '_')}_do",
            )
            for path, work in (
                ("save", pages.save),
                ("try", pages.try_),
                ("stop/{id}", pages.stop),
                ("exclude", pages.exclude),
                ("include", pages.include),
                ("take-back/{number:int}", pages.take_back),
            )
        ),
        Route(f"{PATH}/{{key}}", shown(pages.edit), name="rules_edit"),
    ]


def _back(request: Request, form: Form) -> str:
    """Return the page on which the form is."""
    key = form.text("key")
    if name := form.text("preset"):
        return f"{PATH}/preset/{name}" if name in PRESETS else PATH
    del request
    return f"{PATH}/{key}" if key else PATH


class _Pages:
    """The pages; they ask `relay.console.rules`."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._settings = context.settings
        self._clock = context.clock
        self._replays = context.replays

    @property
    def _can_try(self) -> bool:
        """Say whether there is an org that can be asked."""
        has_org = self._settings.salesforce.instance_url is not None
        return self._replays is not None and has_org

    def _past(self) -> Replays:
        """Return the re-plays.

        Raises:
            Conflict: Nothing can be tried here.
        """
        if self._replays is None or not self._can_try:
            raise Conflict("a change cannot be tried without a Salesforce org")
        return self._replays

    # ------------------------------------------------------------ looking

    async def show(self, request: Request) -> Response:
        """Show all rules under their headings."""
        who = caller_of(request)
        every = await rules.rules(self._store, self._settings)
        return page(
            request,
            "settings/rules.html",
            groups=_grouped(every),
            changed=sum(1 for one in every if one.source == "store"),
            exclusions=await people.exclusions(self._store),
            skips=[kind.value for kind in SkipKind],
            presets=PRESETS,
            may_change=Scope.SETTINGS_WRITE in who.scopes,
            may_exclude=Scope.USERS_WRITE in who.scopes,
        )

    async def edit(self, request: Request) -> Response:
        """Show one rule, and the form that changes it."""
        who = caller_of(request)
        key = request.path_params["key"]
        return page(
            request,
            "settings/rule.html",
            rule=await rules.rule(self._store, self._settings, key),
            may_change=Scope.SETTINGS_WRITE in who.scopes,
            can_try=self._can_try,
            days=DAYS,
            typed=request.query_params.get("value"),
        )

    async def preset(self, request: Request) -> Response:
        """Show what a preset would change."""
        who = caller_of(request)
        view = await presets.preset(
            self._store, self._settings, request.path_params["name"]
        )
        return page(
            request,
            "settings/preset.html",
            preset=view.preset,
            rules=view.changed,
            as_typed=rules.as_typed,
            may_change=Scope.SETTINGS_WRITE in who.scopes,
            can_try=self._can_try,
            days=DAYS,
        )

    async def trial(self, request: Request) -> Response:
        """Show how far a trial is and what it found; htmx asks for the part alone."""
        try:
            job = self._past().get(request.path_params["id"])
        except NotFound:
            if "hx-request" not in request.headers:
                raise
            # The page that asks again and again waits for what a restart has ended.
            return page(request, "settings/gone.html", 404)
        preset = request.query_params.get("preset", "")
        changed = job.wanted.change.settings
        values: dict[str, Any] = {
            "job": job,
            "running": job.progress is Progress.RUNNING,
            "failed": job.progress is Progress.FAILED,
            "preset": preset if preset in PRESETS else "",
            "values": {key: rules.as_typed(value) for key, value in changed.items()},
            "most": SHOWN,
            "days": DAYS,
        }
        if "hx-request" in request.headers:
            text = part(reader_of(request), "settings/found.html", **values)
            text = without_secrets(caller_of(request), text)
            return HTMLResponse(text, headers=HEADERS)
        may = Scope.SETTINGS_WRITE in caller_of(request).scopes
        return page(request, "settings/trial.html", may_change=may, **values)

    # ------------------------------------------------------------ changing

    async def save(self, request: Request, form: Form) -> Response:
        """Save what was typed; the page then offers to take it back."""
        name = caller_of(request).name
        if preset := form.text("preset"):
            view = await presets.preset(self._store, self._settings, preset)
            await presets.check(self._settings, view)
            number = await presets.take(self._store, view, name)
        else:
            typed = _typed(form)
            number = await rules.save(self._store, self._settings, typed, name)
        _ = reader_of(request).gettext
        if number is None:
            return say_and_go(request, PATH, _("It is so already."), kind="warning")
        path = f"{PATH}/take-back/{number}"
        return say_and_go(request, PATH, _("Saved."), undo=path)

    async def try_(self, request: Request, form: Form) -> Response:
        """Begin to try what was typed on past mail; nothing is saved."""
        preset = form.text("preset")
        if preset:
            view = await presets.preset(self._store, self._settings, preset)
            change = view.change
        else:
            change = rules.read_change(self._settings, _typed(form))
        if not change.settings:
            raise InvalidInput("there is nothing to try")
        since = self._clock.now() - timedelta(days=DAYS)
        wanted = Wanted(change, PastFilter(since=since))
        job = self._past().start(wanted, caller_of(request).name)
        text = reader_of(request).gettext("Nothing is saved yet.")
        path = path_of(f"{PATH}/trial/{job.id}", preset=preset)
        return say_and_go(request, path, text)

    async def stop(self, request: Request, _form: Form) -> Response:
        """End a trial."""
        await self._past().cancel(request.path_params["id"])
        _ = reader_of(request).gettext
        return say_and_go(request, PATH, _("Stopped."))

    async def exclude(self, request: Request, form: Form) -> Response:
        """Add an exclusion for everybody."""
        skip = form.text("skip")
        if skip not in {kind.value for kind in SkipKind}:
            raise InvalidInput("choose what is left out")
        pattern = address_pattern(form.text("pattern"))
        actor = caller_of(request).name
        await self._store.directory.add_exclusion(pattern, None, SkipKind(skip), actor)
        return await self._excluded(request)

    async def include(self, request: Request, form: Form) -> Response:
        """Take an exclusion for everybody away."""
        actor = caller_of(request).name
        await self._store.directory.remove_exclusion(form.text("pattern"), None, actor)
        return await self._excluded(request)

    async def _excluded(self, request: Request) -> Response:
        (row,) = await self._store.history.find(limit=1)
        _ = reader_of(request).gettext
        path = f"{PATH}/take-back/{row['id']}"
        return say_and_go(request, PATH, _("Saved."), undo=path)

    async def take_back(self, request: Request, _form: Form) -> Response:
        """Take a change of a rule back."""
        number = int(request.path_params["number"])
        text, _row = await undo(self._store, caller_of(request), number)
        return say_and_go(request, PATH, f"{text[:1].upper()}{text[1:]}.")


def _grouped(every: list[Rule]) -> list[tuple[str, str, list[Rule]]]:
    """Return the rules under their headings, each once, empty headings left out."""
    left = {one.key: one for one in every}
    found: list[tuple[str, str, list[Rule]]] = []
    for name, title, keys in GROUPS:
        mine = [left.pop(one) for key in keys for one in list(left) if _is(one, key)]
        if mine:
            found.append((name, title, mine))
    return found


def _is(key: str, wanted: str) -> bool:
    """Say whether a key is meant by a key, or by the beginning of one."""
    begins = wanted.endswith(".") or not wanted
    return key.startswith(wanted) if begins else key == wanted


def _typed(form: Form) -> dict[str, str | None]:
    """Return the value of a rule's form by its key; None: the default is to hold again.

    A list of words has a field `many`, and a value for each word that is ticked.
    """
    key = form.text("key")
    if not key:
        return {}
    if form.has("default"):
        return {key: None}
    if form.has("many"):
        return {key: ", ".join(form.all("value")) or "none"}
    return {key: form.text("value")}
