"""Index a folder of scenes: options, progress and cancel."""

import re
from pathlib import Path

from qgis.gui import QgsFileWidget
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
)

from .command import Command

PERCENT = re.compile(r"^(.*?):?\s*(\d+)%\|")
OPTIONS = (
    ("--tile-size", "Tile size, px", "as the hasher's, or 64", "64 or 64,128"),
    ("--stride", "Stride, px", "the tile size", "32"),
    ("--bands", "Bands", "chosen by what they show", "4,3,2 or red,green,blue"),
    ("--nodata", "Nodata value", "each file's own", "0"),
    ("--date", "Date of the scenes", "from file names or tags", "2023-06-30"),
)


class Indexing(QDialog):
    """A dialog that adds a folder of scenes to an archive.

    Signals:
        indexed: The archive's folder, after scenes were added.
    """

    indexed = pyqtSignal(str)

    def __init__(self, words, parent=None):
        """Make the dialog.

        Args:
            words: The program.
            parent: The window that it belongs to.
        """
        super().__init__(parent)
        self.setWindowTitle("Index a folder of scenes")
        self._words = list(words)
        self._command = None
        self._cancelled = False
        self.scenes, self.archive = QgsFileWidget(), QgsFileWidget()
        for field in (self.scenes, self.archive):
            field.setStorageMode(QgsFileWidget.StorageMode.GetDirectory)
        self.scenes.fileChanged.connect(self._suggest)
        form = QFormLayout()
        form.addRow("Folder of scenes (GeoTIFF)", self.scenes)
        form.addRow("Archive; made if it is new", self.archive)
        self.options = {}
        for option, label, default, example in OPTIONS:
            field = QLineEdit()
            field.setPlaceholderText(f"{default}; such as {example}")
            self.options[option] = field
            form.addRow(label, field)
        self.replace = QCheckBox("Replace tiles of another size or stride (--replace)")
        self.replace.setToolTip("Without it, nothing is indexed if the archive has such tiles.")
        form.addRow("", self.replace)
        self.what = QLabel("Scenes that the archive already has are skipped.")
        self.what.setWordWrap(True)
        self.progress = QProgressBar()
        self.progress.setRange(0, 100)
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        buttons = QDialogButtonBox()
        self.start = QPushButton("Index")
        self.cancel = QPushButton("Close")
        buttons.addButton(self.start, QDialogButtonBox.ButtonRole.ActionRole)
        buttons.addButton(self.cancel, QDialogButtonBox.ButtonRole.RejectRole)
        self.start.clicked.connect(self.run)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        for widget in (self.what, self.progress, self.log, buttons):
            layout.addWidget(widget)
        self.resize(560, 480)

    def command_words(self):
        """Return the command that the dialog runs."""
        words = [
            *self._words,
            "index",
            self.scenes.filePath(),
            "--archive",
            self.archive.filePath(),
        ]
        for option, field in self.options.items():
            text = field.text().strip()
            words += [f"{option}={text}"] if text else []  # a value may begin with a minus
        words += ["--replace"] if self.replace.isChecked() else []
        return [*words, "--progress"]

    def run(self):
        """Start indexing."""
        scenes, archive = self.scenes.filePath().strip(), self.archive.filePath().strip()
        if not Path(scenes).is_dir() or not scenes:
            self.what.setText(
                f"Choose the folder of your scenes; {scenes or 'nothing'} is not a folder."
            )
            return
        if not archive:
            self.what.setText("Choose the folder of the archive; it is made if it does not exist.")
            return
        self._cancelled = False
        self.log.clear()
        self.progress.setRange(0, 0)  # busy until the first percent
        self.start.setEnabled(False)
        self.cancel.setText("Cancel")
        self.what.setText("Starting...")
        self._command = Command(self.command_words(), self)
        self._command.said.connect(self._heard)
        self._command.ended.connect(self._ended)
        self._command.start()

    def reject(self):
        """Cancel what is running, or close the dialog."""
        if self._command is None:
            super().reject()
            return
        self._cancelled = True
        self.what.setText("Stopping; scenes that are finished stay in the archive.")
        self._command.stop()

    def _suggest(self, scenes):
        if scenes and not self.archive.filePath():
            folder = Path(scenes)
            self.archive.setFilePath(str(folder.parent / f"{folder.name}-archive"))

    def _heard(self, line):
        found = PERCENT.match(line)
        if found:
            self.progress.setRange(0, 100)
            self.progress.setValue(int(found[2]))
            self.what.setText(line[:160])
        else:
            self.log.appendPlainText(line)

    def _ended(self, code, last):
        self._command.deleteLater()
        self._command = None
        self.progress.setRange(0, 100)
        self.start.setEnabled(True)
        self.cancel.setText("Close")
        if self._cancelled:
            self.progress.setValue(0)
            self.what.setText("Cancelled. Index again to add the rest.")
            return
        self.progress.setValue(100 if code in {0, 1} else 0)
        self.what.setText(last)
        if code == 0 or (code == 1 and "tiles of" in self.log.toPlainText()):
            self.indexed.emit(self.archive.filePath())
