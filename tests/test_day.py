"""A day with an outage through the real code: few mails, news at once, every error accounted for.

It takes a minute, and runs in an environment of its own, once; without tox it comes first (conftest.py).
"""

from __future__ import annotations

from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from django.core import mail

from tests.benchmarks import day, trace
from tests.conftest import KIND
from tests.sites import Site, wait_for
from tests.smtp import SMTPServer

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


MILLION = """
import logging, random, string, sys, time
log = logging.getLogger("shop")
chance = random.Random(7)
for number in range(1_000_000):
    word = "".join(chance.choices(string.ascii_lowercase, k=12))
    log.error(word)
    if number == 500_000:
        print(time.time(), flush=True)
        try:
            1 / 0
        except ZeroDivisionError:
            log.exception("needle")
print("done", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(KIND != "sqlite", reason="it takes minutes, and the rules are the same everywhere")
def test_a_million_words_from_one_line_hide_no_bug(site: Site, smtp: SMTPServer) -> None:
    process = site.start(MILLION)
    assert process.stdout is not None
    happened_at = float(process.stdout.readline())

    def needles() -> list[EmailMessage]:
        return [each for each in smtp.messages if "ZeroDivisionError" in each["Subject"]]

    wait_for(needles, seconds=120)
    (needle,) = needles()
    told_after = parsedate_to_datetime(needle["Date"]).timestamp() - happened_at
    assert process.stdout.readline() == "done\n"
    process.communicate("", timeout=60)
    site.manage("flush_maillogs")

    # The rule's half minute, and a second; a mail's date is a whole second; and in a storm, on a machine that
    # other tests share, an import and a flush take some.
    assert told_after <= 30 + 1 + 1 + 4
    counted = site.run(
        "from django.db.models import Sum; from django_maillog.models import Group;"
        "print(Group.objects.count(), Group.objects.aggregate(number=Sum('count'))['number'])"
    )
    assert counted.stdout.split() == ["52", "1000001"]
