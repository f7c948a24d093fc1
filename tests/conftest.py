"""Settings every test runs under; set before anything imports napari, Qt or a hub client."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.guard import network_guard

# A leaked Qt object or a worker that outlives its test is a fault of ours, not noise.
os.environ.setdefault("NAPARI_STRICT_QT", "1")
# The tester's own napari settings are neither read nor written.
os.environ["NAPARI_CONFIG"] = ""
# A test that reaches for a model hub should fail at once, with or without a network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("QT_API", "pyqt6")
# Journals of what is labelled go to a cache of the tests, not to the tester's.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="napari-sam3-tests-")

# Nothing is sent anywhere: every connection but those to this machine is refused, and its test
# fails, in this process and in the Python processes that it starts.
_REFUSALS = Path(tempfile.mkdtemp(prefix="napari-sam3-tests-")) / "refusals"
_REFUSALS.touch()
os.environ[network_guard.LOG] = str(_REFUSALS)
_GUARD = str(Path(network_guard.__file__).parent)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_GUARD, os.environ.get("PYTHONPATH")]))
network_guard.install()

# The same examples every time: a build fails for what was changed, not by chance.
# Workers slow each other, so that time says nothing.
settings.register_profile("seeded", derandomize=True, deadline=None)
settings.load_profile("seeded")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[object]) -> None:
    """Share the cores among workers: more threads than cores are several times slower.

    numba, by which napari draws labels, sets the number of OpenMP's threads, and so of torch's.
    """
    threads = max(1, (os.cpu_count() or 1) // len(specs))
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))


@pytest.fixture(autouse=True)
def no_connection() -> Iterator[None]:
    """Fail a test that reached for another machine, even if nobody looked at the refusal."""
    before = _REFUSALS.stat().st_size
    yield
    refused = _REFUSALS.read_bytes()[before:].decode()
    assert not refused, f"no test may reach another machine:\n{refused}"


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """Small models on a busy machine are several times faster without threads of torch."""
    from sam3.runtime.cores import torch_threads

    with torch_threads(1):
        yield


@pytest.fixture(scope="session")
def eight_bit_products() -> None:
    """Skip tests of 8-bit layers on a processor without exact products of that kind."""
    from sam3 import load_predictor
    from sam3.errors import UnsupportedError

    try:
        load_predictor(device="cpu", precision="int8", resolution=252)
    except UnsupportedError as error:
        pytest.skip(str(error))
