"""Which keys name a secret: the project's exception reporter filter has its say, then the words here."""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import unquote_plus

from django.views.debug import SafeExceptionReporterFilter, get_exception_reporter_filter

STARS = SafeExceptionReporterFilter.cleansed_substitute
_PROBE = "-"
# Characters of a key that are looked at; three stand for one where it is percent-encoded.
_KEY_LIMIT = 200
_ENCODED_KEY_LIMIT = 3 * _KEY_LIMIT

# In any text: these are followed by a secret, whatever is between.
_STRONG = re.compile(
    r"passw|passphrase|passcode|pwd|secret(?!ar)|token(?!i[sz])|credential|authori[sz]ation|bearer"
    r"|cookies?(?![a-z])|csrf|xsrf|jwt|cvv|(?<![a-z])cvc|sess(?:ion)?[_-]?id|(?<![a-z])otps?(?![a-z])"
    r"|(?:api|private|access|account|auth|encryption|master|session|shared|signing|(?<=x-)[a-z-]+)"
    r"[_ -]?keys?(?![a-z])"
)
# These are ordinary words, too: of a text's parts that name something ("pin=", "'pin':", "<pin>") only.
_WEAK = re.compile(
    r"(?<![a-z])(?:auth|card|pass|pin|session|sid|sig|signature|totp)s?(?![a-z])"
    r"|pin_?code|card_?(?:holder|n(?:o|um|umber))(?![a-z])|(?:credit|debit)_?card"
)
# What is counted or described of a secret is none ("max_tokens: 4096", "token_type").
_ABOUT = re.compile(
    r"(?:_|-)(?:age|count|errors?|(?:expir|valid)\w{0,30}|field|len(?:gth)?|limit|names?|policy|ttl|types?|used)$"
    r"|^(?:max|min|num|total|prompt|completion)_tokens$"
)
# Words that Django's own filter finds a secret's name in ("author" has AUTH); without it they are only words.
_INNOCENT = re.compile(
    r"authors?(?!i[sz])|authority|authentic(?!at)|tokeni[sz]\w*|secretar(?:y|ies|iat)|keyboards?|keywords?|keynote"
    r"|keyframes?|monkeys?|turkeys?|hockey|jockey|whiskey|donkeys?|passeng\w*|passag\w*|passiv\w*|passion\w*"
    r"|passing|passed|compass|bypass(?:ed)?|capitals?|capita(?![a-z])|rapid\w*|therap\w*",
    re.IGNORECASE,
)
# What any of these is found by, in a text in lower case, to the name's end.
WORDS = re.compile(
    r"(?:a(?:uth|pi)|bearer|c(?:ard|ookie|redential|srf|v[cv])|jwt|key|otp|p(?:ass|in|wd)|s(?:e(?:cret|ss)|i[dg])|to(?:ken|tp)"
    r"|xsrf)[\w%+-]*+"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Keys:
    """Which keys are secret in one record, as the filter of its request says."""

    def __init__(self, request: Any) -> None:
        self.request = request

    @cached_property
    def _filter(self) -> Any:
        return _filter_of(self.request)

    @property
    def are_djangos(self) -> bool:
        """Whether the project leaves it to Django which names are secret."""
        return type(self._filter) is SafeExceptionReporterFilter

    def hides(self, key: str) -> bool:
        """Whether what a mapping, a header or a parameter holds under this key is secret."""
        return is_secret(key[:_ENCODED_KEY_LIMIT]) or self._is_filtered(key)

    def hides_in_text(self, key: str, *, named: bool) -> bool:
        """Whether a text that has this word before a separator goes on with a secret.

        ``named`` says that it can only be a name there; a colon may also follow an ordinary word.
        """
        start = key[:_ENCODED_KEY_LIMIT]
        names_secret = is_secret(start) and not _ABOUT.search(key.lower())
        if self.are_djangos:
            # Django's own patterns ("KEY") are for settings, and find too much in a text.
            return names_secret and (named or is_strong(start))
        return names_secret or self._is_filtered(key)

    def value(self, key: str, value: Any) -> Any:
        """Return what may be shown of a plain value: a project's filter may say more than stars."""
        if self.hides(key):
            return self._filtered(key, value) if self._is_filtered(key) and not self.are_djangos else STARS
        return value

    def _is_filtered(self, key: str) -> bool:
        asked = _INNOCENT.sub("", key) if self.are_djangos else key
        return bool(self._filtered(asked, _PROBE) != _PROBE)

    def _filtered(self, key: str, value: Any) -> Any:
        try:
            return self._filter.cleanse_setting(key, value)
        except Exception:  # the project's own code, or there is no filter
            return STARS


def _filter_of(request: Any) -> Any:
    try:
        return get_exception_reporter_filter(request)
    except Exception:  # settings that are incomplete, a module of the project's
        return None


def uses_djangos_filter(request: Any) -> bool:
    """Whether Django's own filter is what says which of a request's names are secret."""
    return type(_filter_of(request)) is SafeExceptionReporterFilter


@lru_cache(maxsize=2_000)
def is_secret(key: str) -> bool:
    """Whether a word in the key names a secret."""
    return is_strong(key) or bool(_WEAK.search(_words(key)))


def is_strong(key: str) -> bool:
    """Whether it names one and is no ordinary word."""
    return bool(_STRONG.search(_words(key)))


def _words(key: str) -> str:
    if "%" in key:
        key = unquote_plus(key)
    return _CAMEL.sub("_", key[:_KEY_LIMIT]).lower()
