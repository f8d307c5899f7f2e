"""The site's URLs."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("maillog/", include("django_maillog.urls")),
    path("", include("shop.urls")),
]
