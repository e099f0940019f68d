"""A patch, point or tile becomes a query; its nearest tiles become matches."""
