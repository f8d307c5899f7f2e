"""The tables: what was recorded, what is broken, and which mail says so."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypeVar

from django.db import models, router
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from .policy import Kind

Row = TypeVar("Row", bound=models.Model)

# A stored time further ahead than anything the rules can ask for means that the clock was set back.
CLOCK_SKEW = timedelta(minutes=5)
# A process imports every five minutes at least, a cron job perhaps each night.
HOST_SILENT_AFTER = timedelta(days=1)


class Status(models.TextChoices):
    """The life of a batch: open, ready, sending, sent; or failed, or cancelled by a person."""

    OPEN = "open", _("open")
    READY = "ready", _("ready")
    SENDING = "sending", _("sending")
    SENT = "sent", _("sent")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


class Outcome(models.TextChoices):
    """How one try to deliver a batch ended."""

    SENT = "sent", _("sent")
    RETRY = "retry", _("to be tried again")
    FAILED = "failed", _("failed for good")
    # The mail backend took the mail and said that it sent none: it is not tried again by itself.
    UNCONFIRMED = "unconfirmed", _("not confirmed by the mail backend")
    # An attempt begins as this, and stays so if its process is killed.
    UNKNOWN = "unknown", _("cut off")


class WriteManager(models.Manager[Row]):
    """Reads where is written: a replica may not have yet what a flush has just decided."""

    def get_queryset(self) -> models.QuerySet[Row]:
        return super().get_queryset().using(self._db or router.db_for_write(self.model))


class BatchQuerySet(models.QuerySet["Batch"]):
    """Questions about batches; the time is always an argument."""

    def open(self) -> BatchQuerySet:
        return self.filter(status=Status.OPEN)

    def deliverable(self, now: datetime) -> BatchQuerySet:
        """Sealed batches whose next attempt has come, and those whose claim ran out."""
        return self.filter(
            Q(status=Status.READY, next_attempt_at__lte=now)
            | Q(status=Status.SENDING, claimed_until__lte=now)
        )

    def holding_back(self) -> BatchQuerySet:
        """Batches that were tried, that no server was given, and that wait to be tried again.

        While a buffer has one, its open batch is not sealed but grows (design, section 9).
        """
        tried = Q(status=Status.READY, attempts__gt=0) | Q(status=Status.SENDING, attempts__gt=1)
        return self.filter(tried, handed_over=False, record_count__gt=0)

    def waiting(self) -> BatchQuerySet:
        """Sealed batches that were tried and wait to be tried again."""
        return self.filter(status=Status.READY, attempts__gt=0)

    def undelivered(self) -> BatchQuerySet:
        """Every batch that still has to go out: open, ready or being sent."""
        return self.filter(status__in=[Status.OPEN, Status.READY, Status.SENDING])

    def finished_before(self, moment: datetime) -> BatchQuerySet:
        """Sent or cancelled batches old enough to be pruned."""
        return self.filter(status__in=[Status.SENT, Status.CANCELLED], opened_at__lt=moment)

    def failed_before(self, moment: datetime) -> BatchQuerySet:
        """Failed batches that nobody cared for so long."""
        return self.filter(status=Status.FAILED, opened_at__lt=moment)


BatchManager = WriteManager.from_queryset(BatchQuerySet)


class Batch(models.Model):
    """One mail to be, or that was."""

    buffer = models.CharField(_("buffer"), max_length=200)
    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.OPEN)
    open_for = models.CharField(
        max_length=200,
        null=True,
        editable=False,
        help_text=_("The buffer's name while the batch is open, else NULL."),
    )
    opened_at = models.DateTimeField(_("opened"))
    due_at = models.DateTimeField(_("due"), null=True)
    reason = models.CharField(_("reason"), max_length=10, blank=True)
    sealed_at = models.DateTimeField(_("sealed"), null=True)
    first_at = models.DateTimeField(_("first record"), null=True)
    last_at = models.DateTimeField(_("last record"), null=True)
    record_count = models.BigIntegerField(_("records"), default=0)
    silenced_count = models.BigIntegerField(_("silenced records"), default=0)
    lost_count = models.BigIntegerField(_("records that were only counted"), default=0)
    group_count = models.IntegerField(_("groups"), default=0)
    level = models.IntegerField(_("highest level"), default=0)
    recipients = models.JSONField(_("recipients"), default=list)
    sender = models.CharField(_("sender"), max_length=320, blank=True)
    using = models.CharField(_("mailer"), max_length=200, blank=True)
    rules = models.JSONField(
        default=dict,
        editable=False,
        help_text=_("When it is due, as its handler says: for processes that have no such handler."),
    )
    headers = models.JSONField(default=dict, editable=False)
    subject = models.CharField(_("subject"), max_length=200, blank=True)
    message_id = models.CharField(_("Message-ID"), max_length=255, blank=True)
    attempts = models.IntegerField(_("attempts"), default=0)
    handed_over = models.BooleanField(
        default=False, help_text=_("A mail server has been given this mail, and may have it.")
    )
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True)
    give_up_at = models.DateTimeField(
        _("given up"), null=True, help_text=_("A try that fails after this time is the last one.")
    )
    claimed_until = models.DateTimeField(_("claimed until"), null=True)
    claimed_by = models.CharField(
        max_length=32,
        blank=True,
        editable=False,
        help_text=_("The claim's token: only the process that holds it may record the outcome."),
    )
    sent_at = models.DateTimeField(_("sent"), null=True)
    last_error = models.TextField(_("last error"), blank=True)
    text = models.TextField(_("text"), blank=True)
    html = models.TextField(_("HTML"), blank=True)

    objects = BatchManager()

    class Meta:
        verbose_name = _("batch")
        verbose_name_plural = _("batches")
        permissions = [("flush_batch", "Can flush, retry, cancel and send again")]
        constraints = [models.UniqueConstraint(fields=["open_for"], name="maillog_batch_open_for")]
        indexes = [
            models.Index(fields=["status", "next_attempt_at"], name="maillog_batch_status"),
            models.Index(fields=["status", "opened_at"], name="maillog_batch_finished"),
            models.Index(fields=["buffer", "sealed_at"], name="maillog_batch_buffer"),
            models.Index(fields=["opened_at"], name="maillog_batch_opened"),
            models.Index(fields=["status", "sent_at"], name="maillog_batch_sent"),
        ]

    def __str__(self) -> str:
        return self.subject or f"{self.buffer} #{self.pk}"


class Group(models.Model):
    """One fingerprint in one buffer: which bug, since when, how often."""

    buffer = models.CharField(_("buffer"), max_length=200)
    fingerprint = models.CharField(_("fingerprint"), max_length=64)
    cause = models.CharField(_("cause"), max_length=64)
    site = models.CharField(
        max_length=64,
        blank=True,
        editable=False,
        help_text=_("Where in the code it comes from, if that place can make groups without end."),
    )
    kind = models.SmallIntegerField(default=Kind.MESSAGE.value, editable=False)
    title = models.CharField(_("title"), max_length=255)
    level = models.IntegerField(_("level"))
    logger = models.CharField(_("logger"), max_length=255)
    first_seen_at = models.DateTimeField(_("first seen"))
    last_seen_at = models.DateTimeField(_("last seen"))
    first_release = models.CharField(_("first seen in release"), max_length=200, blank=True)
    last_release = models.CharField(_("last seen in release"), max_length=200, blank=True)
    count = models.BigIntegerField(_("records"), default=0)
    episode_at = models.DateTimeField(
        _("new since"),
        help_text=_("When it was last new: its first record, or the one that made it a regression."),
    )
    episode_count = models.BigIntegerField(_("records since it was new"), default=0)
    notified_at = models.DateTimeField(_("last mailed"), null=True)
    silenced_at = models.DateTimeField(_("silenced"), null=True)
    silenced_until = models.DateTimeField(
        _("silenced until"), null=True, help_text=_("NULL in a silenced group: for ever.")
    )
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
        verbose_name = _("group")
        verbose_name_plural = _("groups")
        permissions = [("silence_group", "Can silence and resolve groups")]
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
        Group, on_delete=models.CASCADE, related_name="records", db_index=False, verbose_name=_("group")
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
    messages = models.JSONField(
        default=dict, help_text=_("Of a folded row: distinct messages and their counts, '' for the rest.")
    )
    titles = models.JSONField(
        default=dict, help_text=_("Of a folded row: distinct exceptions and their counts, '' for the rest.")
    )
    traceback = models.TextField(_("traceback"), blank=True)
    request = models.JSONField(_("request"), null=True)
    extra = models.JSONField(_("extra"), null=True)
    details = models.JSONField(_("details"), null=True)
    html = models.TextField(_("technical report"), blank=True)

    objects = WriteManager()

    class Meta:
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
        verbose_name = _("tally")
        verbose_name_plural = _("tallies")
        constraints = [
            models.UniqueConstraint(fields=["group", "hour_at", "level"], name="maillog_tally_group_hour")
        ]
        indexes = [models.Index(fields=["hour_at"], name="maillog_tally_hour")]

    def __str__(self) -> str:
        return f"{self.count} in {self.hour_at:%Y-%m-%d %H}:00"


class Attempt(models.Model):
    """One try to deliver a batch."""

    batch = models.ForeignKey(
        Batch, on_delete=models.CASCADE, related_name="attempt_set", verbose_name=_("batch")
    )
    tried_at = models.DateTimeField(_("tried"))
    outcome = models.CharField(_("outcome"), max_length=12, choices=Outcome.choices)
    error = models.TextField(_("error"), blank=True)

    objects = WriteManager()

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")

    def __str__(self) -> str:
        return f"{self.outcome} {self.tried_at:%Y-%m-%d %H:%M:%S}"


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
        verbose_name = _("silence")
        verbose_name_plural = _("silences")
        indexes = [models.Index(fields=["ends_at"], name="maillog_silence_ends")]

    def __str__(self) -> str:
        where = f"buffer {self.buffer!r}" if self.buffer else "every buffer"
        return f"{self.match!r} in {where}" if self.match else where.capitalize()


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
        verbose_name = _("segment")
        verbose_name_plural = _("segments")

    def __str__(self) -> str:
        return self.id
