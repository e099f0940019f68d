"""What of this folder pytest leaves alone."""

# programs for the Python that has PyQGIS
collect_ignore = ["qgis_areas.py", "qgis_query.py", "qgis_session.py"]
