"""What of this folder pytest leaves alone."""

collect_ignore = ["qgis_areas.py", "qgis_session.py"]  # programs for the Python that has PyQGIS
