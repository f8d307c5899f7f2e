"""A shop in which everything fails, each page in its own way."""

import asyncio
import logging
from decimal import Decimal
from typing import NoReturn

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from shop.models import Stock

logger = logging.getLogger(__name__)


class Order:
    """An order that nobody gave a price."""

    price: Decimal | None = None

    def total(self) -> Decimal:
        """The price with VAT."""
        return self.price * Decimal("1.2")  # type: ignore[operator]  # the bug that the invoice page shows


def index(request: HttpRequest) -> HttpResponse:
    """Links to all the pages that fail."""
    return render(request, "shop/index.html")


def checkout(request: HttpRequest) -> HttpResponse:
    """An exception in a function that the view calls."""
    return HttpResponse(f"{average([])} each")


def average(prices: list[int]) -> float:
    """The mean price of what is in the basket."""
    return sum(prices) / len(prices)


def invoice(request: HttpRequest) -> HttpResponse:
    """An exception while a template is rendered."""
    return render(request, "shop/invoice.html", {"order": Order()})


def stock(request: HttpRequest, product: str) -> HttpResponse:
    """An exception in the ORM: the table is missing."""
    return HttpResponse(str(get_object_or_404(Stock, product=product).left))


async def delivery(request: HttpRequest) -> HttpResponse:
    """An exception in an async view: nobody answers in time."""
    async with asyncio.timeout(0.01):
        await asyncio.Event().wait()
    return HttpResponse("on its way")


@csrf_exempt
@sensitive_post_parameters("password")
@sensitive_variables("password")
def login(request: HttpRequest) -> NoReturn:
    """An exception with a password in the request."""
    password = request.POST["password"]
    raise ConnectionError(f"no directory server to check {len(password)} characters against")


def payment(request: HttpRequest) -> HttpResponse:
    """A critical message; the page itself works."""
    logger.critical("the payment provider refuses our key", extra={"request": request, "provider": "bank"})
    return HttpResponse("please pay in cash")


def order(request: HttpRequest, number: int) -> HttpResponse:
    """An error without an exception; the page itself works."""
    logger.error("order %d can't be shipped", number, extra={"request": request})
    return HttpResponse("please wait")


def search(request: HttpRequest) -> HttpResponse:
    """The error that everybody runs into: another message each time, the same bug."""
    pages = {"1": "shoes", "2": "hats"}
    return HttpResponse(pages[request.GET.get("page", "3")])


def refund(request: HttpRequest, number: int) -> HttpResponse:
    """An exception, and what led to it: five lines of the log and two queries."""
    logger.info("a refund of order %d is asked for", number)
    clerks = User.objects.filter(is_staff=True)
    logger.debug("%d clerks may approve it", clerks.count())
    clerk = clerks.order_by("username").values_list("username", flat=True).first()
    logger.debug("the first of them is %s", clerk)
    booked_on = None
    logger.warning("order %d has no date of booking", number)
    logger.debug("asking https://bank.example/refunds/?order=%d&token=%s", number, "not-for-mails")
    return HttpResponse(f"booked on {booked_on:%d %B}")
