"""The thread that imports lets others have the interpreter."""

from __future__ import annotations

import pytest

from django_maillog.queue import pauses


@pytest.mark.parametrize(("seconds", "expected"), [(0, 3), (60, 0)])
def test_there_is_a_pause_after_each_slice_of_work(
    monkeypatch: pytest.MonkeyPatch, seconds: float, expected: int
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(pauses, "SLICE", seconds)
    monkeypatch.setattr("django_maillog.queue.pauses.time.sleep", slept.append)

    assert list(pauses.in_slices("abc")) == ["a", "b", "c"]
    assert slept == [pauses.PAUSE] * expected
