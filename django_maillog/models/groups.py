"""What is broken: groups, their records, and how many came in each hour."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.utils.translation import gettext_lazy as _

from ..policy import Kind
from .batches import Batch
from .managers import WriteManager


class Group(models.Model):
    """One fingerprint in one buffer: which bug, since when, how often."""

    buffer = models.CharField(_("buffer"), max_length=200)
    fingerprint = models.CharField(_("fingerprint"), max_length=64)
    cause = models.CharField(_("cause"), max_length=64)
    # Where in the code it comes from, if that place can make problems without end.
    site = models.CharField(max_length=64, blank=True, editable=False)
    kind = models.SmallIntegerField(default=Kind.MESSAGE.value, editable=False)
    title = models.CharField(_("title"), max_length=255)
    level = models.IntegerField(_("level"))
    logger = models.CharField(_("logger"), max_length=255)
    first_seen_at = models.DateTimeField(_("first seen"))
    last_seen_at = models.DateTimeField(_("last seen"))
    first_release = models.CharField(_("first seen in release"), max_length=200, blank=True)
    last_release = models.CharField(_("last seen in release"), max_length=200, blank=True)
    count = models.BigIntegerField(_("records"), default=0)
    # When it was last new: its first record, or the one that made it a regression.
    episode_at = models.DateTimeField(_("new since"))
    episode_count = models.BigIntegerField(_("records since it was new"), default=0)
    notified_at = models.DateTimeField(_("last mailed"), null=True)
    silenced_at = models.DateTimeField(_("silenced"), null=True)
    # NULL in a silenced problem: for ever.
    silenced_until = models.DateTimeField(_("silenced until"), null=True)
    silenced_by = models.CharField(_("silenced by"), max_length=150, blank=True)
    silence_note = models.CharField(_("note"), max_length=255, blank=True)
    resolved_at = models.DateTimeField(_("resolved"), null=True)
    # No constraints on batches, here and in Record: MySQL would lock the batch's row for each row that points
    # to it, and two importers that then count on the same batch would be a deadlock.
    batch = models.ForeignKey(
        Batch,
        null=True,
        on_delete=models.SET_NULL,
        db_constraint=False,
        related_name="latest_groups",
        verbose_name=_("latest batch"),
    )
    episode_batch = models.ForeignKey(
        Batch,
        null=True,
        on_delete=models.SET_NULL,
        db_constraint=False,
        related_name="new_groups",
        verbose_name=_("batch it was new in"),
    )
    sample = models.ForeignKey(
        "Record", null=True, on_delete=models.SET_NULL, related_name="+", verbose_name=_("last full sample")
    )

    objects = WriteManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("problem")
        verbose_name_plural = _("problems")
        permissions = [("silence_group", "Can silence and resolve problems")]
        constraints = [
            models.UniqueConstraint(fields=["buffer", "fingerprint"], name="maillog_group_fingerprint")
        ]
        indexes = [
            models.Index(fields=["buffer", "cause", "last_seen_at"], name="maillog_group_cause"),
            models.Index(fields=["buffer", "site", "first_seen_at"], name="maillog_group_site"),
            models.Index(fields=["last_seen_at"], name="maillog_group_last_seen"),
            models.Index(fields=["first_seen_at"], name="maillog_group_first_seen"),
        ]

    def __str__(self) -> str:
        return self.title

    def is_silenced(self, now: datetime) -> bool:
        return self.silenced_at is not None and (self.silenced_until is None or self.silenced_until > now)


class Record(models.Model):
    """One stored occurrence, or ``count`` folded ones between ``first_at`` and ``last_at``.

    The large columns come last: SQLite reads all that stands before the ones that are asked for.
    """

    batch = models.ForeignKey(
        Batch,
        on_delete=models.CASCADE,
        related_name="records",
        db_constraint=False,
        db_index=False,
        verbose_name=_("batch"),
    )
    group = models.ForeignKey(
        Group, on_delete=models.CASCADE, related_name="records", db_index=False, verbose_name=_("problem")
    )
    folded = models.BooleanField(_("folded"), default=False)
    full = models.BooleanField(_("captured in full"), default=False)
    silenced = models.BooleanField(_("silenced"), default=False)
    first_at = models.DateTimeField(_("first"))
    last_at = models.DateTimeField(_("last"))
    count = models.BigIntegerField(_("count"), default=1)
    level = models.IntegerField(_("level"))
    logger = models.CharField(_("logger"), max_length=255)
    host = models.CharField(_("host"), max_length=255)
    process = models.BigIntegerField(_("process"))
    where = models.CharField(_("where"), max_length=500, blank=True)
    message = models.TextField(_("message"))
    # Of a folded row: distinct messages, and distinct exceptions, with their counts; '' for the rest.
    messages = models.JSONField(default=dict)
    titles = models.JSONField(default=dict)
    traceback = models.TextField(_("traceback"), blank=True)
    request = models.JSONField(_("request"), null=True)
    extra = models.JSONField(_("extra"), null=True)
    details = models.JSONField(_("details"), null=True)
    html = models.TextField(_("technical report"), blank=True)

    objects = WriteManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("record")
        verbose_name_plural = _("records")
        indexes = [
            models.Index(fields=["batch", "group", "process"], name="maillog_record_batch"),
            models.Index(fields=["group", "last_at"], name="maillog_record_group"),
            models.Index(fields=["last_at"], name="maillog_record_last"),
            models.Index(fields=["level", "last_at"], name="maillog_record_level"),
        ]

    def __str__(self) -> str:
        return self.message[:100]


class Tally(models.Model):
    """How many records of one group fell into one hour (UTC): what the charts of the admin read."""

    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="tallies", db_index=False)
    hour_at = models.DateTimeField()
    level = models.IntegerField()
    count = models.BigIntegerField()

    objects = WriteManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("tally")
        verbose_name_plural = _("tallies")
        constraints = [
            models.UniqueConstraint(fields=["group", "hour_at", "level"], name="maillog_tally_group_hour")
        ]
        indexes = [models.Index(fields=["hour_at"], name="maillog_tally_hour")]

    def __str__(self) -> str:
        return f"{self.count} in {self.hour_at:%Y-%m-%d %H}:00"
