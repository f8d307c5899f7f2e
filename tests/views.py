"""Small views, most of which fail, each in its own way."""

import logging
import os
from typing import NoReturn

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

logger = logging.getLogger("tests.views")


def ok(request: HttpRequest) -> HttpResponse:
    return HttpResponse("fine")


def division(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(1 // 0))


def variant(request: HttpRequest, number: int) -> NoReturn:
    """Fail in one of three ways; each is a bug of its own."""
    if number % 3 == 0:
        raise ValueError(f"number {number}")
    if number % 3 == 1:
        raise LookupError(f"number {number}")
    raise RuntimeError(f"number {number}")


def chained(request: HttpRequest) -> HttpResponse:
    try:
        return HttpResponse(os.environ["NO_SUCH_VARIABLE"])
    except KeyError as error:
        raise RuntimeError("can't go on") from error


def template(request: HttpRequest) -> HttpResponse:
    return HttpResponse(engines["django"].from_string("{% include 'no-such.html' %}").render())


def missing_table(request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM no_such_table")
    return HttpResponse("never")


@transaction.atomic
def broken_transaction(request: HttpRequest) -> NoReturn:
    logger.error("about to roll back", extra={"request": request})
    raise RuntimeError("rolled back")


async def asynchronous(request: HttpRequest) -> NoReturn:
    raise TypeError("failed in a coroutine")


@csrf_exempt
@sensitive_post_parameters("password")
@sensitive_variables("password")
def login(request: HttpRequest) -> NoReturn:
    password = request.POST["password"]
    raise PermissionError(f"refused a password of {len(password)} characters")


def critical(request: HttpRequest) -> HttpResponse:
    logger.critical("the disk is full", extra={"request": request, "free_bytes": 0})
    return HttpResponse("logged")


def warning(request: HttpRequest) -> HttpResponse:
    logger.warning("not worth a mail", extra={"request": request})
    return HttpResponse("logged")


def logged(request: HttpRequest) -> HttpResponse:
    """Log an error with arguments, no exception; the request goes on."""
    logger.error("order %s can't be shipped", request.GET.get("order", "1"), extra={"request": request})
    return HttpResponse("logged")
