"""What is said about a device."""

import pytest
import torch

from sam3.errors import DeviceError
from sam3.runtime.devices import choose_device, describe_device


@pytest.mark.skipif(choose_device("auto").type != "cpu", reason="has an accelerator")
@pytest.mark.parametrize("device", ["auto", "cpu", torch.device("cpu")])
def test_a_cpu_says_that_nothing_better_was_found(device: str | torch.device) -> None:
    assert describe_device(device) == "CPU: no CUDA or MPS device was found"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_named_with_its_precision() -> None:
    name = torch.cuda.get_device_name(0)
    assert describe_device().startswith(f"CUDA: {name}, ")
    assert describe_device("cpu") == "CPU: as requested, although CUDA is available; float32"


def test_a_device_that_does_not_exist_is_refused() -> None:
    with pytest.raises(DeviceError, match="cuda:99"):
        describe_device("cuda:99")
