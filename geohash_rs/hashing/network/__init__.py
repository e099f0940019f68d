"""The network that turns a tile into features and features into activations."""
