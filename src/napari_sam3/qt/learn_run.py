"""Learning from labels in the window: collects, runs a process, and offers the result.

It is a process of its own because the viewer must stay responsive, and because optimisers load
compilers that crash a process in which Mesa draws. It ends by itself when the viewer is gone.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QProcess
from qtpy.QtWidgets import QFileDialog

from napari_sam3.core.errors import LayerError
from napari_sam3.inference.models import EMBEDDED
from sam3.errors import ConfigError, TrainingError

from .text import learn as text

if TYPE_CHECKING:
    from napari_sam3.images.viewer_image import ViewerImage
    from napari_sam3.session.lessons import Lesson

    from .host import Host

__all__ = ["LearnRun"]

PATIENCE_MS = 10_000  # for a process that was killed
MODULE = "sam3.training.learn_process"
# What the process says on its way and at the end; other lines are not its own.
_PROGRESS, _ENDS = {"share", "steps", "before", "best"}, {"outcome", "error"}


class LearnRun(QObject):
    """Learns from the labels in use, one time after the other.

    Parameters
    ----------
    widget : Host
        Has panel, session and binding, the menu of models, and the thread that reads images.

    Attributes
    ----------
    process : QProcess or None
        The process that learns.
    settings : dict
        More of `sam3.training.learn.LearnSettings`, by name; the defaults otherwise.
    """

    def __init__(self, widget: Host) -> None:
        super().__init__()
        self._widget, self._models, self._runner = widget, widget.models, widget.runner
        self._panel = widget.panel.learning
        self.process: QProcess | None = None
        self.settings: dict[str, Any] = {}
        self._folder: Path | None = None
        self._rest = b""
        self._said: dict[str, Any] = {}
        self._stopping = self._closed = False
        self._panel.start.clicked.connect(lambda _checked=False: self._on_start())
        self._panel.stop.clicked.connect(lambda _checked=False: self.stop())

    @property
    def running(self) -> bool:
        """Whether it learns, or reads its training data."""
        return self._folder is not None

    def start(self, out: Path, lessons: list[Lesson], seen: ViewerImage) -> None:
        """Learn an adapter from lessons, in the background."""
        self._folder = folder = Path(tempfile.mkdtemp(prefix="napari-sam3-learn-"))
        self._rest, self._said, self._stopping = b"", {}, False
        self._panel.show_running(True)
        self._panel.show_result(text.PREPARING)
        job = {
            "base": self._models.current,
            "device": self._widget.options.device,
            "out": os.fspath(out),
            "settings": {"minutes": self._panel.minutes.value(), **self.settings},
        }
        self._runner.call(
            partial(_write, job, lessons, seen, folder), partial(self._on_written, folder)
        )

    def stop(self) -> None:
        """End soon and keep the best state; the second time, end at once and keep nothing."""
        if self.process is None or self._stopping:
            self._said = {"discarded": True}
            self._end_process()
            if self.process is None:
                self._finish()
            return
        self._stopping = True
        self._panel.show_result(text.STOPPING)
        self.process.closeWriteChannel()

    def close(self) -> None:
        """End at once, without a trace."""
        self._closed = True
        self._end_process()
        self._clear()

    # ------------------------------------------------------------------ inside

    def _on_start(self) -> None:
        self._widget.guard(self._ask)

    def _ask(self) -> None:
        if self.running:
            return
        binding, base = self._widget.binding, self._models.current
        if binding is None or binding.plane is None:
            raise LayerError(text.NO_IMAGE)
        if base != EMBEDDED and not Path(base).is_file():
            raise ConfigError(f"{text.NOT_A_FILE}: {base}. {text.EXPECTED_FILE}")
        source = binding.labels_on(binding.plane).source
        ours = self._widget.session.objects_in(source)
        objects = [one for one in ours if binding.sync.owns(one.plane, source)]
        from napari_sam3.session.lessons import find_lessons

        lessons = find_lessons(objects, lambda key: binding.labels_on(key.plane))
        place = binding.image.source.path
        folder = Path(place).parent if place else Path.cwd()
        stem = Path(place or binding.image.name).name.split(".")[0].strip() or "labels"
        chosen, _ = QFileDialog.getSaveFileName(
            self._panel.window(),
            text.SAVE_TITLE,
            os.fspath(folder / text.file_name(stem)),
            text.ADAPTERS,
        )
        if chosen:
            out = Path(chosen)
            out = out if out.suffix == text.SUFFIX else out.with_name(out.name + text.SUFFIX)
            self.start(out, lessons, binding.snapshot())

    def _on_written(self, folder: Path, found: Any) -> None:
        if self._folder != folder:  # stopped meanwhile
            shutil.rmtree(folder, ignore_errors=True)
        elif isinstance(found, BaseException):
            self._clear()
            self._panel.show_running(False)
            self._panel.show_result("")
            self._widget.report(found)
        else:
            self._panel.show_result(text.LOADING)
            self._launch(folder)

    def _launch(self, folder: Path) -> None:
        process = self.process = QProcess(self)
        process.readyReadStandardOutput.connect(self._on_output)
        process.finished.connect(lambda *_: self._finish())
        process.errorOccurred.connect(self._on_error)
        process.start(sys.executable, ["-m", MODULE, os.fspath(folder)])

    def _on_output(self) -> None:
        if self.process is None:
            return
        *lines, self._rest = (self._rest + self.process.readAllStandardOutput().data()).split(b"\n")
        for line in lines:
            said = _read(line)
            if said.keys() >= _PROGRESS:
                if not self._stopping:
                    self._panel.show_progress(said["share"])
                    learning = text.learning(said["steps"], said["before"], said["best"])
                    self._panel.show_result(learning)
            elif _ENDS & said.keys():
                self._said = said

    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self._finish()  # it never finishes

    def _finish(self) -> None:
        """Show the result, and offer the adapter."""
        self._on_output()
        said, trouble = self._said, ""
        if self.process is not None:
            lines = self.process.readAllStandardError().data().decode(errors="replace").split("\n")
            trouble = next((line.strip() for line in reversed(lines) if line.strip()), "")
        self._clear()
        if self._closed:
            return
        self._panel.show_running(False)
        self._panel.show_result("")
        if "outcome" in said:
            self._show_outcome(said["outcome"])
        elif "discarded" in said:
            self._panel.show_result(text.DISCARDED)
        else:
            self._widget.report(TrainingError(said.get("error", text.ended(trouble))))

    def _show_outcome(self, outcome: dict[str, Any]) -> None:
        if outcome["path"] is None:
            self._panel.show_result(text.NO_GAIN)
            return
        self._models.offer(outcome["path"])
        name = Path(outcome["path"]).name
        self._panel.show_result(
            text.learnt(name, outcome["before"], outcome["after"], outcome["kept_aside"])
        )

    def _end_process(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.waitForFinished(PATIENCE_MS)

    def _clear(self) -> None:
        process, self.process = self.process, None
        folder, self._folder = self._folder, None
        if process is not None:
            process.deleteLater()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _read(line: bytes) -> dict[str, Any]:
    """Return the message in a line of the process; {} for the output of libraries."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _write(job: dict[str, Any], lessons: list[Lesson], seen: ViewerImage, folder: Path) -> None:
    """Write the inputs of the process. Raises OSError and Sam3Error."""
    from napari_sam3.session.lessons import write_lessons

    by_plane = {lesson.plane: _image(seen, lesson.plane) for lesson in lessons}
    try:
        write_lessons(lessons, by_plane.__getitem__, folder)
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    except OSError as error:
        raise TrainingError(
            f"{folder} cannot be written: {error.strerror or error}. Expected a few hundred "
            "megabytes of free space. Make room there."
        ) from error


def _image(seen: ViewerImage, key: Any) -> Any:
    """Return a plane as the model sees it, by its key in the session."""
    from napari_sam3.images.plane_image import RenderedPlane

    channels = (None if one is None else one.on(key.plane) for one in seen.channels)
    return RenderedPlane(*channels)
