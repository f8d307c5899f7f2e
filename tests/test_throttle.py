"""One warning for what fails again and again."""

from __future__ import annotations

import pytest

from django_maillog.throttle import Throttle


def test_the_first_failure_is_told_then_one_each_five_minutes_with_a_count(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0  # a fraction's rounding errors would add up to less than five minutes
    monkeypatch.setattr("django_maillog.throttle.time.monotonic", lambda: now)
    failures = Throttle()
    for _second in range(301):
        failures.warn("it fails: error=%s", "away")
        now += 1

    assert [record.getMessage() for record in caplog.records] == [
        "it fails: error=away",
        "it fails: error=away times=301",
    ]


def test_after_a_success_the_next_failure_is_a_first_one(caplog: pytest.LogCaptureFixture) -> None:
    failures = Throttle()
    failures.warn("it fails")
    failures.reset()
    failures.warn("it fails")

    assert [record.getMessage() for record in caplog.records] == ["it fails", "it fails"]
