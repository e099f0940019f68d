"""Install the program in an environment of its own, after showing the commands."""

import shlex

from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
)

from .command import Command
from .program import find_python, in_environment, install_commands, wanted_package

NO_PYTHON = (
    "No Python 3.11 to 3.13 with venv and pip was found. Install one, on Debian and Ubuntu with "
    "'apt install python3-venv', elsewhere from python.org, and open this window again. Or install "
    "geohash-rs in any other way, and enter its path in the field Program."
)


class Installing(QDialog):
    """A dialog that installs geohash-rs for QGIS alone; QGIS's own Python is not changed.

    Signals:
        installed: The program, a path.
    """

    installed = pyqtSignal(str)

    def __init__(self, parent=None):
        """Make the dialog, and look for a Python."""
        super().__init__(parent)
        self.setWindowTitle("Install geohash-rs")
        self._python = None
        self._command = None
        self._left = []
        self.what = QLabel(
            "These commands install geohash-rs next to your QGIS profile. They download about 2 GB "
            "of packages from the Python Package Index and leave QGIS's own Python as it is."
        )
        self.what.setWordWrap(True)
        self.package = QLineEdit(wanted_package())
        self.package.setToolTip("What pip installs: a name with a version, or the path of a wheel.")
        self.package.textChanged.connect(self._show_commands)
        self.commands = QPlainTextEdit()
        self.commands.setReadOnly(True)
        self.commands.setMaximumHeight(90)
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.start = QPushButton("Run these commands")
        self.start.setEnabled(False)
        buttons = QDialogButtonBox()
        buttons.addButton(self.start, QDialogButtonBox.ButtonRole.ActionRole)
        buttons.addButton(QDialogButtonBox.StandardButton.Cancel)
        self.start.clicked.connect(self.run)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        for widget in (self.what, self.package, self.commands, self.log, buttons):
            layout.addWidget(widget)
        self.resize(620, 440)
        find_python(self._found, self)

    def run(self):
        """Run the commands one after another."""
        self.start.setEnabled(False)
        self.package.setEnabled(False)
        self._left = install_commands(self._python, self.package.text().strip())
        self._following()

    def reject(self):
        """Stop what is running, and close."""
        self._left = []
        if self._command is not None:
            self._command.stop()
        super().reject()

    def _found(self, python):
        self._python = python
        if python is None:
            self.what.setText(NO_PYTHON)
            return
        self.start.setEnabled(True)
        self._show_commands()

    def _show_commands(self):
        if self._python is not None:
            words = install_commands(self._python, self.package.text().strip())
            self.commands.setPlainText("\n".join(map(shlex.join, words)))

    def _following(self):
        if not self._left:
            self.what.setText("Installed.")
            self.installed.emit(str(in_environment("geohash-rs")))
            self.accept()
            return
        self._command = Command(self._left.pop(0), self)
        self._command.said.connect(self.log.appendPlainText)
        self._command.ended.connect(self._ended)
        self._command.start()

    def _ended(self, code, last):
        self._command.deleteLater()
        self._command = None
        if code == 0:
            self._following()
            return
        self.what.setText(f"The command failed: {last}")
        self.start.setEnabled(True)
        self.package.setEnabled(True)
