"""What a form or an address asked for: reading it, and telling what was wrong with it.

An error of the rooms below is an answer here, too: who may not see something gets 403,
what there is not 404, and what cannot be done is told on the page that was left. What
needs a confirmation is asked on a page of its own, which sends the same form again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlencode

from relay.core.errors import (
    Conflict,
    IllegalTransition,
    InvalidInput,
    NeedsConfirmation,
    NoSalesforce,
    NotAllowed,
    NotFound,
    StoreUnavailable,
    TooOften,
    TransientError,
)
from relay.web.pages.render import page, reader_of, say_and_go

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    Endpoint = Callable[[Request], Awaitable[Response]]

T = TypeVar("T")
CONFIRMED: Final = "confirm"
"""The field of a form that was confirmed."""
LONGEST: Final = 2000
"""Characters of one field that are read."""
_DIGITS: Final = 15
"""Longest number; a longer one is no row's, and databases refuse it."""
MOST: Final = 1000
"""Values of one field that are read."""
_CANNOT: Final = (
    Conflict,
    IllegalTransition,
    InvalidInput,
    NoSalesforce,
    TooOften,
    TransientError,
)


class Form:
    """The fields that a page was sent, by its form or in its address."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        """Take the fields as they came."""
        self.fields = fields

    def text(self, name: str) -> str:
        """Return one value without blanks around it; empty: it was not sent."""
        found = (value for key, value in self.fields if key == name)
        return next(found, "").strip()[:LONGEST]

    def all(self, name: str) -> list[str]:
        """Return every value that was sent under a name, each once."""
        found = (value.strip() for key, value in self.fields if key == name)
        return list(dict.fromkeys(value[:LONGEST] for value in found if value))[:MOST]

    def has(self, name: str) -> bool:
        """Say whether a box was ticked."""
        return bool(self.text(name))

    def number(self, name: str) -> int | None:
        """Return a number; None: it is none."""
        return number_in(self.text(name))


def number_in(text: str) -> int | None:
    """Return a number that a row or a version may have; None: it is none."""
    fits = len(text) <= _DIGITS and text.isascii() and text.isdigit()
    return int(text) if fits else None


async def form_of(request: Request) -> Form:
    """Return what the form that was sent holds; files are passed over."""
    sent = await request.form()
    return Form([(k, v) for k, v in sent.multi_items() if isinstance(v, str)])


def query_of(request: Request) -> Form:
    """Return what stands in the address."""
    return Form(list(request.query_params.multi_items()))


def path_of(path: str, values: Mapping[str, Any] | None = None, **more: Any) -> str:
    """Return a path with what is asked; nothing is left out but what is empty."""
    every = {**(values or {}), **more}
    pairs = [(key, value) for key, value in every.items() if value not in {None, ""}]
    return f"{path}?{urlencode(pairs)}" if pairs else path


def undo_path(act: int | None) -> str:
    """Return where a form takes an act on messages back; empty: nothing was changed."""
    return f"/log/undo/{act}" if act is not None else ""


def shown(endpoint: Endpoint) -> Endpoint:
    """Return a page that answers what is not there, or not the reader's."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except NotFound as error:
            return problem(request, 404, str(error), error.hint)
        except NotAllowed as error:
            return problem(request, 403, str(error), error.hint)
        except StoreUnavailable:
            raise
        except _CANNOT as error:
            return problem(request, 409, str(error))

    return answer


def done(
    back: Callable[[Request, Form], str],
    work: Callable[[Request, Form], Awaitable[Response]],
) -> Endpoint:
    """Return an act of a form: what cannot be done is told on the page before.

    Args:
        back: The path of the page that the form is on.
        work: Does it, and sends the reader on.
    """

    async def answer(request: Request) -> Response:
        form = await form_of(request)
        try:
            return await work(request, form)
        except NotFound as error:
            return problem(request, 404, str(error), error.hint)
        except NotAllowed as error:
            return problem(request, 403, str(error), error.hint)
        except NeedsConfirmation as error:
            return ask(request, form, back(request, form), error)
        except StoreUnavailable:
            raise
        except _CANNOT as error:
            return say_and_go(
                request, back(request, form), sentence(str(error)), kind="failed"
            )
        finally:
            await request.close()  # A file that was sent is a file of ours till then.

    return answer


def sentence(text: str) -> str:
    """Return a text of the rooms below as a sentence."""
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."


def problem(request: Request, status: int, text: str, hint: str = "") -> Response:
    """Return the page of what cannot be shown."""
    told = reader_of(request).told
    return page(
        request,
        "problem.html",
        status,
        problem=sentence(told(text)),
        hint=sentence(told(hint)),
    )


def ask(request: Request, form: Form, back: str, error: NeedsConfirmation) -> Response:
    """Ask whether it is meant so, with all that speaks against it.

    The page sends the same form again, with the field `confirm`.
    """
    kept = [(k, v) for k, v in form.fields if k not in {"csrf", CONFIRMED}]
    reader = reader_of(request)
    base = reader.base
    return page(
        request,
        "confirm.html",
        action=request.url.path.removeprefix(base),
        concerns=[sentence(reader.told(text)) for text in error.concerns],
        fields=kept,
        back=back,
    )
