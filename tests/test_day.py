"""A day with an outage through the real code: few mails, news at once, every error accounted for.

It takes a minute, and runs in an environment of its own, once; without tox it comes first (conftest.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core import mail

from tests.benchmarks import day, trace
from tests.conftest import KIND

# buffer, mails a day, most in an hour, seconds until the needle's mail
BOUNDS = (("shared", 28, 8, 31), ("apart", 32, 10, 150))


@pytest.mark.skipif(KIND != "sqlite", reason="it takes a minute, and the rules are the same everywhere")
@pytest.mark.django_db(transaction=True)
def test_a_day_is_told_in_few_mails(spool_dir: Path) -> None:
    results = day.run(
        {
            "shared": trace.day(5, shared_cause=True),
            "apart": trace.day(5, shared_cause=False),
        }
    )

    assert sum(result.mails for result in results.values()) == len(mail.outbox)
    for buffer, mails, in_an_hour, needle_after in BOUNDS:
        result = results[buffer]
        assert 15 <= result.mails <= mails
        assert result.most_in_an_hour <= in_an_hour
        assert result.needle_after is not None
        assert 0 < result.needle_after <= needle_after
        assert result.events > 20_000
        assert result.reported + result.pending == result.events


def test_a_trace_with_a_line_that_is_no_event_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text('{"t": 1, "fingerprint": "a", "cause": "a", "host": 0, "process": 0}\n{"t": "soon"}\n')

    with pytest.raises(SystemExit, match=r"trace\.jsonl, line 2: not an event"):
        list(day.read_trace(str(path)))
