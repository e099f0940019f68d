"""Measure how well hashers find tiles of the same class, by protocols that can be trusted."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
