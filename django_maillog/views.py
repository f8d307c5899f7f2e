"""The page that a link in a mail opens: one problem, to be silenced or resolved, without the admin."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.core.cache import cache
from django.core.signing import BadSignature, SignatureExpired
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from . import links, silences
from .database_clock import database_now
from .models import Group

SILENCES = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
# Requests of one link, and wrong links of one address.
REQUESTS = 30
PER_SECONDS = 60
HEADERS = {
    # The address is the key: no page may learn it as a referrer, and no search engine keep it.
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
    "X-Frame-Options": "DENY",
}


# The link itself is the permission. A forged request would need it, so that no cookie has to be asked for,
# which the browser of a mail program may not keep.
@csrf_exempt
@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def problem(request: HttpRequest, token: str) -> HttpResponse:
    """Show how a problem stands; after a POST with ``do`` silence it (hour, day, week, end) or resolve it."""
    try:
        group = links.find(token)
    except SignatureExpired:
        return _page(request, 410, told=_("This link has expired. A newer mail has a new one."))
    except BadSignature:
        if _is_too_often("wrong", request.META.get("REMOTE_ADDR", "")):
            return _too_often(request)
        return _page(request, 404, told=_("This is no link of ours; was it cut off?"))
    if _is_too_often("link", token):
        return _too_often(request)
    if group is None:
        return _page(request, 410, told=_("This problem is not stored any more."))
    now = database_now()
    is_post = request.method == "POST"
    if is_post and _act(group, request.POST.get("do", ""), now):
        return HttpResponseRedirect(request.path, status=303, headers=HEADERS)
    return _page(request, 400 if is_post else 200, group=group, **_state(group, now))


def _act(group: Group, what: str, now: datetime) -> bool:
    """Do what a button says; False if there is no such button."""
    if what in SILENCES:
        by, note = _("whoever has the mail"), _("by a link in a mail")
        silences.silence([group], until=now + SILENCES[what], by=by, note=note, now=now)
    elif what == "end":
        silences.end_silence([group])
    elif what == "resolve":
        silences.resolve([group], now)
    else:
        return False
    return True


def _state(group: Group, now: datetime) -> dict[str, Any]:
    """How the group stands; nothing of what its records say."""
    is_resolved = group.resolved_at is not None and group.resolved_at >= group.last_seen_at
    return {
        "is_silenced": group.is_silenced(now),
        "until": group.silenced_until,
        "resolved_at": group.resolved_at if is_resolved else None,
    }


def _page(request: HttpRequest, status: int, **context: Any) -> HttpResponse:
    response = render(request, "django_maillog/problem.html", context, status=status)
    for name, value in HEADERS.items():
        response[name] = value
    return response


def _too_often(request: HttpRequest) -> HttpResponse:
    response = _page(request, 429, told=_("Too many requests: please wait a minute."))
    response["Retry-After"] = str(PER_SECONDS)
    return response


def _is_too_often(kind: str, whose: str) -> bool:
    """Count a request; whether there were too many within a minute, as far as the project's cache knows."""
    key = f"django_maillog.{kind}.{hashlib.blake2b(whose.encode(), digest_size=16).hexdigest()}"
    with suppress(Exception):  # a cache that is away must not keep anybody from silencing an outage
        cache.add(key, 0, PER_SECONDS)
        return bool(cache.incr(key) > REQUESTS)
    return False
