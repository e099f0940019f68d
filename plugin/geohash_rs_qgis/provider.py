"""Offer the two Processing scripts of geohash_rs as algorithms, for models and batches."""

from pathlib import Path

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .algorithms.geohash_rs_index import IndexScenes
from .algorithms.geohash_rs_query import FindSimilar


class Provider(QgsProcessingProvider):
    """The algorithms of the plugin."""

    def id(self):
        """Return what names the provider in models and scripts."""
        return "geohash_rs"

    def name(self):
        """Return what the toolbox shows."""
        return "geohash_rs"

    def icon(self):
        """Return the plugin's icon."""
        return QIcon(str(Path(__file__).with_name("icon.svg")))

    def loadAlgorithms(self):  # noqa: N802 - the name of QGIS
        """Add the algorithms."""
        self.addAlgorithm(IndexScenes())
        self.addAlgorithm(FindSimilar())
