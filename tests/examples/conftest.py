"""What of this folder pytest leaves alone."""

collect_ignore = ["qgis_session.py"]  # a program for the Python that has PyQGIS
