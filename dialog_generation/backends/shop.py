"""Domain "shop": products with stock, one cart, vouchers and orders."""
from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal

from msgspec import Meta

from dialog_generation.backends.registry import Backend, ToolError, register

Category = Literal["kitchen", "garden", "office", "sport"]
Words = Annotated[str, Meta(max_length=60)]
ProductId = Annotated[str, Meta(max_length=20, description="Id of the product, such as P1")]
OrderId = Annotated[str, Meta(max_length=20, description="Id of the order, such as O1")]
Quantity = Annotated[int, Meta(ge=1, le=50)]
GOODS = {"kitchen": ("cast-iron pan", "bread knife", "tea kettle", "mixing bowl"),
         "garden": ("watering can", "hand rake", "seed tray", "garden hose"),
         "office": ("desk lamp", "notebook", "stapler", "chair mat"),
         "sport": ("yoga mat", "jump rope", "water bottle", "tennis balls")}
VOUCHERS = {"WELCOME10": 10, "SPRING15": 15, "THANKS5": 5}
"""Percent off, by code."""


@dataclass
class Product:
    """One article; `cents` is the price of one."""

    name: str
    category: str
    cents: int
    stock: int


@register("shop")
class Shop(Backend):
    """A shop of sixteen articles, some sold out, and an empty cart."""

    def __init__(self, rng: random.Random, today: date):
        goods = [(name, category) for category, names in GOODS.items() for name in names]
        self._products = {f"P{number}": Product(name, category, rng.randint(299, 8999),
                                                rng.choice((0, 2, 5, 12, 40)))
                          for number, (name, category)
                          in enumerate(rng.sample(goods, len(goods)), 1)}
        self._voucher = rng.choice(list(VOUCHERS))
        self._percent = 0
        self._cart: dict[str, int] = {}
        self._orders: dict[str, dict[str, Any]] = {}

    def facts(self) -> dict[str, Any]:
        return {"products": [product.name for product in self._products.values()],
                "voucher": self._voucher}

    def browse_products(self, words: Words = "", category: Category | None = None,
                        highest_price: Annotated[float, Meta(ge=0, le=100_000)]
                        | None = None) -> dict[str, Any]:
        """Find products by words of their name, by category and by price in euros, the cheapest
        first.

        Args:
            words: Part of the name
            category: Only this category
            highest_price: Only what costs at most this much
        """
        found = [(product.cents, id) for id, product in self._products.items()
                 if words.lower() in product.name and category in (None, product.category)
                 # 4.02 * 100 is less than 402, while 402 / 100 is the same float as 4.02
                 and (highest_price is None or product.cents / 100 <= highest_price)]
        return {"matches": len(found), "products": [self._shown(id) for _, id in sorted(found)[:5]]}

    def product_details(self, product_id: ProductId) -> dict[str, Any]:
        """Name, category, price in euros and stock of one product."""
        return self._shown(product_id)

    def put_in_cart(self, product_id: ProductId, quantity: Quantity = 1) -> dict[str, Any]:
        """Put some of a product into the cart, on top of what is in it.

        Args:
            quantity: How many
        """
        wanted = self._cart.get(product_id, 0) + quantity
        stock = self._known(self._products, product_id, "product").stock
        if wanted > stock:
            raise ToolError(f"only {stock} of {product_id} in stock")
        self._cart[product_id] = wanted
        return self.show_cart()

    def take_from_cart(self, product_id: ProductId) -> dict[str, Any]:
        """Take a product out of the cart, all of it."""
        if product_id not in self._cart:
            raise ToolError(f"{product_id!r} is not in the cart")
        del self._cart[product_id]
        return self.show_cart()

    def show_cart(self) -> dict[str, Any]:
        """What is in the cart, and the total in euros with the voucher taken off."""
        cents = sum(self._products[id].cents * count for id, count in self._cart.items())
        return {"items": [{"product_id": id, "name": self._products[id].name, "quantity": count}
                          for id, count in self._cart.items()],
                "percent_off": self._percent,
                "total": round(cents * (100 - self._percent) / 100) / 100}

    def use_voucher(self, code: Annotated[str, Meta(max_length=30)]) -> dict[str, Any]:
        """Take a voucher's percentage off the cart; one voucher an order.

        Args:
            code: The voucher's code
        """
        if code != self._voucher:
            raise ToolError(f"voucher {code!r} has expired" if code in VOUCHERS
                            else f"no voucher {code!r}")
        self._percent = VOUCHERS[code]
        return self.show_cart()

    def check_out(self,
                  address: Annotated[str, Meta(min_length=5, max_length=200)]) -> dict[str, Any]:
        """Order what is in the cart.

        Args:
            address: Where it is sent to
        """
        if not self._cart:
            raise ToolError("the cart is empty")
        for id, count in self._cart.items():
            self._products[id].stock -= count
        order = {"order_id": f"O{len(self._orders) + 1}", "status": "placed", "address": address,
                 **self.show_cart()}
        self._orders[order["order_id"]] = order
        self._cart, self._percent = {}, 0
        return dict(order)

    def order_details(self, order_id: OrderId) -> dict[str, Any]:
        """State, items and total of an order."""
        return dict(self._known(self._orders, order_id, "order"))

    def cancel_order(self, order_id: OrderId) -> dict[str, Any]:
        """Cancel an order; its items go back to stock."""
        order = self._known(self._orders, order_id, "order")
        if order["status"] == "cancelled":
            raise ToolError(f"order {order_id} is cancelled already")
        for item in order["items"]:
            self._products[item["product_id"]].stock += item["quantity"]
        order["status"] = "cancelled"
        return {"order_id": order_id, "status": "cancelled", "refund": order["total"]}

    def _shown(self, id: str) -> dict[str, Any]:
        product = self._known(self._products, id, "product")
        return {"product_id": id, "name": product.name, "category": product.category,
                "price": product.cents / 100, "stock": product.stock}
