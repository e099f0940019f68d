"""The pixels of published embeddings: their products, and sums over tiles."""
