"""Sizes of the models as plain data, importable without torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from sam3.errors import ConfigError

_T = TypeVar("_T")
_RESOLUTIONS = (252, 2016)

__all__ = [
    "PRESETS",
    "DecoderConfig",
    "DetectorConfig",
    "MemoryConfig",
    "ModelConfig",
    "PromptEncoderConfig",
    "TrunkConfig",
    "get_preset",
]


@dataclass(frozen=True, kw_only=True)
class TrunkConfig:
    """Sizes of the vision transformer that encodes the image.

    Parameters
    ----------
    width : int
        Channels of a token.
    depth : int
        Number of transformer blocks.
    heads : int
        Attention heads; ``width / heads`` must be a multiple of 4 for the 2D rotary embedding.
    mlp_hidden : int
        Hidden width of each block's MLP.
    global_blocks : tuple of int
        Indices of the blocks that attend over the whole image; the others attend in windows.
    window : int
        Side of an attention window, in tokens.
    patch_size : int
        Side of a patch, in pixels of the model's input.
    pretrain_grid : int
        Side of the learned position table, in tokens; it is tiled over larger grids.
    layer_norm_eps : float
        Epsilon of every LayerNorm of the trunk.
    """

    width: int
    depth: int
    heads: int
    mlp_hidden: int
    global_blocks: tuple[int, ...]
    window: int = 24
    patch_size: int = 14
    pretrain_grid: int = 24
    layer_norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        if self.width % self.heads or (self.width // self.heads) % 4:
            raise ConfigError(
                f"invalid width of a head: {self.width / self.heads:g} (trunk width {self.width}, "
                f"{self.heads} heads). Expected a multiple of 4. Choose another width or number "
                "of heads."
            )
        if self.width % 4:
            raise ConfigError(
                f"invalid trunk width: {self.width}. Expected a multiple of 4. Choose one."
            )
        outside = [b for b in self.global_blocks if not 0 <= b < self.depth]
        if outside:
            raise ConfigError(
                f"invalid global_blocks: {outside}. Expected 0 to {self.depth - 1}. Choose blocks "
                "of the trunk."
            )


@dataclass(frozen=True, kw_only=True)
class PromptEncoderConfig:
    """Settings of the prompt encoder.

    Parameters
    ----------
    mask_channels : int
        Channels in the middle of the mask-prompt network.
    render_prompts : bool
        Also draw clicks and boxes into the mask-prompt channel. False for the released model;
        true for the embedded one, which learns the positions of prompts much faster this way.
    """

    mask_channels: int = 16
    render_prompts: bool = False


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Sizes of the mask decoder.

    Parameters
    ----------
    depth : int
        Layers of the two-way transformer.
    heads : int
        Attention heads.
    mlp_hidden : int
        Hidden width of the MLP on the tokens.
    attention_downsample : int
        Cross-attention works at ``channels / attention_downsample`` channels.
    """

    depth: int = 2
    heads: int = 8
    mlp_hidden: int = 2048
    attention_downsample: int = 2


@dataclass(frozen=True, kw_only=True)
class MemoryConfig:
    """Sizes of the memory of a tracker.

    Parameters
    ----------
    channels : int
        Channels of a memory, a multiple of 4 that divides those of the model.
    layers : int
        Layers of the memory attention.
    mlp_hidden : int
        Hidden width of the MLP in each layer.
    fuser_layers : int
        Blocks that fuse a mask with the features of its frame.
    frames : int
        Temporal positions of memories: one for frames with a prompt, the others for the frames
        tracked last.
    pointers : int
        Besides those of frames with a prompt, object pointers of fewer than this many frames are
        attended to.
    conditioning : int
        Maximum number of frames with a prompt that are attended to.
    preferred : bool
        Whether objects are propagated with this memory unless asked otherwise. If not, each mask
        is predicted from the one before, as that is better, or faster and as good.
    """

    channels: int = 64
    layers: int = 4
    mlp_hidden: int = 2048
    fuser_layers: int = 2
    frames: int = 7
    pointers: int = 16
    conditioning: int = 4
    preferred: bool = True

    def __post_init__(self) -> None:
        if self.channels <= 0 or self.channels % 4:
            raise ConfigError(
                f"invalid channels of the memory: {self.channels}. Expected a multiple of 4. "
                "Choose one."
            )


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """Sizes of the concept detector, which finds all instances of a text or example boxes.

    Parameters
    ----------
    text_width, text_depth, text_heads, text_mlp_hidden : int
        Channels, blocks, attention heads and MLP width of the text encoder.
    vocabulary, context : int
        Number of distinct tokens, and maximum number of tokens of a text.
    geometry_depth, encoder_depth, decoder_depth : int
        Layers of the transformers for example boxes, for fusing image and prompt, and for the
        queries.
    heads, mlp_hidden : int
        Attention heads and MLP width of these three transformers.
    queries : int
        Maximum number of instances on one image.
    """

    text_width: int = 1024
    text_depth: int = 24
    text_heads: int = 16
    text_mlp_hidden: int = 4096
    vocabulary: int = 49408
    context: int = 32
    geometry_depth: int = 3
    encoder_depth: int = 6
    decoder_depth: int = 6
    heads: int = 8
    mlp_hidden: int = 2048
    queries: int = 200


@dataclass(frozen=True, kw_only=True)
class ProposalConfig:
    """Sizes of the proposal head, which finds objects before the first click.

    Parameters
    ----------
    coarse, middle, fine : int
        Channels at 1, 2 and 4 times the resolution of the token grid.
    """

    coarse: int = 96
    middle: int = 64
    fine: int = 32


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes that determine the shape of a SAM 3 model for clicks.

    Parameters
    ----------
    name : str
        Name shown to users and stored with features.
    resolution : int
        Side of the square model input, in pixels; a multiple of the patch size.
    channels : int
        Channels of the neck, the prompts and the decoder.
    trunk, prompt_encoder, decoder
        Sizes of these networks.
    default_level : int
        Pyramid level on which a click on a large plane starts: a field of
        ``resolution * 2**level`` image pixels is encoded.
    fill_hole_area : int
        Background components of at most this many low-resolution pixels are filled.
    memory : MemoryConfig, optional
        Sizes of the tracker's memory, if the model has one.
    three_after_correction : bool
        Whether three masks, as for a first click, are also better than a single one after clicks
        that correct a mask. A recommendation to callers; the decoder predicts either.
    detector : DetectorConfig, optional
        Sizes of the concept detector, if the model has one.
    proposals : ProposalConfig, optional
        Sizes of the proposal head, if the model has one.
    """

    name: str
    resolution: int
    channels: int
    trunk: TrunkConfig
    prompt_encoder: PromptEncoderConfig = field(default_factory=PromptEncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    default_level: int = 0
    fill_hole_area: int = 256
    memory: MemoryConfig | None = None
    three_after_correction: bool = False
    detector: DetectorConfig | None = None
    proposals: ProposalConfig | None = None

    def __post_init__(self) -> None:
        if self.resolution <= 0 or self.resolution % self.trunk.patch_size:
            raise ConfigError(
                f"invalid resolution: {self.resolution}. Expected a positive multiple of the "
                f"patch size {self.trunk.patch_size}. Choose one."
            )
        if self.memory is not None and self.channels % self.memory.channels:
            raise ConfigError(
                f"{self.channels} channels cannot be split into memory tokens of "
                f"{self.memory.channels}. Expected a divisor. Choose one."
            )

    @property
    def patch_size(self) -> int:
        """Side of a patch, in pixels of the model's input."""
        return self.trunk.patch_size

    @property
    def grid(self) -> int:
        """Side of the token grid."""
        return self.resolution // self.trunk.patch_size

    @property
    def mask_size(self) -> int:
        """Side L of the low-resolution logits, four times the token grid."""
        return 4 * self.grid

    def with_resolution(self, resolution: int) -> ModelConfig:
        """Return the configuration of the same model for another input size.

        Parameters
        ----------
        resolution : int
            Side of the input in pixels, a multiple of the patch size from 252 to 2016.

        Raises
        ------
        ConfigError
            If the resolution is none of these.
        """
        low, high = _RESOLUTIONS
        if resolution % self.patch_size or not low <= resolution <= high:
            raise ConfigError(
                f"the resolution is not supported: {resolution}. Expected a multiple of "
                f"{self.patch_size} from {low} to {high}, such as {self.resolution}. Choose one."
            )
        area = round(self.fill_hole_area * (resolution / self.resolution) ** 2)
        return replace(self, resolution=resolution, fill_hole_area=area)

    def to_json(self) -> str:
        """Serialise to JSON for the metadata of our weights files."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Parse a configuration written by :meth:`to_json`.

        Raises
        ------
        ConfigError
            If the text is not such a configuration.
        """
        try:
            data = json.loads(text)
            data["trunk"] = _build(TrunkConfig, data["trunk"])
            data["prompt_encoder"] = _build(PromptEncoderConfig, data["prompt_encoder"])
            data["decoder"] = _build(DecoderConfig, data["decoder"])
            for name, part in _OPTIONAL_PARTS.items():
                if data.get(name) is not None:  # older files lack the entry
                    data[name] = _build(part, data[name])
            return cls(**data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"the stored model configuration cannot be read ({error}). Expected one of this "
                "version. Get the file again, or the version that wrote it."
            ) from error


_OPTIONAL_PARTS: Mapping[str, type[Any]] = {
    "memory": MemoryConfig,
    "detector": DetectorConfig,
    "proposals": ProposalConfig,
}


def _build(cls: type[_T], data: Mapping[str, Any]) -> _T:
    names = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - names)
    if unknown:
        raise ValueError(f"unknown entries for {cls.__name__}: {unknown}")
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})


PRESETS: Mapping[str, ModelConfig] = {
    "sam3": ModelConfig(
        name="sam3",
        resolution=1008,
        channels=256,
        trunk=TrunkConfig(
            width=1024, depth=32, heads=16, mlp_hidden=4736, global_blocks=(7, 15, 23, 31)
        ),
        memory=MemoryConfig(),
        detector=DetectorConfig(),
    ),
    "tiny": ModelConfig(
        name="tiny",
        resolution=448,
        channels=128,
        trunk=TrunkConfig(
            width=192,
            depth=6,
            heads=6,
            mlp_hidden=768,
            global_blocks=(1, 3, 5),
            window=8,
            pretrain_grid=8,
        ),
        prompt_encoder=PromptEncoderConfig(render_prompts=True),
        decoder=DecoderConfig(mlp_hidden=512),
        default_level=-1,
        fill_hole_area=32,
        three_after_correction=True,
    ),
}
"""Configurations by name: ``sam3`` is the released model, ``tiny`` the embedded one."""


def get_preset(name: str) -> ModelConfig:
    """Return the configuration of a preset.

    Raises
    ------
    ConfigError
        If there is no such preset; the message lists the names.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise ConfigError(
            f"unknown preset: {name!r}. Expected one of {', '.join(sorted(PRESETS))}. Choose one."
        ) from None
