"""The networks that turn tiles into features and features into activations."""
