"""The QGIS plugin of geohash_rs: draw a rectangle, and see the places that look like it."""


def classFactory(iface):  # noqa: N802 - the name that QGIS calls
    """Return the plugin.

    Args:
        iface: What QGIS offers to plugins, QgisInterface.
    """
    from .plugin import Plugin

    return Plugin(iface)
