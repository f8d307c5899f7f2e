"""For django-health-check, 4 and later.

``HealthCheckView.as_view(checks=["django_maillog.health_check.MaillogHealthCheck"])``
"""

from __future__ import annotations

import dataclasses

from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable, ServiceWarning

from . import health


@dataclasses.dataclass
class MaillogHealthCheck(HealthCheck):  # type: ignore[misc]  # it has no types
    """Whether errors reach people; ``max_age``: seconds that anything due may wait."""

    max_age: float = health.MAX_AGE_SECONDS

    def run(self) -> None:
        """Raise ServiceUnavailable or ServiceWarning with the worst reason."""
        found = health.check(self.max_age)
        for level, reason in found.reasons[:1]:
            raise (ServiceUnavailable if level is health.Level.CRITICAL else ServiceWarning)(reason)
