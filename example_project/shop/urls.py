"""The shop's URLs."""

from django.urls import path

from shop import views

urlpatterns = [
    path("", views.index, name="index"),
    path("checkout/", views.checkout, name="checkout"),
    path("invoice/", views.invoice, name="invoice"),
    path("stock/<str:product>/", views.stock, name="stock"),
    path("delivery/", views.delivery, name="delivery"),
    path("login/", views.login, name="login"),
    path("payment/", views.payment, name="payment"),
    path("order/<int:number>/", views.order, name="order"),
    path("refund/<int:number>/", views.refund, name="refund"),
    path("search/", views.search, name="search"),
]
