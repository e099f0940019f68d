"""Train a head with labels: losses, batches, recipes, and the Lightning task."""
