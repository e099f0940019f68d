"""How often a search is right: labels become promises about precision."""
