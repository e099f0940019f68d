"""Where tiles lie on the Earth: polygons from transforms, whatever the projection."""
