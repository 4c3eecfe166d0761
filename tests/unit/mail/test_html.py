"""HTML as text."""

from __future__ import annotations

import pytest

from relay.mail.html import html_to_text
from tests.fakes.cpu import assert_linear


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("plain", "plain"),
        ("a  b\n c", "a b c"),
        ("<b>a</b> <i>b</i>c", "a bc"),
        ("a<b> b</b>", "a b"),
        ("a <b> b</b>", "a b"),
        ("a<br>b<br/><br />c", "a\nb\n\nc"),
        ("<p>a</p><p>b</p>", "a\n\nb"),
        ("<p>a<p>b", "a\n\nb"),
        ("<div>a</div><div>b</div>", "a\nb"),
        ("a<div>b</div>c", "a\nb\nc"),
        ("<h1>T</h1>text", "T\n\ntext"),
        ("<ul><li>a</li><li><p>b</p></li></ul>c", "- a\n- b\n\nc"),
        ("<ul><li></li></ul>c", "c"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c<td>d</table>", "a\tb\nc\td"),
        ("<table><tr><td>a</td> <td> b</td></tr></table>", "a\tb"),
        ("a<hr>b", "a\n\n---\n\nb"),
        ("<pre>a\n  b\n\nc</pre>d", "a\n  b\n\nc\n\nd"),
        ("</pre>a  b", "a b"),
        ("&lt;b&gt; &amp; &auml; &#8364; &nosuch; &", "<b> & ä € &nosuch; &"),
        ("a&nbsp;&nbsp;b", "a b"),
        ("<head><title>T</title></head><body>b</body>", "b"),
        ("<title>T</title>b", "b"),
        ("<style>p{}</style>a<SCRIPT>if (a<b)</SCRIPT >b", "ab"),
        ("a<script>x", "a"),
        ("a<style>x", "a"),
        ("<head>shown", "shown"),
        ("<svg/>a", "a"),
        ("<svg><text>x</text></svg>a", "a"),
        ("<!-- x -->a<!-->b<!DOCTYPE html>c<?php x ?>d", "abcd"),
        ("a<!-- never closed > b", "a b"),
        ("a<!-- never closed", "a"),
        ("a</ x>b", "ab"),
        ("a < b > c <3", "a < b > c <3"),
        ('<a href="x>y">a</a>', "a"),
        ("<a title='it>s'>a</a>", "a"),
        ('<a href="x>a</a>b', "ab"),
        ('a<a href="x', "a"),
        ("a<a href", "a"),
        ("a<b", "a"),
        ("a<", "a<"),
        ("<p>a</p>\n\n\n<p>b</p>", "a\n\nb"),
        ("<br><br>a<br><br><br><br>b<br>", "a\n\nb"),
        ("\u200ca\u200b b", "a b"),
        ("<P>A</P><DIV>B</DIV>", "A\n\nB"),
        ("<blockquote>a</blockquote>b", "a\n\nb"),
        ("<o:p>a</o:p>", "a"),
        ("&#0;&#xD800;", "\ufffd\ufffd"),
    ],
)
def test_text(html: str, text: str) -> None:
    """Blocks become lines, tags go, entities are read."""
    assert html_to_text(html) == text


@pytest.mark.parametrize(
    "piece",
    [
        "<",
        ">",
        "&",
        "<a",
        "<a ",
        "<a '",
        '<a "',
        '<a b="',
        "<!--",
        "<!--a>",
        "<!",
        "</",
        "<script>",
        "<head>",
        "<svg>",
        "<svg/>",
        "<div>",
        "</div>",
        "<pre>\n",
        "<li>",
        "<table><tr><td>",
        "<p>a",
        "&#",
        "&a",
        " <b> ",
        "<style></style",
        "<xmp>",
        "<a/",
    ],
)
def test_time_is_linear(piece: str) -> None:
    """No piece, repeated to 300 KB, takes longer than its length does."""
    assert_linear(lambda size: html_to_text(piece * (size // len(piece))), 300_000)
