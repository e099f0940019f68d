"""One segment: its layout, writing it, and reading rows back."""
