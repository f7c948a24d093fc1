"""SAM 3 for interactive segmentation."""
