"""Drive the layers of a viewer from a script; save what was done and do it again elsewhere.

Run ``python examples/drive_a_viewer.py --output driven``. It needs no display; with ``--show`` the
same calls drive a napari window, which stays open. The image is skimage's coins and the model is
the embedded one, so nothing is downloaded.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import skimage.data
from napari.components import ViewerModel

import sam3
from napari_sam3 import Binding, bind

FOREGROUND, BACKGROUND = {"polarity": "foreground"}, {"polarity": "background"}


def main(argv: list[str] | None = None) -> Path:
    """Label four coins, save the session, replay it in a second viewer; return the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("driven"))
    parser.add_argument("--show", action="store_true", help="in a napari window")
    arguments = parser.parse_args(argv)
    file: Path = arguments.output / "coins.session.json"
    predictor = sam3.load_predictor()
    viewer = make_viewer(arguments.show)
    viewer.add_image(skimage.data.coins(), name="coins")
    with bind(viewer, predictor=predictor) as binding:
        label_coins(binding)
        binding.save_session(file, overwrite=True)
        print(f"saved {file}")
        replay_elsewhere(file, predictor, binding)
        if arguments.show:
            import napari

            napari.run()
    return file


def make_viewer(show: bool) -> ViewerModel:
    """Return a window, or a viewer without one: `bind` does not mind."""
    if show:
        import napari

        return napari.Viewer()
    return ViewerModel()


def replay_elsewhere(file: Path, predictor: sam3.Predictor, first: Binding) -> None:
    """Do again what a session file holds, in another viewer with the same image."""
    viewer = ViewerModel()
    viewer.add_image(skimage.data.coins(), name="the same coins")
    with bind(viewer, predictor=predictor) as binding:
        count = binding.replay(file)
        same = np.array_equal(binding.labels.data, first.labels.data)
        print(f"replayed {count} operations: the labels are {'equal' if same else 'different'}")


def label_coins(binding: Binding) -> None:
    """Label coins by clicks and a box, with a step back. Positions are (row, column)."""
    points, boxes = binding.points, binding.boxes
    # Adding to the layers is what a person's clicks do: the mask is there when `add` returns.
    points.add([51, 155])
    report("one click", binding)
    binding.accept()

    # What new points mean stands in the layer's defaults; in napari, a right click.
    points.add([127, 154])
    points.feature_defaults = BACKGROUND
    points.add([161, 156])
    points.feature_defaults = FOREGROUND
    report("and one on what is not part of it", binding)
    binding.accept()

    boxes.add_rectangles([[102, 314], [148, 359]])
    report("a box", binding)
    binding.accept()

    points.add([119, 271])
    binding.next_candidate()
    report("a click, and the next of the masks offered", binding)
    binding.accept()
    # The mask is in hand again, out of the labels; its prompts are dropped with it.
    binding.undo()
    binding.reject()
    points.add([125, 271])
    report("undone, and clicked elsewhere", binding)
    binding.accept()
    ids = np.unique(binding.labels.data)[1:].tolist()
    print(f"labels {ids}, noted as\n{binding.labels.features.to_string(index=False)}")


def report(what: str, binding: Binding) -> None:
    """Print the mask in hand."""
    mask = binding.session.prediction
    assert mask is not None, "a click in the image has a mask"
    print(f"{what}: {mask.mask.area} px, score {mask.score:.2f}")


if __name__ == "__main__":
    main()
