"""A static folder of an archive that can be searched in a browser, without a server."""
