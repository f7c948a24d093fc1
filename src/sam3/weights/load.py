"""Safe, strict loading and saving of weights, reading only the tensors that a click needs."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save as serialize
from torch import Tensor, nn

from sam3.config import ModelConfig, get_preset
from sam3.errors import CheckpointError, CheckpointNotFoundError
from sam3.files import write_whole
from sam3.model.click_model import ClickModel
from sam3.model.unfilled import unfilled_model
from sam3.runtime.torch_state import own_defaults
from sam3.weights.file import (
    StoredTensor,
    WeightsFile,
    empty_parameter,
    fill,
    hash_of,
    map_in_threads,
    open_weights,
)
from sam3.weights.keys import (
    MULTIPLEX_DROPPED,
    OFFICIAL_DROPPED,
    OWN_DETECTOR_PREFIX,
    OWN_PROPOSAL_PREFIX,
    TRANSFORMERS_DROPPED,
    Source,
    multiplex_table,
    official_table,
    transformers_table,
)
from sam3.weights.memory_keys import MEMORY_PREFIXES, OWN_MEMORY_PREFIX

if TYPE_CHECKING:
    from sam3.model.detector_model import DetectorModel
    from sam3.model.memory import Memory
    from sam3.model.proposal_head import ProposalHead

__all__ = [
    "CheckpointInfo",
    "embedded_weights",
    "fingerprint",
    "inspect",
    "is_dropped",
    "load",
    "load_into",
    "load_with_fingerprint",
    "opened",
    "save",
    "weights_file",
]

_LOG = logging.getLogger(__name__)
_CONFIG_KEY = "sam3_config"
_OWN_DROPPED = {
    OWN_MEMORY_PREFIX: "video memory",
    OWN_DETECTOR_PREFIX: "concept detector",
    OWN_PROPOSAL_PREFIX: "proposal head",
}


@dataclass(frozen=True)
class CheckpointInfo:
    """Identity of a weights file.

    Attributes
    ----------
    path : Path
        The file.
    format : str
        ``"napari-sam3"`` (our own), ``"official"``, ``"transformers"``, or ``"sam3.1"``
        (experimental: not tested with a real file).
    config : ModelConfig
        Sizes of the model it fills.
    tensors : int
        Number of tensors in the file.
    """

    path: Path
    format: str
    config: ModelConfig
    tensors: int


def embedded_weights() -> Path:
    """Return the path of the small model included in the package."""
    return Path(__file__).with_name("tiny.safetensors")


def weights_file(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the weights file of a name ("tiny" for the included model) or path.

    Raises
    ------
    CheckpointNotFoundError
        For "sam3", which is not included.
    """
    name = os.fspath(name_or_path)
    if name == "sam3":
        raise CheckpointNotFoundError(
            "the released SAM 3 weights are not part of this package. Expected the path of a "
            "downloaded file. Request access at huggingface.co/facebook/sam3 and download sam3.pt "
            'or model.safetensors, or use the embedded model "tiny".'
        )
    return embedded_weights() if name == "tiny" else Path(name)


def load(
    path: str | os.PathLike[str],
    *,
    config: ModelConfig | None = None,
    resolution: int | None = None,
) -> ClickModel:
    """Build the model of a weights file and load its weights.

    Parameters
    ----------
    path : path-like
        A ``.safetensors`` or ``.pt`` file; the content determines its format.
    config : ModelConfig, optional
        Sizes, if they differ from those in the file or, for the released files, from the
        full-size preset.
    resolution : int, optional
        Side of the model's input in pixels, if it differs from the configuration.

    Returns
    -------
    ClickModel
        In evaluation mode, float32, on the CPU.

    Raises
    ------
    CheckpointNotFoundError
        If the file does not exist.
    CheckpointError
        If the file is damaged, unsafe or was made for another model; the message counts and names
        missing tensors and tensors of the wrong shape.
    """
    return load_with_fingerprint(path, config=config, resolution=resolution)[0]


def load_with_fingerprint(
    path: str | os.PathLike[str],
    *,
    config: ModelConfig | None = None,
    resolution: int | None = None,
) -> tuple[ClickModel, str]:
    """Load a model as :func:`load` does and compute its :func:`fingerprint`.

    Faster than computing it afterwards, since the weights pass through the cache only once.
    """
    with own_defaults(), opened(path, config, resolution) as (info, file):
        model = unfilled_model(info.config)
        table, dropped = _click_table(info, model)
        expected = [n for n in file.tensors if not is_dropped(n, dropped)]
        hashes = load_into(model, info, table, expected, file)
    return model, _combine(model.state_dict(), hashes)


@contextmanager
def opened(
    path: str | os.PathLike[str],
    config: ModelConfig | None = None,
    resolution: int | None = None,
) -> Iterator[tuple[CheckpointInfo, WeightsFile]]:
    """Open a weights file and identify it, for loading parts of a model from it.

    Raises
    ------
    CheckpointNotFoundError, CheckpointError
        As :func:`load`.
    """
    with ExitStack() as stack:
        file = open_weights(_existing_file(path), stack)
        info = _identify(Path(path), file, config)
        if resolution is not None:
            info = replace(info, config=info.config.with_resolution(resolution))
        yield info, file


def inspect(path: str | os.PathLike[str]) -> CheckpointInfo:
    """Identify a weights file without loading it.

    Raises
    ------
    CheckpointNotFoundError, CheckpointError
        As :func:`load`.
    """
    with opened(path) as (info, _):
        return info


def save(
    model: ClickModel,
    path: str | os.PathLike[str],
    *,
    dtype: torch.dtype = torch.float32,
    metadata: Mapping[str, str] | None = None,
    memory: Memory | None = None,
    detector: DetectorModel | None = None,
    proposals: ProposalHead | None = None,
) -> None:
    """Write a model in our own format, with its configuration in the metadata.

    Parameters
    ----------
    model : ClickModel
        The model to save.
    path : path-like
        The file, which is written atomically.
    dtype : torch.dtype
        Precision of the parameters in the file; they are always loaded as float32.
    metadata : mapping, optional
        Additional entries for the metadata of the file.
    memory : Memory, optional
        Memory of a tracker, saved in the same file.
    detector : DetectorModel, optional
        Concept detector for the same trunk, saved in the same file.
    proposals : ProposalHead, optional
        Proposal head for the same features, saved in the same file.
    """
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    state |= {k: state[k].to(dtype) for k, _ in model.named_parameters()}
    config = replace(
        model.config,
        memory=None if memory is None else memory.config,
        detector=None if detector is None else detector.config.detector,
        proposals=None if proposals is None else proposals.config,
    )
    for part, prefix in (
        (memory, OWN_MEMORY_PREFIX),
        (detector, OWN_DETECTOR_PREFIX),
        (proposals, OWN_PROPOSAL_PREFIX),
    ):
        tensors = part.state_dict() if part is not None else {}
        state |= {prefix + k: v.detach().cpu().contiguous().to(dtype) for k, v in tensors.items()}
    content = serialize(state, {**(metadata or {}), _CONFIG_KEY: config.to_json()})
    write_whole(Path(path), content)


def fingerprint(model: ClickModel) -> str:
    """Hash all parameters with their names, shapes and data types: 16 hexadecimal digits."""
    state = model.state_dict()
    return _combine(state, dict(zip(state, map_in_threads(hash_of, state.values()), strict=True)))


def _combine(state: Mapping[str, Tensor], hashes: Mapping[str, bytes]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode() + hashes[name])
    return digest.hexdigest()


def _existing_file(path: str | os.PathLike[str]) -> Path:
    file = Path(path)
    if file.is_dir():
        raise CheckpointError(
            f"{file} is a folder. Expected a file. Give the weights file inside it."
        )
    if not file.exists():
        raise CheckpointNotFoundError(
            f"the weights file does not exist: {file}. Expected a downloaded file. Check the "
            'path, or use the embedded model (name "tiny").'
        )
    return file


def _identify(path: Path, file: WeightsFile, config: ModelConfig | None) -> CheckpointInfo:
    names = set(file.tensors)
    if _CONFIG_KEY in file.metadata:
        own = config or ModelConfig.from_json(file.metadata[_CONFIG_KEY])
        return CheckpointInfo(path, "napari-sam3", own, len(names))
    released = config or get_preset("sam3")
    if any(n.startswith("tracker.model.interactive_sam_") for n in names):
        _LOG.warning("%s looks like SAM 3.1; loading its click head is experimental", path)
        return CheckpointInfo(path, "sam3.1", released, len(names))
    if any(n.startswith(("tracker.sam_mask_decoder.", "detector.backbone.")) for n in names):
        return CheckpointInfo(path, "official", released, len(names))
    if any(n.startswith(("tracker_model.", "detector_model.")) for n in names):
        return CheckpointInfo(path, "transformers", released, len(names))
    raise CheckpointError(
        f"{path} is not a SAM 3 weights file: none of its {len(names)} tensors has a name from "
        "sam3.pt or model.safetensors (the first are "
        f"{', '.join(sorted(names)[:3]) or 'absent'}). Expected such names; SAM 1 and SAM 2 files "
        "do not fit. Get sam3.pt from huggingface.co/facebook/sam3."
    )


def _click_table(
    info: CheckpointInfo, model: ClickModel
) -> tuple[Mapping[str, Source], Mapping[str, str]]:
    """Return the sources of a click model's parameters, and the tensors to ignore."""
    if info.format == "official":
        return official_table(info.config), OFFICIAL_DROPPED
    if info.format == "sam3.1":
        return multiplex_table(info.config), MULTIPLEX_DROPPED
    if info.format == "transformers":
        return transformers_table(info.config), TRANSFORMERS_DROPPED
    return {n: Source((n,)) for n in model.state_dict()}, _OWN_DROPPED


def load_into(
    model: nn.Module,
    info: CheckpointInfo,
    table: Mapping[str, Source],
    expected: Sequence[str],
    file: WeightsFile,
) -> dict[str, bytes]:
    """Load all parameters of a model and return their hashes; an error lists all faults.

    Each tensor that is `expected` must be used. The model is then in evaluation mode and frozen.
    """
    parameters = model.state_dict()
    names = set(file.tensors)
    used = {key for source in table.values() for key in source.keys}
    missing = sorted(used - names)
    unknown = sorted(set(expected) - used)
    if missing or unknown:
        raise CheckpointError(
            f"{info.path} does not fit the model {info.config.name!r} ({info.format} naming): "
            f"{_listing(missing, 'missing')}; {_listing(unknown, 'unknown')}. "
            f"Expected all parameters of the model and no others. {_hint(info, missing)}"
        )
    stored = {name: [file.tensors[key] for key in source.keys] for name, source in table.items()}
    misshapen = [
        f"{table[name].keys[0]} is {_sizes(parts)}, expected {_size(parameters[name].shape)}"
        for name, parts in stored.items()
        if table[name].shape(*(part.shape for part in parts)) != parameters[name].shape
    ]
    if misshapen:
        raise CheckpointError(
            f"{info.path} does not fit the model {info.config.name!r}: "
            f"{_listing(misshapen, 'misshapen')}. Expected the shapes of the model. Choose the "
            "file of this model."
        )
    state = {name: empty_parameter(tensor.shape) for name, tensor in parameters.items()}
    as_stored = [name for name in state if table[name].as_stored]
    hashes_of_stored = fill((state[name], stored[name]) for name in as_stored)
    hashes = dict(zip(as_stored, hashes_of_stored, strict=True))
    for name in state.keys() - hashes.keys():
        state[name].copy_(table[name].build(*map(_read, stored[name])))
        hashes[name] = hash_of(state[name])
    _LOG.info("loaded %s (%s naming, %d tensors)", info.path, info.format, len(state))
    model.load_state_dict(state, strict=True, assign=True)
    model.requires_grad_(False).eval()
    return hashes


def _read(stored: StoredTensor) -> Tensor:
    tensor = empty_parameter(stored.shape)
    fill([(tensor, [stored])])
    return tensor


def _sizes(parts: Sequence[StoredTensor]) -> str:
    return " and ".join(_size(part.shape) for part in parts)


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def is_dropped(name: str, dropped: Mapping[str, str]) -> bool:
    """Tell whether a table of prefixes, and of suffixes after ``*``, contains a tensor."""
    return any(
        name.endswith(rule[1:]) if rule.startswith("*") else name.startswith(rule)
        for rule in dropped
    )


def _listing(names: list[str], what: str) -> str:
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"{len(names)} tensors {what}" + (f" ({shown})" if names else "")


def _hint(info: CheckpointInfo, missing: list[str]) -> str:
    if any(name.startswith(MEMORY_PREFIXES[info.format]) for name in missing):
        return "The file seems to lack the tracker's memory. Propagate from mask to mask."
    if any(name.startswith("tracker") for name in missing):
        return "The file seems to lack the tracker, as detector-only fine-tunes do. Choose another."
    return f"Its sizes may differ from the preset {info.config.name!r}. Pass its configuration."
