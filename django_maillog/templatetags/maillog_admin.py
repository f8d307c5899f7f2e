"""The strip on the app's page in the admin, where only a tag can put it, and on the list of batches."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils import timezone

register = template.Library()


@register.inclusion_tag("admin/django_maillog/includes/overview.html", takes_context=True)
def maillog_overview(context: template.RequestContext) -> dict[str, Any]:
    """The overview, for those who may see batches; who filters, searches or leafs has seen it."""
    # The request says it all: not every project has the context processors for it and its user.
    user, now = context.request.user, timezone.now()
    may_view = any(user.has_perm(f"django_maillog.{name}_batch") for name in ("view", "change"))
    if not may_view or context.request.GET:
        return {}
    # Not above: Django imports the tags of all apps for any template, in a project without its admin, too.
    from ..admin.overview import overview

    may_flush = user.has_perm("django_maillog.flush_batch")
    return {"overview": overview(now), "now": now, "may_flush": may_flush}
