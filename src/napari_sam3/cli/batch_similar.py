"""The mode similar of `napari-sam3 batch`: its arguments and its concept."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sam3.errors import PromptError, UnsupportedError

if TYPE_CHECKING:
    from napari_sam3.batch import Mode
    from napari_sam3.images.lazy import LazyImage
    from napari_sam3.inference.similar.examples import Concept

__all__ = ["add_examples", "similar_mode"]


def add_examples(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the mode similar."""
    command.add_argument(
        "--examples",
        metavar="LABELS",
        type=Path,
        help="labels of some objects of IMAGE, or of --examples-image, for the mode similar",
    )
    command.add_argument(
        "--examples-image", metavar="IMAGE", type=Path, help="image of the examples, if another"
    )
    command.add_argument(
        "--text",
        metavar="NAME",
        help="a short noun phrase such as 'nucleus', instead of the examples or in addition, for "
        "weights with a text encoder",
    )
    command.add_argument(
        "--min-score",
        metavar="SCORE",
        type=float,
        default=None,
        help="minimum score in the mode similar, 0 to 1 (default: 0.5)",
    )


def similar_mode(image: LazyImage | None, arguments: argparse.Namespace) -> Mode:
    """Learn the concept from the examples and the name, with the model.

    Without an image, as for a folder, the examples need an image of their own.
    """
    from napari_sam3.batch import Similar
    from napari_sam3.inference.models import names_objects
    from napari_sam3.inference.remote.address import is_remote
    from napari_sam3.inference.similar.examples import Concept, checked_text
    from napari_sam3.inference.similar.search import NO_TEXT

    name = None if arguments.text is None else checked_text(arguments.text)
    if arguments.examples is None and name is None:
        raise PromptError(
            "the mode similar has no example. Expected --examples, a label image with at least "
            "one object, or --text, a name. Pass one, or use --mode automatic."
        )
    if arguments.examples_image is not None and arguments.examples is None:
        raise PromptError(
            f"--examples-image {str(arguments.examples_image)!r} comes without --examples. "
            "Expected a label image of it. Add --examples, or leave the image out."
        )
    if image is None and arguments.examples is not None and arguments.examples_image is None:
        raise PromptError(
            f"--examples {str(arguments.examples)!r} does not name its image, of several. Expected "
            "--examples-image, the image that was labelled. Add it."
        )
    model = arguments.model
    if name is not None and not is_remote(model) and not names_objects(model):
        raise UnsupportedError(NO_TEXT)
    shown = [] if arguments.examples is None else [_examples(image, arguments)]
    concept = Concept.joined([*shown, Concept(text=name)])
    options = {"tile": arguments.tile, "threshold": arguments.min_score}
    return Similar(concept=concept, **{k: v for k, v in options.items() if v is not None})


def _examples(image: LazyImage | None, arguments: argparse.Namespace) -> Concept:
    """Learn the concept of labelled objects."""
    from napari_sam3.batch import BatchControl, concept_of_labels
    from napari_sam3.images.lazy import open_image
    from napari_sam3.inference.models import ModelHandle, detector_loader
    from napari_sam3.labels.formats.label_files import open_label_file

    other = arguments.examples_image
    shown = image if other is None else open_image(other, rgb=arguments.rgb)
    assert shown is not None, "it was checked"
    labels = open_label_file(arguments.examples)
    try:
        data = labels.data[0] if labels.multiscale else labels.data
        predictor = ModelHandle.of(arguments.model, arguments.device)()  # the batch takes it, too
        control, detector = BatchControl(), detector_loader()(predictor)
        concept = concept_of_labels(shown, data, predictor, control, arguments.contrast, detector)
    finally:
        labels.close()
        if other is not None:
            shown.close()
    assert concept is not None, "it is never cancelled"
    return concept
