"""How many examples hypothesis tries of a property."""

import os


def examples(number: int) -> int:
    """So many with tox (in CI with the newest Python alone), and a quarter of them elsewhere."""
    return number if os.environ.get("MAILLOG_TEST_ALL_EXAMPLES") else -(-number // 4)
