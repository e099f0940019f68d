"""From tiles to activations to codes: backbones and heads, and how to fit and train them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
