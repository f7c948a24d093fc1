"""Click on an object in napari and get its mask as a label."""
