"""What of this folder pytest leaves alone."""

collect_ignore = ["desktop.py", "plugin_session.py"]  # for the Python that has PyQGIS
