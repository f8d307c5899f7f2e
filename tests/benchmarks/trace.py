"""A simulated day of errors from 4 hosts with 8 processes each, in order of time.

    python -m tests.benchmarks.trace [--seed N] [--no-shared-cause] > day.jsonl

outage   10:00 to 10:10, about 40 errors a second through 300 views: 300 fingerprints, one cause
drip     the same error about every 7 minutes, all day
needle   at 10:05, in the middle of the outage: one new, unrelated error
oneoffs  12 unrelated errors at random times
bot      1,500 errors of one fingerprint within three hours of the afternoon
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from typing import Any

HOSTS = 4
PROCESSES = 8  # a host
DAY = 86_400


def day(seed: int, *, shared_cause: bool) -> list[dict[str, Any]]:
    """The events; without ``shared_cause`` each fingerprint is its own cause, the worst case."""
    rng = random.Random(seed)
    events = []
    for t, fingerprint, cause in sorted(_moments(rng)):
        host = rng.randrange(HOSTS)
        events.append(
            {
                "t": t,
                "fingerprint": fingerprint,
                "cause": cause if shared_cause else fingerprint,
                "host": host,
                "process": host * PROCESSES + rng.randrange(PROCESSES),
            }
        )
    return events


def _moments(rng: random.Random) -> Iterator[tuple[float, str, str]]:
    t = 36_000.0
    while (t := t + rng.expovariate(40)) < 36_600:
        view = min(299, int(rng.expovariate(1 / 60)))  # a few views get most of the traffic
        yield t, f"view{view}", "outage"
    t = 0.0
    while (t := t + rng.expovariate(1 / 420)) < DAY:
        yield t, "drip", "drip"
    yield 36_300.0, "needle", "needle"
    for number in range(12):
        yield rng.uniform(0, DAY), f"oneoff{number}", f"oneoff{number}"
    for _ in range(1_500):
        yield rng.uniform(50_000, 60_800), "bot", "bot"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1, help="default: 1")
    parser.add_argument("--no-shared-cause", action="store_true", help="each fingerprint is its own cause")
    options = parser.parse_args()
    for event in day(options.seed, shared_cause=not options.no_shared_cause):
        print(json.dumps(event))


if __name__ == "__main__":
    main()
