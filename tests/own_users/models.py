"""The user of Django's "full example" of a custom one, by a number instead of a name."""

from __future__ import annotations

import uuid

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models


class Worker(AbstractBaseUser):
    key = models.UUIDField(primary_key=True, default=uuid.uuid4)
    number = models.IntegerField(unique=True)
    is_active = models.BooleanField(default=True)
    is_admin = models.BooleanField(default=False)

    objects = BaseUserManager()
    USERNAME_FIELD = "number"

    class Meta:
        app_label = "own_users"

    def __str__(self) -> str:
        return f"worker {self.number}"

    def has_perm(self, perm: str, obj: object = None) -> bool:
        return self.is_admin

    def has_module_perms(self, app_label: str) -> bool:
        return self.is_admin

    @property
    def is_staff(self) -> bool:
        return self.is_admin
