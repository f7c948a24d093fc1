"""Texts of the review area. No Qt."""

from __future__ import annotations

from .panel import Wording

# No __all__: every text is for others.

TITLE = "Review (SAM 3)"
OPEN = Wording("Review", "Show all objects and candidates in a table, the worst first")
NEXT = Wording("Next worst", "Show the object or candidate with the next lowest score")
ACCEPT = Wording("Accept", "Accept the candidate shown, and go to the next")
DROP = Wording("Drop", "Drop the candidate or delete the object shown, and go to the next")
ACCEPT_ALL = Wording("Accept all", "Accept all candidates shown, on all planes, as one step")
DROP_ALL = Wording("Drop all", "Drop all candidates, on all planes")
LINK = Wording("Link through z", "Link the labels of all planes into objects of the stack")
READ = Wording("Open results…", "Open results of a batch, or labels of any program, as candidates")
#: Entries of its menu: a title and a name.
READ_CHOICES = (
    ("File (TIFF, session, Cellpose, ImageJ, GeoJSON, COCO …) …", "file"),
    ("Folder (OME-Zarr, batch) …", "folder"),
)
READ_FILTER = (
    "Labels (*.tif *.tiff *.png *.npy *.zip *.roi *.geojson *.json *.json.gz *.txt);;All files (*)"
)
SCORE = Wording("Score", "Hide candidates whose score is outside this range", "Range of the score")
AREA = Wording(
    "Area", "Hide candidates whose area in px is outside this range", "Range of the area"
)
TABLE = Wording("", "Click on a row to go to its object", "Objects and candidates")
COLUMNS = ("Object", "Score", "Area", "Class", "Plane")
CANDIDATE = "candidate"


def count(shown: int, kept: int, objects: int) -> str:
    """Give the numbers of shown candidates, all candidates and objects."""
    return f"{shown} of {kept} candidates, {objects} objects"


def linked(labels: int, objects: int, removed: int) -> str:
    """Describe the result of linking."""
    return f"{labels} labels are {objects} objects now; {removed} on too few planes were removed."
