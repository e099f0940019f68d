"""Pictures of tiles and scenes for people to look at."""
