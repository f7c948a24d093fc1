"""The dialog that names a server: its address, and the file of the key."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_sam3.inference.remote.address import RemoteAddress, default_key, is_remote
from napari_sam3.inference.remote.errors import RemoteError

from .controls import add_row, form, make_text, worded
from .text import remote as text
from .text.states import sentence
from .theming import ERROR_STYLE

__all__ = ["RemoteDialog"]

WIDTH = 560
#: Lines of the texts that wrap, for which the dialog has room.
LINES = 4


class RemoteDialog(QDialog):
    """Asks for a server with a model.

    Parameters
    ----------
    before : str
        Name of the server used last, or of any other model.
    parent : QWidget, optional
        Qt parent.

    Attributes
    ----------
    address, key : QLineEdit
    browse : QPushButton
    problem : QLabel
        Error in the entries, or empty.
    buttons : QDialogButtonBox
    """

    def __init__(self, before: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(text.TITLE)
        self.address, self.key = QLineEdit(), QLineEdit(str(default_key()))
        self.address.setPlaceholderText(text.EXAMPLE)
        self.address.setToolTip(text.ADDRESS.tooltip)
        self.key.setToolTip(text.KEY.tooltip)
        self.browse = worded(QPushButton(), text.BROWSE)
        self.problem = make_text("problem")
        self.problem.setMinimumHeight(LINES * self.fontMetrics().lineSpacing())
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.connect_button = worded(QPushButton(), text.CONNECT)
        self.buttons.addButton(self.connect_button, QDialogButtonBox.ButtonRole.AcceptRole)
        self._lay_out()
        for line in (self.address, self.key):
            line.textChanged.connect(self._check)
        self.browse.clicked.connect(self._on_browse)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        if is_remote(before):
            known = RemoteAddress.parse(before)
            self.address.setText(known.url)
            self.key.setText(str(known.key_file))
        self._check()

    @property
    def name(self) -> str:
        """The model, as it is loaded; raises RemoteError while the address is none."""
        place, key = self.address.text().strip(), self.key.text().strip()
        given = RemoteAddress.parse(place if is_remote(place) else f"tls://{place}")
        chosen = Path(key).expanduser() if key else given.key
        usual = chosen is None or chosen == default_key()
        return RemoteAddress(given.host, given.port, None if usual else chosen).name

    def _check(self) -> None:
        problem = ""
        typed = bool(self.address.text().strip())
        if typed:
            try:
                self.name  # noqa: B018  # raises
            except RemoteError as error:
                problem = sentence(error)
        self.problem.setText(problem)
        self.problem.setStyleSheet(ERROR_STYLE if problem else "")
        self.connect_button.setEnabled(typed and not problem)

    def _on_browse(self, _checked: bool = False) -> None:
        folder = str(Path(self.key.text()).expanduser().parent)
        chosen, _ = QFileDialog.getOpenFileName(self, text.KEY_DIALOG, folder, text.KEY_FILTER)
        if chosen:
            self.key.setText(chosen)

    def _lay_out(self) -> None:
        where = QHBoxLayout()
        where.setContentsMargins(0, 0, 0, 0)
        where.addWidget(self.key, 1)
        where.addWidget(self.browse)
        holder = QWidget()
        holder.setLayout(where)
        holder.setToolTip(text.KEY.tooltip)
        about = make_text("about")
        about.setText(text.ABOUT)
        about.setMinimumHeight(LINES * self.fontMetrics().lineSpacing())
        rows = form()
        add_row(rows, text.ADDRESS.title, self.address)
        add_row(rows, text.KEY.title, holder)
        self.key.setAccessibleName(text.KEY.name)
        column = QVBoxLayout(self)
        column.addWidget(about)
        column.addLayout(rows)
        column.addWidget(self.problem)
        column.addStretch(1)
        column.addWidget(self.buttons)
        self.resize(WIDTH, self.sizeHint().height())
