"""Train a head with labels: losses, samplers, recipes, and the Lightning task."""
