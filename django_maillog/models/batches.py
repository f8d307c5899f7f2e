"""Mails that are to be or were, and each try to deliver one."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from .managers import WriteManager

# A stored time further ahead than anything the rules can ask for means that the clock was set back.
CLOCK_SKEW = timedelta(minutes=5)


class Status(models.TextChoices):
    """The life of a batch: open, ready, sending, sent; or failed, or cancelled by a person."""

    OPEN = "open", _("open")
    READY = "ready", _("ready")
    SENDING = "sending", _("sending")
    SENT = "sent", _("sent")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


class Outcome(models.TextChoices):
    SENT = "sent", _("sent")
    RETRY = "retry", _("to be tried again")
    FAILED = "failed", _("failed for good")
    # The mail backend took the mail and said that it sent none: it is not tried again by itself.
    UNCONFIRMED = "unconfirmed", _("not confirmed by the mail backend")
    # An attempt begins as this, and stays so if its process is killed.
    UNKNOWN = "unknown", _("cut off")


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
    # The buffer's name while the batch is open, else NULL.
    open_for = models.CharField(max_length=200, null=True, editable=False)
    opened_at = models.DateTimeField(_("opened"))
    due_at = models.DateTimeField(_("due"), null=True)
    reason = models.CharField(_("reason"), max_length=10, blank=True)
    sealed_at = models.DateTimeField(_("sealed"), null=True)
    first_at = models.DateTimeField(_("first record"), null=True)
    last_at = models.DateTimeField(_("last record"), null=True)
    record_count = models.BigIntegerField(_("records"), default=0)
    silenced_count = models.BigIntegerField(_("silenced records"), default=0)
    lost_count = models.BigIntegerField(_("records that were only counted"), default=0)
    group_count = models.IntegerField(_("problems"), default=0)
    level = models.IntegerField(_("highest level"), default=0)
    recipients = models.JSONField(_("recipients"), default=list)
    sender = models.CharField(_("sender"), max_length=320, blank=True)
    using = models.CharField(_("mailer"), max_length=200, blank=True)
    # When it is due, as its handler says: for processes that have no such handler.
    rules = models.JSONField(default=dict, editable=False)
    headers = models.JSONField(default=dict, editable=False)
    subject = models.CharField(_("subject"), max_length=200, blank=True)
    # NULL until the batch is sealed.
    message_id = models.CharField(_("Message-ID"), max_length=255, null=True, unique=True)
    attempts = models.IntegerField(_("attempts"), default=0)
    # A mail server has been given this mail, and may have it.
    handed_over = models.BooleanField(default=False)
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True)
    # A try that fails after this time is the last one.
    give_up_at = models.DateTimeField(_("given up"), null=True)
    claimed_until = models.DateTimeField(_("claimed until"), null=True)
    # The claim's token: only the process that holds it may record the outcome.
    claimed_by = models.CharField(max_length=32, blank=True, editable=False)
    sent_at = models.DateTimeField(_("sent"), null=True)
    last_error = models.TextField(_("last error"), blank=True)
    text = models.TextField(_("text"), blank=True)
    html = models.TextField(_("HTML"), blank=True)

    objects = BatchManager()

    class Meta:
        base_manager_name = "objects"
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


class Attempt(models.Model):
    batch = models.ForeignKey(
        Batch, on_delete=models.CASCADE, related_name="attempt_set", verbose_name=_("batch")
    )
    tried_at = models.DateTimeField(_("tried"))
    outcome = models.CharField(_("outcome"), max_length=12, choices=Outcome.choices)
    error = models.TextField(_("error"), blank=True)

    objects = WriteManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")

    def __str__(self) -> str:
        return f"{self.outcome} {self.tried_at:%Y-%m-%d %H:%M:%S}"
