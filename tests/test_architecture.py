"""The walls between the rooms hold, and importing a module does nothing slow."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run_python(code: str) -> str:
    """Run ``code`` in an interpreter that has imported nothing yet; return what it printed."""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_walls_between_the_rooms() -> None:
    """The contracts are in pyproject.toml; chains and imports inside functions count too."""
    run_python("from importlinter.cli import lint_imports_command as command; command()")


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("napari_sam3", {"torch", "napari", "qtpy", "skimage"}),
        ("napari_sam3.cli.main", {"torch", "napari", "qtpy", "skimage"}),
        ("napari_sam3.session.headless", {"torch", "napari", "qtpy"}),
        ("napari_sam3.layers.bind", {"torch", "qtpy"}),
        ("napari_sam3.qt.widget", {"torch"}),
        ("sam3.config", {"torch"}),
    ],
)
def test_import_stays_light(module: str, unwanted: set[str]) -> None:
    loaded = run_python(f"import sys, {module}; print(*sorted(set(sys.modules) & {unwanted!r}))")
    assert loaded.split() == []


def test_predicting_loads_no_compiler() -> None:
    """Triton's LLVM and the one of Mesa's OpenGL in one process end a running viewer."""
    loaded = run_python(
        "import sys; from sam3.model_builder import random_predictor as predictor\n"
        "sam = predictor(); features = sam.encode([[0.0, 1.0]] * 2)\n"
        "sam.predict(features, [[1, 1]], [1]); print(*set(sys.modules) & {'triton', 'torchvision'})"
    )
    assert loaded.split() == []


def test_the_click_path_does_without_the_detector() -> None:
    parts = {
        "sam3.concepts.detector",
        "sam3.model.detector_model",
        "tokenizers",
        "ftfy",
        "torchvision",
    }
    loaded = run_python(
        "import sys; from sam3 import load_predictor; sam = load_predictor(device='cpu')\n"
        "features = sam.encode([[0.0, 1.0]] * 2); sam.predict(features, [[1, 1]], [1])\n"
        f"assert features.trunk is None; print(*set(sys.modules) & {parts!r})"
    )
    assert loaded.split() == []


def test_detecting_loads_no_compiler() -> None:
    """Boxes are pooled by torchvision's operator, without its modules, which load Triton."""
    loaded = run_python(
        "import sys, torch; from sam3.model.box_operators import roi_align\n"
        "pooled = roi_align(torch.ones(1, 2, 9, 9), torch.tensor([[1.0, 1, 5, 5]]), 7)\n"
        "assert pooled.shape == (1, 2, 7, 7) and (pooled == 1).all()\n"
        "import sam3.concepts.detector; print(*set(sys.modules) & {'triton', 'torchvision'})"
    )
    assert loaded.split() == []


def test_manifest_at_the_top_is_the_one_in_the_package() -> None:
    package = ROOT / "src" / "napari_sam3" / "napari.yaml"
    assert (ROOT / "napari.yaml").read_text() == package.read_text()
