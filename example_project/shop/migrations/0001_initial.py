"""The state of the warehouse's table, which no migration of ours creates."""

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Stock",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("product", models.CharField(max_length=100)),
                ("left", models.PositiveIntegerField()),
            ],
            options={"db_table": "warehouse_stock", "managed": False},
        )
    ]
