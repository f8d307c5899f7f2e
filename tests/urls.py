"""The test project's URLs."""

from django.contrib import admin
from django.urls import path

from tests import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("ok/", views.ok),
    path("division/", views.division),
    path("variant/<int:number>/", views.variant),
    path("chained/", views.chained),
    path("template/", views.template),
    path("missing-table/", views.missing_table),
    path("broken-transaction/", views.broken_transaction),
    path("asynchronous/", views.asynchronous),
    path("login/", views.login),
    path("critical/", views.critical),
    path("warning/", views.warning),
    path("logged/", views.logged),
]
