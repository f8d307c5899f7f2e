"""A storm's repeats are counted in bulk: the same as if each line were read by itself."""

from __future__ import annotations

import json
import logging
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_maillog.capture.prepare import Key, encode, encode_repeat, prepare
from django_maillog.intake import reader, repeats
from django_maillog.intake.reader import Chunk
from django_maillog.spool.memory import MemorySegment

TIME = 1_790_000_000.0
Summary = dict[tuple[str, str], Any]


def record(message: str = "failed", *, at: float = TIME, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("shop", fields.pop("level", logging.ERROR), "views.py", 1, message, (), None)
    made.created = at
    vars(made).update(fields)
    return made


def repeat(message: str = "failed", *, fingerprint: str = "a", buffer: str = "mail", **fields: Any) -> bytes:
    return encode_repeat(record(message, **fields), Key(fingerprint, "cause"), buffer)


def full(fingerprint: str = "a") -> bytes:
    return encode(prepare(record(), Key(fingerprint, "cause")) | {"buffer": "mail"})


def read(lines: list[bytes]) -> Chunk:
    """What a reader makes of these lines, which end as they were written."""
    source = MemorySegment()
    for line in lines:
        source.append(line)
    chunk = reader.Reader(source, 0, 10_000).read([])
    assert chunk is not None
    assert chunk.end == sum(map(len, lines))
    assert chunk.lines == len(lines)
    return chunk


def summary(chunk: Chunk) -> Summary:
    found: Summary = {}
    for buffer, groups in chunk.buffers.items():
        for fingerprint, arrived in groups.items():
            places = {
                place: (
                    [value["message"] for value in each.kept],
                    each.fold and (each.fold.count, each.fold.first, each.fold.last, each.fold.messages),
                )
                for place, each in arrived.places.items()
            }
            totals = (arrived.count, arrived.level, arrived.first_at, arrived.last_at, arrived.hours)
            found[buffer, fingerprint] = totals, places
    return found


def one_by_one(lines: list[bytes], monkeypatch: pytest.MonkeyPatch) -> Chunk:
    with monkeypatch.context() as patch:
        patch.setattr(repeats.Repeats, "take", lambda self, raw: False)
        return read(lines)


def taken(chunk: Chunk, monkeypatch: pytest.MonkeyPatch, lines: list[bytes]) -> int:
    """How many of the lines are counted in bulk."""
    number = 0
    real = repeats.Repeats.take

    def watched(self: repeats.Repeats, raw: bytes) -> bool:
        nonlocal number
        number += (was := real(self, raw))
        return was

    with monkeypatch.context() as patch:
        patch.setattr(repeats.Repeats, "take", watched)
        assert summary(read(lines)) == summary(chunk)
    return number


def test_after_the_first_few_a_storm_is_counted_in_bulk(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [full("a"), full("b")]
    for number in range(1_000):
        lines.append(
            repeat(f"order {number % 5}", fingerprint="ab"[number % 2], at=TIME + number * 7_919 % 9_000)
        )

    chunk = read(lines)

    assert summary(chunk) == summary(one_by_one(lines, monkeypatch))
    assert chunk.records == 1_002
    assert taken(chunk, monkeypatch, lines) > 980
    messages = chunk.buffers["mail"]["a"].places[MemorySegment().host, os.getpid()].fold
    assert messages is not None
    assert sum(messages.messages.values()) == messages.count == 498


@pytest.mark.parametrize(
    "odd",
    [
        repeat(process=7),  # came from another process, over a QueueHandler
        repeat(level=logging.CRITICAL),
        repeat(buffer="other"),
        repeat('"}, {"level":40,"logger":"shop"'),
        repeat("a\nb \\ ü \u2028 \U0001f600"),
        repeat("nul \0 and a lone \ud800 surrogate"),
        repeat(at=TIME + 3_600),
        full(),
        encode(prepare(record(x={"y": 1, "level": 5}), Key("z", "cause")) | {"buffer": "mail"}),
        b'{"lost":3,"buffer":"mail","time":1}\n',
        b'{"time":"then","message":"failed",' + repeat().split(b",", 2)[2],
        b'{"time":1e400,"message":"failed",' + repeat().split(b",", 2)[2],
        b'{"time":1,"message":["failed"],' + repeat().split(b",", 2)[2],
        b'{"time":-5,"message":"failed",' + repeat().split(b",", 2)[2],
        b'{"time":99999999999,"message":"failed",' + repeat().split(b",", 2)[2],
        b'{"time":1,"message":"two"},{"time":1,"message":"values",' + repeat().split(b",", 2)[2],
        b'{"time":1,"message":"not the end,' + repeat().split(b",", 2)[2],
        b'{"message":"no time",' + repeat().split(b",", 2)[2],
        b'{"time":1,"message":"\\u0000 \\ud800 written by others",' + repeat().split(b",", 2)[2],
        b"\n",
        b"\xff\xfe\n",
        b'"level":40,"level":40}\n',
    ],
)
def test_an_odd_line_in_the_midst_counts_as_if_it_were_alone(
    odd: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [full(), *[repeat()] * 6, odd, *[repeat()] * 3, odd, repeat()]

    assert summary(read(lines)) == summary(one_by_one(lines, monkeypatch))
    assert read(lines).lost == one_by_one(lines, monkeypatch).lost


def test_lines_with_one_ending_that_come_from_two_processes_are_kept_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = [*[repeat(process=7)] * 8, *[repeat()] * 8, *[repeat(process=8)] * 8]

    assert summary(read(lines)) == summary(one_by_one(lines, monkeypatch))


def test_lines_of_another_make_are_told_apart_by_what_stands_before_their_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = [
        encode({"time": TIME, "message": "failed", "fingerprint": fingerprint, **rest, "buffer": "mail"})
        for rest in (
            {"level": 40, "logger": "shop"},
            {"level": 40, "logger": "shop", "extra": {"x": 1, "level": 5}},
        )
        for fingerprint in "abcd" * 8
    ]

    assert summary(read(lines)) == summary(one_by_one(lines, monkeypatch))


@given(
    st.lists(
        st.builds(
            repeat,
            st.sampled_from(["failed", "ä\n", '","level":40', "\\", "x" * 300]),
            fingerprint=st.sampled_from("ab"),
            at=st.sampled_from([TIME, TIME + 1, TIME + 4_000]),
            level=st.sampled_from([30, 40]),
            process=st.sampled_from([os.getpid(), 7]),
        )
        | st.builds(full, st.sampled_from("ab"))
        | st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"") + b"\n"),
        min_size=1,
        max_size=60,
    )
)
def test_bulk_makes_no_difference(lines: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeats, "TOGETHER", 4)
        bulk = summary(read(lines))
        assert bulk == summary(one_by_one(lines, patch))


def test_what_is_collected_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = repeats.Repeats.is_full

    def watched(self: repeats.Repeats) -> bool:
        sizes.append(self._size)
        return real(self)

    monkeypatch.setattr(repeats.Repeats, "is_full", watched)
    monkeypatch.setattr(repeats, "MAX_BYTES", 10_000)
    lines = [full(), *[repeat("x" * 1_000)] * 100]

    assert read(lines).records == 101
    assert 10_000 < max(sizes) < 12_000


def test_only_an_ending_that_tells_the_group_by_itself_is_learnt() -> None:
    ending = repeat().rpartition(b",")[0]
    assert repeats._is_shared(repeat().split(b'"level":', 1)[1])
    assert not repeats._is_shared(b'5},"buffer":"mail"}')  # of a dictionary within the line
    assert not repeats._is_shared(json.dumps({"buffer": "mail"}).encode()[1:])
    assert not repeats._is_shared(ending)
