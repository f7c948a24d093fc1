"""The files that pages of the documentation begin with, by the names that the pages give them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import tifffile
import zarr
from PIL import Image
from skimage.segmentation import relabel_sequential

from napari_sam3.core.axes import ImageAxes
from napari_sam3.core.planes import plane_from_array
from napari_sam3.labels.ome_zarr import create_labels
from napari_sam3.layers.sample_data import make_nuclei, nuclei, stack
from napari_sam3.session.session import LabelingSession
from sam3 import load_predictor
from sam3.weights.load import embedded_weights

#: Row and column at which the nuclei of the slide begin.
SECTION = (200, 300)
Names = dict[str, Any]


class Undisturbed:
    """Hears of a job, and does not end it."""

    cancelled = abandoned = False

    def report(self, stage: str, fraction: float | None = None) -> None:
        """Hear of the stage."""


def coins() -> Names:
    """An 8-bit image."""
    Image.fromarray(skimage.data.coins()).save("coins.png")
    tifffile.imwrite("cells.tif", skimage.data.coins())
    return {}


def cells_with_scale() -> Names:
    """An image that knows the size of its pixels."""
    scale = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite("cells.ome.tif", skimage.data.coins(), metadata={"axes": "YX", **scale})
    return {}


def cells_and_outlines() -> Names:
    """The same, and outlines of another program."""
    corners = [[140, 110], [170, 110], [170, 140], [140, 140]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "properties": {"classification": {"name": "coin"}},
    }
    Path("cells.geojson").write_text(json.dumps(feature))
    return cells_with_scale()


def sample_nuclei() -> Names:
    """The sample "Nuclei, 16 bit"."""
    tifffile.imwrite("nuclei.tif", nuclei()[0][0])
    return {}


def sample_stack() -> Names:
    """The sample "Nuclei, 3D stack"."""
    tifffile.imwrite("stack.tif", stack()[0][0])
    return {}


def labels_of_planes() -> Names:
    """Labels that were found plane by plane."""
    truth = stack()[1][0][:8]
    numbered = np.stack([relabel_sequential(plane)[0] for plane in truth])
    create_labels("planes.zarr", numbered.shape, np.uint16, ImageAxes.of("zyx")).array[:] = numbered
    session, coins = LabelingSession(load_predictor("tiny")), skimage.data.coins()[:160, :200]
    session.set_plane(plane_from_array(coins), "plane", np.zeros(coins.shape, np.uint16))
    return {"session": session}


def images() -> Names:
    """A folder of images, for a series."""
    Path("images").mkdir()
    for number, left in enumerate((0, 40), 1):
        tifffile.imwrite(
            f"images/coins {number}.tif", skimage.data.coins()[:250, left : left + 300]
        )
    return {}


def small_stack() -> Names:
    """Ten planes with what the page on batches clicks on, and a folder of images."""
    tifffile.imwrite("stack.tif", make_nuclei((12, 128, 200), count=14, seed=2)[0][:10])
    return images()


def slide() -> Names:
    """An OME-Zarr with nuclei at one place, and nothing elsewhere."""
    section = nuclei()[0][0][:200, 120:280]
    group = zarr.create_group("slide.ome.zarr", overwrite=True)
    array = group.create_array(
        "0",
        shape=(500, 600),
        chunks=(200, 200),
        dtype=section.dtype,
        fill_value=int(np.median(section)),
    )
    array[SECTION[0] : SECTION[0] + 200, SECTION[1] : SECTION[1] + 160] = section
    axes: list[Any] = [{"name": name, "type": "space"} for name in "yx"]
    scale: Any = {"type": "scale", "scale": [1.0, 1.0]}
    level: Any = {"path": "0", "coordinateTransformations": [scale]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level]}]}
    return {}


def large_images() -> Names:
    """A stack of few planes, and a slide."""
    tifffile.imwrite("stack.tif", np.stack([skimage.data.coins()[:160, :160]] * 5))
    return slide()


def commands() -> Names:
    """Everything that the page on the command line names."""
    coins()
    slide()
    image = skimage.data.coins()[:160, :160]
    tifffile.imwrite("stack.tif", np.stack([image] * 8))
    tifffile.imwrite("stack.ome.tif", np.stack([image] * 2), metadata={"axes": "ZYX"})
    np.save("photo.npy", skimage.data.immunohistochemistry()[:160, :200])
    Path("clicks.csv").write_text("object,x,y\n1,380,258\n2,370,358\n", encoding="utf-8")
    Path("planes.csv").write_text("plane,object,x,y\n3,1,110,84\n5,1,40,60\n", encoding="utf-8")
    return {}


def own_weights() -> Names:
    """Weights under another name."""
    shutil.copy(embedded_weights(), "mine.safetensors")
    return {}


def a_binding() -> Names:
    """A viewer in which something was accepted."""
    from napari.components import ViewerModel

    import sam3
    from napari_sam3 import bind

    viewer = ViewerModel()
    viewer.add_image(skimage.data.coins())
    binding = bind(viewer, predictor=sam3.load_predictor())
    binding.points.add([127, 154])
    binding.accept()
    return {"binding": binding}


def a_plane() -> Names:
    """What finding objects is given."""
    import sam3
    from napari_sam3 import EmbeddingCache, plane_from_array
    from napari_sam3.images.plane_image import ArrayPlane

    image = nuclei()[0][0][:128, 150:330]
    return {
        "plane": ArrayPlane(plane_from_array(image)),
        "predictor": sam3.load_predictor(),
        "cache": EmbeddingCache(limit_bytes=100_000_000),
        "control": Undisturbed(),
        "tiles": [(slice(0, 128), slice(0, 90)), (slice(0, 128), slice(90, 180))],
        "labels": np.zeros(image.shape, np.uint16),
    }


#: What a page needs; the others need nothing.
SAMPLES: dict[str, Callable[[], Names]] = {
    "README.md": coins,
    "docs/batch.md": small_stack,
    "docs/batch_automatic.md": a_plane,
    "docs/command-line.md": commands,
    "docs/labelling.md": a_binding,
    "docs/large-images.md": large_images,
    "docs/inputs.md": cells_and_outlines,
    "docs/outputs.md": cells_with_scale,
    "docs/review.md": labels_of_planes,
    "docs/series.md": images,
    "docs/tutorials/cells.md": sample_nuclei,
    "docs/tutorials/cluster.md": slide,
    "docs/tutorials/refine.md": sample_nuclei,
    "docs/tutorials/slide.md": slide,
    "docs/tutorials/weights.md": own_weights,
    "docs/tutorials/z-stack.md": sample_stack,
}
