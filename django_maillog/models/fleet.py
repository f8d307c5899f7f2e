"""The hosts that import, the segments of their spools, and what is silenced everywhere for some time."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .managers import WriteManager

# A process imports every five minutes at least, a cron job perhaps each night.
HOST_SILENT_AFTER = timedelta(days=1)


class SilenceQuerySet(models.QuerySet["Silence"]):
    """Questions about silences; the times are always arguments."""

    def active(self, now: datetime) -> SilenceQuerySet:
        return self.filter(starts_at__lte=now, ends_at__gt=now).order_by("ends_at", "pk")

    def between(self, first: datetime, last: datetime) -> SilenceQuerySet:
        """Those that hold at some moment between two times."""
        return self.filter(starts_at__lte=last, ends_at__gte=first).order_by("starts_at", "pk")


SilenceManager = WriteManager.from_queryset(SilenceQuerySet)


class Silence(models.Model):
    """Some time, for example of a deploy, in which a buffer or what matches is counted and not mailed."""

    buffer = models.CharField(_("buffer"), max_length=200, blank=True)
    match = models.CharField(_("text"), max_length=200, blank=True)
    starts_at = models.DateTimeField(_("starts"))
    ends_at = models.DateTimeField(_("ends"))
    note = models.CharField(_("note"), max_length=255, blank=True)

    objects = SilenceManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("silence")
        verbose_name_plural = _("silences")
        indexes = [models.Index(fields=["ends_at"], name="maillog_silence_ends")]

    def __str__(self) -> str:
        facts = {"buffer": self.buffer, "text": self.match}
        if self.match:
            return (
                gettext("“%(text)s” in buffer %(buffer)s") % facts
                if self.buffer
                else gettext("“%(text)s” in every buffer") % facts
            )
        return gettext("Buffer %(buffer)s") % facts if self.buffer else gettext("Every buffer")


class HostQuerySet(models.QuerySet["Host"]):
    """Questions about hosts; the time is always an argument."""

    def silent(self, now: datetime) -> HostQuerySet:
        """Hosts that have not imported for a day; what waits there, nobody can know."""
        return self.filter(imported_at__lt=now - HOST_SILENT_AFTER)


HostManager = WriteManager.from_queryset(HostQuerySet)


class Host(models.Model):
    """One host that imports."""

    name = models.CharField(_("name"), max_length=255, primary_key=True)
    imported_at = models.DateTimeField(_("last import"))

    objects = HostManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("host")
        verbose_name_plural = _("hosts")

    def __str__(self) -> str:
        return self.name


class Segment(models.Model):
    """One spool segment, and the byte up to which it is imported."""

    id = models.CharField(max_length=32, primary_key=True)
    host = models.CharField(_("host"), max_length=255)
    process = models.BigIntegerField(_("process"))
    offset = models.BigIntegerField(_("offset"), default=0)
    seen_at = models.DateTimeField(_("last import"))
    finished_at = models.DateTimeField(_("finished"), null=True)

    objects = WriteManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("segment")
        verbose_name_plural = _("segments")

    def __str__(self) -> str:
        return self.id
