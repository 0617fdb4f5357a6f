"""A Django project in one file whose view, a plain `def`, creates a job after the commit.

Run it in this folder with `PYTHONPATH=../orders_service python shop.py runserver --noreload`, or with `gunicorn shop:application`, and NATS_URL in
the environment.
"""

import atexit
import os
import sys
import threading
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import cache
from typing import ClassVar

import django
from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.db import connection, models, transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_POST
from orders_participant import ChargePaymentPayload, OrdersService
from trellis_nats import Options

settings.configure(
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"}},
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("SECRET_KEY", "only for this example"),
    USE_TZ=True,
)
django.setup()

TABLE = "orders"

connections = ExitStack()
atexit.register(connections.close)
connecting = threading.Lock()


@cache
def connect() -> OrdersService:
    """Connect for as long as this process lives."""
    url = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    options = Options(request_timeout=timedelta(seconds=2))
    return connections.enter_context(OrdersService.connect_blocking(url, options=options))


def orders_service() -> OrdersService:
    """Return the service of this process. The first request connects it: by then the server has forked its workers."""
    with connecting:
        return connect()


class Order(models.Model):
    """An order, and the job that charges it: empty until the job is stored."""

    customer_id: "models.CharField[str, str]" = models.CharField(max_length=40)
    amount_cents: "models.IntegerField[int, int]" = models.IntegerField()
    created_at: "models.DateTimeField[datetime, datetime]" = models.DateTimeField(default=timezone.now)
    charge_job: "models.CharField[str, str]" = models.CharField(max_length=26, default="")

    class Meta:
        """The file is not an app."""

        app_label: ClassVar = "shop"
        db_table: ClassVar = TABLE

    def __str__(self) -> str:
        return f"order {self.pk}"


def create_charge(order: Order) -> None:
    """Create the job of an order, at most once, and remember it."""
    payload = ChargePaymentPayload(
        order_id=f"o-{order.pk}", customer_id=order.customer_id, amount_cents=order.amount_cents
    )
    service = orders_service()
    ref = service.blocking.run(
        service.jobs.charge_payment.create(payload, idempotency_key=f"charge order {order.pk}")
    )
    Order.objects.filter(pk=order.pk).update(charge_job=ref.id)


def create_missing_charges() -> int:
    """Create the jobs of orders whose process died, or had no NATS, after the commit. Run it every minute."""
    missing = Order.objects.filter(charge_job="", created_at__lt=timezone.now() - timedelta(minutes=1))
    for order in missing:
        create_charge(order)
    return len(missing)


@require_POST
def create_order(request: HttpRequest) -> JsonResponse:
    """Store an order. Its job is created after the commit: a worker finds the order, and a rollback leaves no job."""
    with transaction.atomic():
        order = Order.objects.create(
            customer_id=request.POST["customer_id"], amount_cents=int(request.POST["amount_cents"])
        )
        # robust: the order is stored, whatever happens now. `create_missing_charges` does what fails here.
        transaction.on_commit(lambda: create_charge(order), robust=True)
    return JsonResponse({"order": order.pk}, status=202)


urlpatterns = [path("orders", create_order)]
application = get_wsgi_application()


def create_table() -> None:
    """Create the table, unless it exists: one file has no migrations."""
    if TABLE not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(Order)


if __name__ == "__main__":
    create_table()
    execute_from_command_line(sys.argv)
