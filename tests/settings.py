"""The test project: every value that a subprocess needs to differ in comes from the environment."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import django
import environ

env = environ.Env()

SERVERS = {"postgresql": "MAILLOG_TEST_POSTGRESQL_URL", "mariadb": "MAILLOG_TEST_MARIADB_URL"}
# tox names the database that a whole run is for; without its server the run's database tests are skipped.
SERVER = SERVERS.get(env.str("MAILLOG_TEST_DATABASE", default=""), "")

_run = f"{env.str('TOX_ENV_NAME', default='local')}-{os.getpid()}".replace("-", "_").replace(".", "_")
# A file, not memory: threads and second connections must see the same rows.
_file = Path(tempfile.gettempdir()) / f"maillog_{_run}.sqlite3"


def _database() -> dict[str, Any]:
    """The database of the run, or of a process that is told its URL."""
    url = env.str("DATABASE_URL", default="") or (env.str(SERVER, default="") if SERVER else "")
    if not url or url.startswith("sqlite"):
        config = env.db_url_config(url or f"sqlite:///{_file}")
        # What a killed process has written stays. To wait for the disk would only save it from power cuts.
        options = {"init_command": "PRAGMA synchronous = OFF"}
        return {**config, "OPTIONS": options, "TEST": {"NAME": str(_file)}}
    config = env.db_url_config(url)
    test = {"NAME": f"test_maillog_{_run}"}
    if "mysql" in config["ENGINE"]:
        test["CHARSET"] = "utf8mb4"
    # psycopg's pool, if a process is to have one: its arguments, or true.
    options = {"pool": env.json("MAILLOG_TEST_POOL")} if "MAILLOG_TEST_POOL" in env else {}
    return {**config, "OPTIONS": {**config.get("OPTIONS", {}), **options}, "TEST": test}


DATABASES = {"default": _database()}
# Further ones, by alias; and who says what is kept where.
for _alias, _url in env.json("MAILLOG_TEST_DATABASES", default={}).items():
    DATABASES[_alias] = {**env.db_url_config(_url), "TEST": {}}
DATABASE_ROUTERS = env.list("MAILLOG_TEST_ROUTERS", default=[])

SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["*"]
DEBUG = False
USE_TZ = env.bool("MAILLOG_TEST_USE_TZ", default=True)
TIME_ZONE = env.str("MAILLOG_TEST_TIME_ZONE", default="UTC")
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_maillog",
    *env.list("MAILLOG_TEST_APPS", default=[]),
]
AUTH_USER_MODEL = env.str("MAILLOG_TEST_USER_MODEL", default="auth.User")
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
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
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

SERVER_EMAIL = "errors@example.com"
ADMINS: list[Any]
MANAGERS: list[Any]
if django.VERSION >= (6, 0):
    ADMINS = ["ada@example.com", "alan@example.com"]
    MANAGERS = ["grace@example.com"]
else:
    ADMINS = [("Ada", "ada@example.com"), ("Alan", "alan@example.com")]
    MANAGERS = [("Grace", "grace@example.com")]

# Nobody answers on the discard port: a mail that a test didn't mean to send fails at once.
_email = env.email_url_config(env.str("EMAIL_URL", default="smtp://127.0.0.1:9"))
_timeout = env.int("MAILLOG_TEST_EMAIL_TIMEOUT", default=5)
_backend = env.str("MAILLOG_TEST_EMAIL_BACKEND", default="")
if _backend and django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": _backend}}
elif _backend:
    EMAIL_BACKEND = _backend
elif env.bool("MAILLOG_TEST_MAILERS", default=django.VERSION >= (6, 1)):
    MAILERS = {
        "default": {
            "BACKEND": _email["EMAIL_BACKEND"],
            "OPTIONS": {"host": _email["EMAIL_HOST"], "port": _email["EMAIL_PORT"], "timeout": _timeout},
        }
    }
else:
    EMAIL_BACKEND = _email["EMAIL_BACKEND"]
    EMAIL_HOST = _email["EMAIL_HOST"]
    EMAIL_PORT = _email["EMAIL_PORT"]
    EMAIL_TIMEOUT = _timeout

# Naming Django's loggers takes Django's own handlers off them: mail_admins, and that of runserver.
LOGGING = env.json(
    "MAILLOG_TEST_LOGGING",
    default={
        "version": 1,
        "disable_existing_loggers": False,
        "loggers": {"django": {"level": "INFO"}, "django.server": {"propagate": False}},
    },
)


def _given(name: str) -> Any:
    """A setting from the environment: JSON where it is JSON (numbers, null), else the text itself."""
    try:
        return json.loads(os.environ[name])
    except ValueError:
        return os.environ[name]


globals().update(
    {
        name: _given(name)
        for name in os.environ
        if name.startswith("MAILLOG_") and not name.startswith("MAILLOG_TEST_")
    }
)
