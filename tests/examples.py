"""How many examples hypothesis tries of a property."""

import os


def examples(number: int) -> int:
    """So many in CI and with tox, a quarter of them in the quick loop, of which they would take a third."""
    return number if os.environ.get("MAILLOG_TEST_ALL_EXAMPLES") else -(-number // 4)
