"""Compare the packages with their limits: sizes, circles, imports upwards, names used twice.

    python scripts/house.py [--long]

With ``--long``, the places that exceed or come near each bar are listed too. Modules count as
files, except ``__init__.py``; docstrings do not count as lines of a function; ``py.typed`` does not
count as an entry at the top.
"""

from __future__ import annotations

import argparse
import ast
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import grimp
import networkx

ROOT = Path(__file__).parent.parent
PLUGIN, MODEL = "napari_sam3", "sam3"
#: The public import path of the notebook's processor is a module that imports it from its folder.
ALLOWED = {("sam3.model.sam3_image_processor", "sam3.notebook")}
#: Folders beside the packages, and the most lines of any file.
BESIDE, LINES = ("benchmarks", "examples", "scripts", "tests"), 400
Import = tuple[str, str]


@dataclass(frozen=True)
class Measure:
    """One bar and what was measured.

    Parameters
    ----------
    name : str
        What is measured.
    value, bar : float
        Measured value, and the most that is allowed.
    found : tuple of str
        Places that count, the worst first.
    """

    name: str
    value: float
    bar: float
    found: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether it is no higher than its bar."""
        return self.value <= self.bar


def measure_house() -> list[Measure]:
    """Measure all bars."""
    measures = [_entries(ROOT / "src" / PLUGIN)]
    for package in (PLUGIN, MODEL):
        folder = ROOT / "src" / package
        files = [(len(_text(path).splitlines()), _name(path)) for path in _modules(folder)]
        functions = [found for path in _modules(folder) for found in _functions(path)]
        twice = _names_used_twice(folder)
        measures += [
            *_sizes(f"{package}: lines of a file", files, 170, LINES),
            *_sizes(f"{package}: lines of a function", functions, 10, 50),
            Measure(f"{package}: class names defined twice", len(twice), 0, twice),
        ]
    for name in BESIDE:
        files = [
            (len(_text(path).splitlines()), str(path.relative_to(ROOT)))
            for path in (ROOT / name).rglob("*.py")
        ]
        measures.append(_largest(f"{name}: lines of a file", files, LINES))
    imports = read_imports()
    for package in (PLUGIN, MODEL):
        inner = [pair for pair in imports if all(_within(name, package) for name in pair)]
        circles = tuple(find_circles(inner))
        measures.append(Measure(f"{package}: circles", len(circles), 0, circles))
    upward = tuple(find_upward(imports, room_ranks()))
    return [*measures, Measure(f"{PLUGIN}: imports upwards", len(upward), 0, upward)]


def count_lines(folder: Path) -> int:
    """Count the lines of all Python files in a folder."""
    return sum(len(_text(path).splitlines()) for path in folder.rglob("*.py"))


def find_circles(imports: Iterable[Import]) -> list[str]:
    """Name each group of files or folders side by side that import each other in a circle.

    Parameters
    ----------
    imports : iterable of (str, str)
        Importer and imported module, by their full names.

    Returns
    -------
    list of str
    """
    siblings = networkx.DiGraph()
    for importer, imported in imports:
        one, other = _below_common(importer, imported)
        if one != other and (importer, other) not in ALLOWED:
            siblings.add_edge(one, other)
    groups = networkx.strongly_connected_components(siblings)
    return sorted(" <-> ".join(sorted(group)) for group in groups if len(group) > 1)


def find_upward(imports: Iterable[Import], ranks: dict[str, int]) -> list[str]:
    """Name the imports of a room from one that is above it or beside it.

    Parameters
    ----------
    imports : iterable of (str, str)
        Importer and imported module.
    ranks : dict of str to int
        The rooms of the plugin, the lowest with the lowest number.

    Returns
    -------
    list of str
    """
    found = []
    for pair in imports:
        rooms = [name.split(".")[1] for name in pair if name.startswith(f"{PLUGIN}.")]
        if len(rooms) == 2 and rooms[0] != rooms[1] and ranks[rooms[0]] <= ranks[rooms[1]]:
            found.append(" -> ".join(pair))
    return sorted(found)


def room_ranks() -> dict[str, int]:
    """Read the order of the rooms from the contract in pyproject.toml, the lowest first."""
    settings = tomllib.loads(_text(ROOT / "pyproject.toml"))["tool"]["importlinter"]
    (layers,) = [one["layers"] for one in settings["contracts"] if one["type"] == "layers"]
    return {
        room.strip(): rank
        for rank, rooms in enumerate(reversed(layers))
        for room in rooms.split("|")
    }


def read_imports() -> list[Import]:
    """Return all imports within the two packages, those inside functions and for types too."""
    graph = grimp.build_graph(PLUGIN, MODEL, cache_dir=None)
    return [
        (importer, imported)
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
    ]


def _below_common(importer: str, imported: str) -> Import:
    """Cut two names where they part, so that they name siblings; the same where one holds both."""
    one, other = importer.split("."), imported.split(".")
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    if same in (len(one), len(other)):
        return importer, importer
    return ".".join(one[: same + 1]), ".".join(other[: same + 1])


def _entries(folder: Path) -> Measure:
    names = {path.name for path in folder.iterdir()} - {"__pycache__", "py.typed"}
    found = tuple(sorted(names))
    return Measure(f"{folder.name}: entries at the top", len(found), 12, found)


def _sizes(name: str, found: list[tuple[int, str]], middle: int, most: int) -> list[Measure]:
    middle_one = Measure(f"{name}, median", median(lines for lines, _ in found), middle)
    return [middle_one, _largest(name, found, most)]


def _largest(name: str, found: list[tuple[int, str]], most: int) -> Measure:
    found = sorted(found, reverse=True)
    near = tuple(f"{lines:4}  {where}" for lines, where in found if lines > 0.9 * most)
    return Measure(f"{name}, largest", found[0][0], most, near)


def _names_used_twice(folder: Path) -> tuple[str, ...]:
    places = defaultdict(list)
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(_text(path))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(_name(path))
    return tuple(
        f"{name}: {', '.join(sorted(where))}"
        for name, where in sorted(places.items())
        if len(where) > 1
    )


def _functions(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(_text(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            yield lines, f"{_name(path)}: {node.name}"


def _modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if path.name != "__init__.py")


def _within(name: str, package: str) -> bool:
    return name.split(".")[0] == package


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT / "src"))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def main() -> None:
    """Print all measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--long", action="store_true", help="list the places too")
    long = parser.parse_args().long
    for one in measure_house():
        verdict = "holds" if one.holds else "ABOVE"
        print(f"{one.name:<50} {one.value:>6g}  bar {one.bar:>4g}  {verdict}")
        for place in one.found if long else ():
            print(f"    {place}")
    for package in (PLUGIN, MODEL):
        print(f"{package + ': lines in all':<50} {count_lines(ROOT / 'src' / package):>6}")


if __name__ == "__main__":
    main()
