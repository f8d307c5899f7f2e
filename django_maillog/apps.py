"""The app's configuration."""

from django.apps import AppConfig


class MaillogConfig(AppConfig):
    name = "django_maillog"
    label = "django_maillog"
    verbose_name = "Mail log"
    default_auto_field = "django.db.models.BigAutoField"
