"""The page of a signed link, for ``path("maillog/", include("django_maillog.urls"))``."""

from __future__ import annotations

from django.urls import path

from . import views

app_name = "django_maillog"
urlpatterns = [path("problem/<str:token>/", views.problem, name="problem")]
