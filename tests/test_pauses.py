"""The thread that imports lets others have the interpreter."""

from __future__ import annotations

import threading

import pytest

from django_maillog.intake import pauses


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses made, with one after each item."""
    slept: list[float] = []
    monkeypatch.setattr(pauses, "SLICE", 0)
    monkeypatch.setattr("django_maillog.intake.pauses.time.sleep", slept.append)
    return slept


@pytest.mark.parametrize(("seconds", "expected"), [(0, 3), (60, 0)])
def test_there_is_a_pause_after_each_slice_of_work(
    monkeypatch: pytest.MonkeyPatch, slept: list[float], seconds: float, expected: int
) -> None:
    monkeypatch.setattr(pauses, "SLICE", seconds)
    found: list[str] = []

    thread = threading.Thread(target=lambda: found.extend(pauses.in_slices("abc")))
    thread.start()
    thread.join()

    assert found == ["a", "b", "c"]
    assert slept == [pauses.PAUSE] * expected


def test_a_thread_that_is_alone_gives_way_to_nobody(
    monkeypatch: pytest.MonkeyPatch, slept: list[float]
) -> None:
    monkeypatch.setattr("django_maillog.intake.pauses.threading.active_count", lambda: 1)

    assert list(pauses.in_slices("abc")) == ["a", "b", "c"]
    assert slept == []
