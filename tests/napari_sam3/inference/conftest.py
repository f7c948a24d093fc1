"""A server for tests of models on another computer, one for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.napari_sam3.serving import Server, save_weights, serving


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(path)
    return str(path)


@pytest.fixture(scope="session")
def server(weights: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(weights, tmp_path_factory.mktemp("key")) as started:
        yield started
