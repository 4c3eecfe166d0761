"""Conversations from files: each `dialogs/*.dialog` is a case; add a file, add one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.dialog import STORE_PROPERTIES, read_dialog, run_dialog

CASES = sorted((Path(__file__).parent / "dialogs").glob("*.dialog"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
async def test_dialog(path, serve, sink):
    """The server answers as the file says; the promise is its first line."""
    dialog = read_dialog(path)
    settings = dict(dialog.settings)
    for name in STORE_PROPERTIES & settings.keys():
        setattr(sink, name.removesuffix("_bytes"), settings.pop(name))
    connect = await serve(**settings)
    talk = await connect()
    await run_dialog(dialog, talk, sink)
