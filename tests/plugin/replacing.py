"""Run by the Python that has PyQGIS: the command of the dialog and of the Processing script."""

import importlib.util
import json
import sys

from qgis.core import QgsApplication, QgsProcessingContext, QgsProcessingFeedback

plugin, script, folder = sys.argv[1:]
application = QgsApplication([], True)
application.initQgis()
sys.path.insert(0, plugin)
from geohash_rs_qgis.indexing import Indexing  # noqa: E402 - after the path is known

said = {"dialog": [], "script": []}
dialog = Indexing(["geohash-rs"])
for replace in (False, True):
    dialog.replace.setChecked(replace)
    said["dialog"].append(dialog.command_words())

spec = importlib.util.spec_from_file_location("geohash_rs_index", script)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.run = lambda words, feedback: said["script"].append(words)
for more in ({}, {"REPLACE": True}):
    algorithm = module.IndexScenes()
    algorithm.initAlgorithm({})
    parameters = {"SCENES": folder, "ARCHIVE": f"{folder}/archive", **more}
    algorithm.run(parameters, QgsProcessingContext(), QgsProcessingFeedback())
sys.stdout.write(json.dumps(said))
dialog.deleteLater()
application.exitQgis()
