"""One segment: its layout, how it is written, and how rows are read back."""
