"""A small site; what differs from place to place comes from the environment, or from `.env`."""

from pathlib import Path

import django
import environ

BASE_DIR = Path(__file__).parent.parent

env = environ.Env()
env.read_env(BASE_DIR / ".env")

SECRET_KEY = env.str("SECRET_KEY", default="only for the example")
DEBUG = env.bool("DEBUG", default=False)
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
DATABASES = {"default": env.db_url("DATABASE_URL", default=f"sqlite:///{BASE_DIR / 'db.sqlite3'}")}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_maillog",
    "shop",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
ROOT_URLCONF = "example.urls"
WSGI_APPLICATION = "example.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "UTC"

SERVER_EMAIL = "errors@shop.example"
ADMIN_ADDRESS = env.str("ADMIN_ADDRESS", default="admin@shop.example")
ADMINS = [ADMIN_ADDRESS] if django.VERSION >= (6, 0) else [("Admin", ADMIN_ADDRESS)]

_email = env.email_url("EMAIL_URL", default="smtp://localhost:8025")
if django.VERSION >= (6, 1):
    MAILERS = {
        "default": {
            "BACKEND": _email["EMAIL_BACKEND"],
            "OPTIONS": {
                "host": _email["EMAIL_HOST"],
                "port": _email["EMAIL_PORT"],
                "username": _email["EMAIL_HOST_USER"],
                "password": _email["EMAIL_HOST_PASSWORD"],
                "use_tls": _email.get("EMAIL_USE_TLS", False),
                "use_ssl": _email.get("EMAIL_USE_SSL", False),
                "timeout": 10,
            },
        }
    }
else:
    EMAIL_BACKEND = _email["EMAIL_BACKEND"]
    EMAIL_HOST = _email["EMAIL_HOST"]
    EMAIL_PORT = _email["EMAIL_PORT"]
    EMAIL_HOST_USER = _email["EMAIL_HOST_USER"]
    EMAIL_HOST_PASSWORD = _email["EMAIL_HOST_PASSWORD"]
    EMAIL_USE_TLS = _email.get("EMAIL_USE_TLS", False)
    EMAIL_USE_SSL = _email.get("EMAIL_USE_SSL", False)
    EMAIL_TIMEOUT = 10

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {
        "mail": {
            "class": "django_maillog.handlers.BufferingHandler",
            # Errors are mailed, and what the shop said before each of them comes along.
            "level": "DEBUG",
            "report_level": "ERROR",
            "context": 50,
            "queries": True,
            # The defaults, unless the demo is in a hurry.
            "group_wait": env.float("MAIL_GROUP_WAIT", default=30),
            "group_interval": env.float("MAIL_GROUP_INTERVAL", default=300),
            "repeat_interval": env.float("MAIL_REPEAT_INTERVAL", default=14400),
        },
        "console": {"class": "logging.StreamHandler", "level": "WARNING"},
    },
    "root": {"handlers": ["mail", "console"], "level": "WARNING"},
    # Naming Django's loggers takes Django's own handlers off them: mail_admins, and that of runserver.
    "loggers": {
        "django": {"level": "INFO"},
        "django.server": {"handlers": ["console"], "propagate": False},
        "shop": {"level": "DEBUG"},
    },
}

MAILLOG_SITE_URL = env.str("MAILLOG_SITE_URL", default="http://127.0.0.1:8000")
if "MAILLOG_SPOOL_DIR" in env.ENVIRON:
    MAILLOG_SPOOL_DIR = env.str("MAILLOG_SPOOL_DIR")
