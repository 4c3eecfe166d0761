"""Rates, and the table of limits."""

from __future__ import annotations

import resource

import pytest

from relay.config import SMTPSettings
from relay.smtp import limits
from relay.smtp.limits import LIMITS, Guesses, Rate, allow_files


class Watch:
    """A clock that is moved by hand."""

    def __init__(self):
        self.at = 1000.0

    def __call__(self):
        return self.at


def took(rate, key, times):
    """Return how many of so many tries were let through."""
    count = 0
    for _ in range(times):
        if rate.allows(key):
            rate.count(key)
            count += 1
    return count


@pytest.mark.parametrize("per_minute", [1, 2, 7, 60, 1000, 600_000])
def test_a_minute_at_once_then_the_rate(per_minute):
    """Who was quiet may send a minute's worth at once, and then as the rate says."""
    watch = Watch()
    rate = Rate(per_minute, watch)
    most = min(per_minute, 2000)
    assert took(rate, "a", 2000) == most
    if per_minute > 2000:
        return
    assert not rate.allows("a")
    watch.at += 60 / per_minute
    assert took(rate, "a", 10) == 1
    watch.at += 600
    assert took(rate, "a", 2000) == most


def test_keys_have_their_own():
    """One sender's haste costs no other."""
    rate = Rate(1, Watch())
    assert took(rate, "a", 5) == 1
    assert took(rate, 2, 5) == 1


def test_what_was_under_way_counts():
    """Mail beyond the rate that could not be stopped is paid for later."""
    watch = Watch()
    rate = Rate(60, watch)
    for _ in range(70):
        rate.count("a")
    watch.at += 10
    assert not rate.allows("a")
    watch.at += 1
    assert rate.allows("a")


def test_memory_is_bounded(monkeypatch):
    """Full buckets are forgotten first; who is at the limit is remembered."""
    monkeypatch.setattr(limits, "_MOST_KEYS", 100)
    watch = Watch()
    rate = Rate(1, watch)
    for key in range(50):
        rate.count(key)
    watch.at += 61
    rate.count("busy")
    for key in range(1000):
        watch.at += 0.001
        rate.count(1000 + key)
        rate.count("busy")
        assert len(rate._full_at) <= 101
    assert not rate.allows("busy")


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.key)
def test_limits_are_settings(limit):
    """Each limit has a key with a default and a sentence, and a refusing reply."""
    field = SMTPSettings.model_fields[limit.key]
    assert field.description
    assert field.default is not None
    assert limit.reply.code >= 400


def test_no_stranger_can_use_up_the_defaults():
    """Neither one address nor one network of strangers holds a good part of all."""
    settings = SMTPSettings()
    assert settings.max_connections_per_peer * 20 <= settings.max_connections
    assert settings.max_connections_per_network * 5 <= settings.max_connections
    assert 60 <= settings.max_mails_per_minute_per_peer <= 1000
    assert 60 <= settings.max_mails_per_minute_per_user <= 1000


@pytest.mark.parametrize(
    ("soft", "hard", "set_to"),
    [(1024, 4096, 2200), (1024, 1500, 1500), (5000, 5000, None), (-1, -1, None)],
)
def test_open_files(soft, hard, set_to, monkeypatch):
    """The limit of open files is raised to what the sessions need, where it may be."""
    calls = []
    monkeypatch.setattr(resource, "getrlimit", lambda what: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda what, to: calls.append(to))
    allow_files(1000)
    assert calls == ([] if set_to is None else [(set_to, hard)])


# ---------------------------------------------------------------- guesses


def test_guesses_wait_ever_longer_and_end_the_session():
    """Three are free; then the wait doubles up to ten seconds, until the last."""
    guesses = Guesses(10, Watch())
    counts = [guesses.count("a") for _ in range(12)]
    assert counts == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10]
    assert [guesses.delay_s(count) for count in counts[:10]] == [
        *(0, 0, 0, 0.5, 1, 2, 4, 8, 10, 10)
    ]
    assert [guesses.is_last(count) for count in (9, 10)] == [False, True]
    assert guesses.count("b") == 1, "each peer for itself"
    assert guesses.delay_s(10**6) == 10


def test_a_guess_is_forgotten_each_minute():
    """A peer that was sent away is heard again, and is slow until it behaves."""
    watch = Watch()
    guesses = Guesses(5, watch)
    for _ in range(20):
        guesses.count("a")
    watch.at += 120
    assert guesses.count("a") == 4
    watch.at += 3600
    assert guesses.count("a") == 1


def test_guesses_need_bounded_memory(monkeypatch):
    """Ever new peers push out those who guessed least, never the worst."""
    monkeypatch.setattr(limits, "_MOST_KEYS", 10)
    watch = Watch()
    guesses = Guesses(5, watch)
    for _ in range(5):
        guesses.count("worst")
    for number in range(100):
        guesses.count(f"peer {number}")
    assert len(guesses._forgotten_at) <= 10
    assert guesses.count("worst") == 5
    watch.at += 3600
    for number in range(10):
        guesses.count(f"later {number}")
    assert len(guesses._forgotten_at) <= 10
