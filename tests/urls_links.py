"""The test project's URLs, with the page of the links in mails."""

from django.urls import include, path

from tests import urls

urlpatterns = [path("maillog/", include("django_maillog.urls")), *urls.urlpatterns]
