"""What every page has: its headers, its files, its language, and no one unknown."""

from __future__ import annotations

import hashlib
import re

import pytest
from starlette.requests import Request

from relay.core.directory import Role
from relay.web.pages import assets
from relay.web.pages.render import environment, page, say_and_go
from tests.web.pages.conftest import person

ADA = person("Ada", Role.REP)
ROOT = person("Root", Role.ADMIN)


def test_files_are_those_of_the_manifest():
    lines = (assets.FOLDER / "MANIFEST").read_text("utf-8").splitlines()
    named = {name: digest for digest, name in (line.split() for line in lines)}
    there = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in assets.FOLDER.iterdir()
        if path.name != "MANIFEST"
    }
    assert there == named, "a file was changed: make manifest"


def test_no_template_has_a_script_or_style_of_its_own():
    names = environment().list_templates()
    assert "base.html" in names
    for name in names:
        text = environment().loader.get_source(environment(), name)[0]
        environment().get_template(name)
        wrong = r"<style|\sstyle=|\son[a-z]+=|javascript:|\|\s*safe"
        assert not re.search(wrong, text), name
        for tag in re.findall(r"<script[^>]*>", text):
            assert "src=" in tag, (name, tag)


async def test_a_stranger_sees_no_page(console):
    answer = await console.get("/")
    assert answer.status_code in {303, 401}
    assert "Mail log" not in answer.text


async def test_files_are_kept_for_a_year_under_their_digest(console):
    shown = await console.get("/", ADA)
    paths = re.findall(r'(?:href|src)="(/assets/[^"]+)"', shown.text)
    assert {path.rpartition("/")[2] for path in paths} == {
        "icon.svg",
        "relay.css",
        "relay.js",
        "htmx.min.js",
    }
    for path in paths:
        answer = await console.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    other = await console.get(f"/assets/{'0' * 16}/relay.css")
    assert other.status_code == 404
    assert (await console.get("/assets/x/MANIFEST")).status_code == 404


async def test_the_page_has_the_language_that_the_reader_wants(console):
    wanted = {"Accept-Language": "sv-SE,sv;q=0.9,en;q=0.5"}
    assert '<html lang="sv"' in (await console.get("/", ADA, headers=wanted)).text
    chosen = wanted | {"Cookie": "relay_language=fr"}
    assert '<html lang="fr"' in (await console.get("/", ADA, headers=chosen)).text
    odd = {"Accept-Language": "xx", "Cookie": "relay_language=../../etc"}
    assert '<html lang="en"' in (await console.get("/", ADA, headers=odd)).text


async def test_times_are_in_the_zone_of_the_reader(console):
    own = person("Ada", Role.REP, time_zone="Europe/Stockholm")
    assert "Central European Time" in (await console.get("/", own)).text
    theirs = {"Cookie": "relay_zone=Asia/Tokyo"}
    assert "Japan Time" in (await console.get("/", ADA, headers=theirs)).text
    for odd in ("../../etc/passwd", "%00", "Nowhere/Land"):
        broken = {"Cookie": f"relay_zone={odd}"}
        assert "Times: UTC" in (await console.get("/", ADA, headers=broken)).text


def request(**more):
    headers = [(b"cookie", more.pop("cookie").encode())] if "cookie" in more else []
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": headers,
        "server": ("relay.test", 80),
        "scheme": "http",
        "app": type("App", (), {"state": type("State", (), {})()})(),
        "state": {},
    }
    return Request(scope | more)


def test_what_was_done_is_said_once_as_text():
    sent = say_and_go(request(), "/log", "<b>3</b> mails", undo="/log/undo/7")
    assert sent.status_code == 303
    assert sent.headers["Location"] == "/log"
    cookie = sent.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    shown = page(request(cookie=cookie.partition(";")[0]), "closed.html")
    text = shown.body.decode()
    assert "&lt;b&gt;3&lt;/b&gt; mails" in text
    assert 'action="/log/undo/7"' in text
    assert 'relay_said=""' in shown.headers["Set-Cookie"]


@pytest.mark.parametrize("value", ["x", "e30=", "bnVsbA==", "W10="])
def test_a_note_that_cannot_be_read_is_forgotten(value):
    shown = page(request(cookie=f"relay_said={value}"), "closed.html")
    assert shown.status_code == 200
    assert 'class="flash' not in shown.body.decode()


def test_below_a_base_path_every_link_has_it():
    shown = page(request(root_path="/relay", path="/relay/"), "closed.html")
    for path in re.findall(r'(?:href|src|action)="(/[^"]*)"', shown.body.decode()):
        assert path.startswith("/relay/"), path
