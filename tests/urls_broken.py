"""URLs of a project with a mistake in them."""

from django.core.exceptions import ImproperlyConfigured

raise ImproperlyConfigured("the price list is missing")
