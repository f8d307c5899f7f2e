"""What the shop keeps."""

from django.db import models


class Stock(models.Model):
    """How many of a product are left, in a table that another system should have made but didn't."""

    product = models.CharField(max_length=100)
    left = models.PositiveIntegerField()

    class Meta:
        managed = False
        db_table = "warehouse_stock"

    def __str__(self) -> str:
        return f"{self.product}: {self.left}"
