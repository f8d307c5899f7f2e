"""When a batch is due: the table of rules, the budget, and their promises as properties."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_maillog.policy import (
    NEWS,
    URGENT,
    Due,
    History,
    Reason,
    Rules,
    Sighting,
    crosses_step,
    due,
    due_at_exit,
    due_for_capacity,
    earliest,
    reason_for,
    state,
)

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
RULES = Rules()


def ago(**amount: float) -> datetime:
    return NOW - timedelta(**amount)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


NEW = Sighting(
    level=40,
    records=1,
    first_at=NOW,
    last_at=NOW,
    group_seen_at=None,
    cause_seen_at=None,
    count_before=0,
    mailed_at=None,
)
REPEAT = NEW._replace(
    group_seen_at=ago(minutes=5), cause_seen_at=ago(minutes=5), count_before=3, mailed_at=ago(hours=1)
)
VARIANT = NEW._replace(cause_seen_at=ago(minutes=5))
REGRESSED = REPEAT._replace(group_seen_at=ago(hours=7), cause_seen_at=ago(hours=7))
VOLUME = REPEAT._replace(count_before=9)
CRITICAL = REPEAT._replace(level=50)
QUIET = History(last_mail_at=ago(hours=2))


@pytest.mark.parametrize(
    ("sighting", "reason", "at"),
    [
        (CRITICAL, Reason.LEVEL, NOW),
        (NEW, Reason.NEW, after(30)),
        (REGRESSED, Reason.REGRESSED, after(30)),
        (VARIANT, Reason.VARIANT, after(30)),
        (VOLUME, Reason.VOLUME, after(30)),
        (REPEAT, Reason.REPEAT, after(3 * 3600)),
        (REPEAT._replace(mailed_at=ago(hours=5)), Reason.REPEAT, NOW),
        (REPEAT._replace(mailed_at=None), Reason.REPEAT, after(4 * 3600)),
    ],
)
def test_each_rule_has_its_time(sighting: Sighting, reason: Reason, at: datetime) -> None:
    assert due(RULES, QUIET, NOW, sighting) == Due(at=at, reason=reason)


def test_a_new_fingerprint_of_a_cause_that_was_away_is_new_and_a_known_one_regressed() -> None:
    gone = ago(hours=6, seconds=1)

    assert state(RULES, NEW._replace(cause_seen_at=gone)) is Reason.NEW
    assert state(RULES, REPEAT._replace(group_seen_at=gone, cause_seen_at=gone)) is Reason.REGRESSED
    assert state(RULES, REPEAT._replace(cause_seen_at=ago(hours=6))) is Reason.REPEAT


def test_a_resolved_group_regresses_at_its_next_record() -> None:
    assert reason_for(RULES, REPEAT._replace(resolved=True)) is Reason.REGRESSED


def test_noise_waits_for_the_interval_since_the_last_mail() -> None:
    history = History(last_mail_at=ago(seconds=60))

    assert due(RULES, history, NOW, VARIANT) == Due(at=after(240), reason=Reason.VARIANT)
    assert due(RULES, history, NOW, NEW) == Due(at=after(30), reason=Reason.NEW)


def test_a_silenced_group_makes_nothing_due() -> None:
    assert due(RULES, QUIET, NOW, CRITICAL._replace(silenced=True)) is None


@pytest.mark.parametrize(
    ("before", "count", "crosses"),
    [
        (0, 1, False),
        (0, 10, True),
        (8, 1, False),
        (9, 1, True),
        (10, 89, False),
        (10, 90, True),
        (99, 1, True),
        (0, 10**6, True),
    ],
)
def test_volume_steps_are_powers_of_ten(before: int, count: int, crosses: bool) -> None:
    assert crosses_step(before, before + count) is crosses


def spent(reason: Reason, number: int = 5, last: float = 60) -> History:
    """A buffer that sealed so many mails of a kind within the hour, the last of them ``last`` seconds ago."""
    return History(
        last_mail_at=ago(seconds=last),
        sealed=tuple((reason, ago(seconds=last + 400 * index)) for index in range(number)),
    )


@pytest.mark.parametrize("sighting", [CRITICAL, NEW, REGRESSED])
def test_after_a_burst_of_urgent_mails_the_next_keeps_the_interval(sighting: Sighting) -> None:
    limited = due(RULES, spent(Reason.NEW), NOW, sighting)

    assert limited is not None
    assert limited.at == after(240)
    assert due(RULES, spent(Reason.NEW, 4), NOW, sighting) == due(RULES, QUIET, NOW, sighting)


def test_noise_never_uses_up_the_budget_of_news_nor_news_that_of_noise() -> None:
    assert due(RULES, spent(Reason.REPEAT, 50), NOW, NEW) == Due(at=after(30), reason=Reason.NEW)
    assert due(RULES, spent(Reason.FLUSH, 50), NOW, NEW) == Due(at=after(30), reason=Reason.NEW)
    overdue = REPEAT._replace(mailed_at=ago(hours=9))
    assert due(RULES, spent(Reason.NEW, 50), NOW, overdue) == Due(at=NOW, reason=Reason.REPEAT)
    assert due(RULES, spent(Reason.VARIANT), NOW, overdue) == Due(at=after(240), reason=Reason.REPEAT)


def test_mails_older_than_an_hour_are_not_counted() -> None:
    old = History(last_mail_at=ago(seconds=60), sealed=((Reason.NEW, ago(hours=1)),) * 9)

    assert due(RULES, old, NOW, NEW) == Due(at=after(30), reason=Reason.NEW)


def test_a_full_batch_is_due_now_within_the_budget_of_noise() -> None:
    assert due_for_capacity(RULES, QUIET, NOW) == Due(at=NOW, reason=Reason.CAPACITY)
    assert due_for_capacity(RULES, spent(Reason.CAPACITY), NOW) == Due(at=after(240), reason=Reason.CAPACITY)


def test_at_exit_news_goes_at_once_and_repeats_stay() -> None:
    assert due_at_exit(RULES, QUIET, NOW, Reason.NEW) == Due(at=NOW, reason=Reason.NEW)
    assert due_at_exit(RULES, QUIET, NOW, Reason.REPEAT) is None


def test_at_exit_the_budget_and_the_interval_hold() -> None:
    for reason in (Reason.NEW, Reason.VARIANT, Reason.VOLUME):
        limited = due_at_exit(RULES, spent(reason), NOW, reason)
        assert limited is not None
        assert limited.at == after(240)
    recent = History(last_mail_at=ago(seconds=60))
    assert due_at_exit(RULES, recent, NOW, Reason.VARIANT) == Due(at=after(240), reason=Reason.VARIANT)
    assert due_at_exit(RULES, recent, NOW, Reason.NEW) == Due(at=NOW, reason=Reason.NEW)


def test_the_earliest_of_several_wins_and_the_stronger_of_two_at_once() -> None:
    new, variant = Due(at=after(30), reason=Reason.NEW), Due(at=after(30), reason=Reason.VARIANT)

    assert earliest([variant, None, new, Due(at=after(31), reason=Reason.LEVEL)]) == new
    assert earliest([None, None]) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("capacity", 0),
        ("capacity", True),
        ("capacity", 2.5),
        ("burst", -1),
        ("group_wait", -1),
        ("group_interval", "300"),
        ("repeat_interval", float("nan")),
        ("resolve_timeout", float("inf")),
    ],
)
def test_a_rule_out_of_range_is_an_error_that_names_it(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be .*, not {value!r}\."):
        Rules(**{name: value})


# Promise 6, as properties


moments = st.floats(0, 8 * 3600).map(lambda seconds: NOW - timedelta(seconds=seconds))
reasons = st.sampled_from(list(Reason))


@st.composite
def histories(draw: st.DrawFn) -> History:
    sealed = sorted(
        draw(st.lists(st.tuples(reasons, moments), max_size=30)), key=lambda mail: mail[1], reverse=True
    )
    return History(last_mail_at=sealed[0][1] if sealed else None, sealed=tuple(sealed))


@st.composite
def sightings(draw: st.DrawFn) -> Sighting:
    group_seen_at = draw(st.none() | moments)
    cause_seen_at = draw(st.none() | moments) if group_seen_at is None else max(group_seen_at, draw(moments))
    return Sighting(
        level=draw(st.sampled_from([30, 40, 50])),
        records=draw(st.integers(1, 10**6)),
        first_at=NOW,
        last_at=NOW,
        group_seen_at=group_seen_at,
        cause_seen_at=cause_seen_at,
        count_before=draw(st.integers(0, 10**6)) if group_seen_at else 0,
        mailed_at=draw(st.none() | moments),
        resolved=draw(st.booleans()),
    )


@given(histories(), sightings())
def test_nothing_is_due_in_the_past_and_nothing_waits_for_ever(history: History, sighting: Sighting) -> None:
    planned = due(RULES, history, NOW, sighting)

    assert planned is not None
    assert NOW <= planned.at <= NOW + timedelta(seconds=RULES.repeat_interval)


@given(histories(), sightings())
def test_a_new_cause_is_mailed_within_group_wait_unless_a_burst_went_before(
    history: History, sighting: Sighting
) -> None:
    planned = due(RULES, history, NOW, sighting._replace(cause_seen_at=None, group_seen_at=None, level=40))
    urgent = sum(1 for reason, at in history.sealed if reason in URGENT and at > ago(hours=1))

    assert planned is not None
    limit = RULES.group_wait if urgent < RULES.burst else max(RULES.group_wait, RULES.group_interval)
    assert planned.at <= after(limit)


@given(st.lists(st.tuples(st.floats(0, 400), sightings()), min_size=1, max_size=120))
def test_the_budget_holds_for_any_sequence(steps: list[tuple[float, Sighting]]) -> None:
    """Whatever comes, after ``burst`` mails of a kind within an hour the next keeps its distance."""
    sealed: list[tuple[Reason, datetime]] = []
    planned: Due | None = None
    now = NOW
    for pause, sighting in steps:
        now += timedelta(seconds=pause)
        if planned is not None and planned.at <= now:
            _check_budget(sealed, planned)
            sealed.append((planned.reason, planned.at))
            planned = None
        history = History(last_mail_at=sealed[-1][1] if sealed else None, sealed=tuple(reversed(sealed)))
        planned = earliest([planned, due(RULES, history, now, sighting)])


def _check_budget(sealed: list[tuple[Reason, datetime]], mail: Due) -> None:
    kind = URGENT if mail.reason in URGENT else frozenset(Reason) - URGENT
    # The rules look back from the record that made the mail due, at most group_wait before it.
    within = [at for reason, at in sealed if reason in kind and at > mail.at - timedelta(hours=1)]
    if len(within) >= RULES.burst and sealed:
        assert mail.at - sealed[-1][1] >= timedelta(seconds=RULES.group_interval)


def test_news_is_what_the_design_calls_news() -> None:
    assert frozenset(Reason) - {Reason.REPEAT, Reason.FLUSH, Reason.OUTAGE} == NEWS
