"""A first search on an invented landscape: scenes, archive, query, picture."""
