"""Read and write weights: safely, strictly, and only the tensors that a click needs."""

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
    open_weights,
    side_by_side,
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
    "load_with_fingerprint",
    "opened",
    "read_state",
    "save",
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
    """What a weights file is.

    Attributes
    ----------
    path : Path
        The file.
    format : str
        ``"napari-sam3"`` (our own), ``"official"``, ``"transformers"``, or ``"sam3.1"``
        (experimental: no real file of that kind has been seen).
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
    """Return the path of the small model that ships with the package."""
    return Path(__file__).with_name("tiny.safetensors")


def load(
    path: str | os.PathLike[str],
    *,
    config: ModelConfig | None = None,
    resolution: int | None = None,
) -> ClickModel:
    """Build the model that a weights file holds and fill it.

    Parameters
    ----------
    path : path-like
        A ``.safetensors`` or ``.pt`` file; its format is told from its content.
    config : ModelConfig, optional
        Sizes, where they differ from what the file says or, for the released files, from the
        full-size preset.
    resolution : int, optional
        Side of the model's input in pixels, where it is not to be the configured one.

    Returns
    -------
    ClickModel
        In evaluation mode, float32, on the CPU.

    Raises
    ------
    CheckpointNotFoundError
        If there is no such file.
    CheckpointError
        If the file is damaged, unsafe or made for another model; missing and misshapen tensors
        are counted and named.
    """
    return load_with_fingerprint(path, config=config, resolution=resolution)[0]


def load_with_fingerprint(
    path: str | os.PathLike[str],
    *,
    config: ModelConfig | None = None,
    resolution: int | None = None,
) -> tuple[ClickModel, str]:
    """Load a model as :func:`load` does, and take its :func:`fingerprint` on the way.

    That costs less than taking it afterwards: the weights pass through the cache only once.
    """
    with own_defaults(), opened(path, config, resolution) as (info, file):
        model = unfilled_model(info.config)
        table, dropped = _click_table(info, model)
        expected = [n for n in file.tensors if not is_dropped(n, dropped)]
        state, hashes = read_state(info, model, table, expected, file)
        model.load_state_dict(state, strict=True, assign=True)
        model.requires_grad_(False)
    return model.eval(), _combine(state, hashes)


@contextmanager
def opened(
    path: str | os.PathLike[str],
    config: ModelConfig | None = None,
    resolution: int | None = None,
) -> Iterator[tuple[CheckpointInfo, WeightsFile]]:
    """Open a weights file and tell what it is, for the parts of a model that are read from it.

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
    """Tell what a weights file is without loading it.

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
    """Write a model in our own format, its configuration in the metadata.

    Parameters
    ----------
    model : ClickModel
        The model.
    path : path-like
        Target; written to a temporary name first and then renamed.
    dtype : torch.dtype
        Precision of the parameters in the file; models are always loaded as float32.
    metadata : mapping, optional
        More entries for the file's metadata.
    memory : Memory, optional
        Of a tracker, into the same file.
    detector : DetectorModel, optional
        The concept detector of the same trunk, into the same file.
    proposals : ProposalHead, optional
        For the features of the same trunk, into the same file.
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
    """Hash of all parameters, their names, shapes and kinds: 16 hexadecimal digits."""
    state = model.state_dict()
    return _combine(state, dict(zip(state, side_by_side(hash_of, state.values()), strict=True)))


def _combine(state: Mapping[str, Tensor], hashes: Mapping[str, bytes]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode() + hashes[name])
    return digest.hexdigest()


def _existing_file(path: str | os.PathLike[str]) -> Path:
    file = Path(path)
    if file.is_dir():
        raise CheckpointError(f"{file} is a folder; give the weights file inside it.")
    if not file.exists():
        raise CheckpointNotFoundError(
            f"there is no weights file {file}; check the path, or use the embedded model "
            '(name "tiny").'
        )
    return file


def _identify(path: Path, file: WeightsFile, config: ModelConfig | None) -> CheckpointInfo:
    found = set(file.tensors)
    if _CONFIG_KEY in file.metadata:
        own = config or ModelConfig.from_json(file.metadata[_CONFIG_KEY])
        return CheckpointInfo(path, "napari-sam3", own, len(found))
    released = config or get_preset("sam3")
    if any(n.startswith("tracker.model.interactive_sam_") for n in found):
        _LOG.warning("%s looks like SAM 3.1; loading its click head is experimental", path)
        return CheckpointInfo(path, "sam3.1", released, len(found))
    if any(n.startswith(("tracker.sam_mask_decoder.", "detector.backbone.")) for n in found):
        return CheckpointInfo(path, "official", released, len(found))
    if any(n.startswith(("tracker_model.", "detector_model.")) for n in found):
        return CheckpointInfo(path, "transformers", released, len(found))
    raise CheckpointError(
        f"{path} is no SAM 3 weights file: of its {len(found)} tensors none is named as in sam3.pt "
        f"or model.safetensors (the first are {', '.join(sorted(found)[:3]) or 'absent'}). "
        "SAM 1 and SAM 2 files do not fit; get sam3.pt from huggingface.co/facebook/sam3."
    )


def _click_table(
    info: CheckpointInfo, model: ClickModel
) -> tuple[Mapping[str, Source], Mapping[str, str]]:
    """Return the sources of a click model's parameters, and what else the file may hold."""
    if info.format == "official":
        return official_table(info.config), OFFICIAL_DROPPED
    if info.format == "sam3.1":
        return multiplex_table(info.config), MULTIPLEX_DROPPED
    if info.format == "transformers":
        return transformers_table(info.config), TRANSFORMERS_DROPPED
    return {n: Source((n,)) for n in model.state_dict()}, _OWN_DROPPED


def read_state(
    info: CheckpointInfo,
    model: nn.Module,
    table: Mapping[str, Source],
    expected: Sequence[str],
    file: WeightsFile,
) -> tuple[dict[str, Tensor], dict[str, bytes]]:
    """Collect every parameter of `model`, and its hash, or raise with the whole list of faults.

    Tensors of the file that are `expected` to be of use must be so.
    """
    wanted = model.state_dict()
    found = set(file.tensors)
    used = {key for source in table.values() for key in source.keys}
    missing = sorted(used - found)
    unknown = sorted(set(expected) - used)
    if missing or unknown:
        raise CheckpointError(
            f"{info.path} does not fit the model {info.config.name!r} ({info.format} naming): "
            f"{_listing(missing, 'missing')}; {_listing(unknown, 'unknown')}. "
            + _hint(info, missing)
        )
    stored = {name: [file.tensors[key] for key in one.keys] for name, one in table.items()}
    misshapen = [
        f"{table[name].keys[0]} is {_sizes(parts)}, expected {_size(wanted[name].shape)}"
        for name, parts in stored.items()
        if table[name].shape(*(part.shape for part in parts)) != wanted[name].shape
    ]
    if misshapen:
        raise CheckpointError(
            f"{info.path} does not fit the model {info.config.name!r}: "
            f"{_listing(misshapen, 'misshapen')}."
        )
    state = {name: empty_parameter(tensor.shape) for name, tensor in wanted.items()}
    as_stored = [name for name in state if table[name].as_stored]
    read = fill((state[name], stored[name]) for name in as_stored)
    hashes = dict(zip(as_stored, read, strict=True))
    for name in state.keys() - hashes.keys():
        state[name].copy_(table[name].build(*map(_read, stored[name])))
        hashes[name] = hash_of(state[name])
    _LOG.info("loaded %s (%s naming, %d tensors)", info.path, info.format, len(state))
    return state, hashes


def _read(stored: StoredTensor) -> Tensor:
    tensor = empty_parameter(stored.shape)
    fill([(tensor, [stored])])
    return tensor


def _sizes(parts: Sequence[StoredTensor]) -> str:
    return " and ".join(_size(part.shape) for part in parts)


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def is_dropped(name: str, dropped: Mapping[str, str]) -> bool:
    """Whether a table of prefixes, and of suffixes after ``*``, names a tensor."""
    return any(
        name.endswith(rule[1:]) if rule.startswith("*") else name.startswith(rule)
        for rule in dropped
    )


def _listing(names: list[str], what: str) -> str:
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"{len(names)} tensors {what}" + (f" ({shown})" if names else "")


def _hint(info: CheckpointInfo, missing: list[str]) -> str:
    if any(name.startswith(MEMORY_PREFIXES[info.format]) for name in missing):
        return "The file seems to lack the memory of the tracker; propagate from mask to mask."
    if any(name.startswith("tracker") for name in missing):
        return "The file seems to lack the tracker, as detector-only fine-tunes do; clicks need it."
    return f"Its size may differ from the preset {info.config.name!r}; pass its configuration."
