"""A shop made by code: users, products, purchases, reviews, images and demand, with the truth."""

from .pictures import KINDS, draw_images
from .shop import Shop, Truth, make_shop

__all__ = ["KINDS", "Shop", "Truth", "draw_images", "make_shop"]
