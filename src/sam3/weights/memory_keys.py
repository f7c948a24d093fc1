"""Tables from the tensors of a weights file to the parameters of a tracker's memory.

The counterpart of :mod:`sam3.weights.keys` for :class:`sam3.model.memory.Memory`.
"""

from __future__ import annotations

from sam3.config import MemoryConfig
from sam3.weights.keys import Source, weight_and_bias

__all__ = [
    "MEMORY_PREFIXES",
    "OWN_MEMORY_PREFIX",
    "multiplex_memory_table",
    "official_memory_table",
    "transformers_memory_table",
]

OWN_MEMORY_PREFIX = "memory."
"""Prefix of a memory's parameters in files of our own format."""

_OFFICIAL_PARTS = (
    "mask_downsample.",
    "maskmem_",
    "no_obj_",
    "obj_ptr_",
    "transformer.",
)
MEMORY_PREFIXES: dict[str, tuple[str, ...]] = {
    "napari-sam3": (OWN_MEMORY_PREFIX,),
    "official": tuple(f"tracker.{part}" for part in _OFFICIAL_PARTS),
    "sam3.1": tuple(f"tracker.model.{part}" for part in _OFFICIAL_PARTS),
    "transformers": (
        "tracker_model.mask_downsample.",
        "tracker_model.memory_",
        "tracker_model.no_object_pointer",
        "tracker_model.object_pointer_proj.",
        "tracker_model.occlusion_spatial_embedding_parameter",
        "tracker_model.temporal_positional_encoding_projection_layer.",
    ),
}
"""Prefixes of a memory's tensors, by format. Every tensor with such a prefix must be used."""


def official_memory_table(config: MemoryConfig) -> dict[str, Source]:
    """Return the table of the official ``sam3.pt``."""
    return _table(config, "tracker.")


def multiplex_memory_table(config: MemoryConfig) -> dict[str, Source]:
    """Return the table of SAM 3.1, whose names have an additional prefix."""
    return _table(config, "tracker.model.")


def _table(config: MemoryConfig, prefix: str) -> dict[str, Source]:
    encoder = f"{prefix}maskmem_backbone"
    table = {
        "frame_positions": Source((f"{prefix}maskmem_tpos_enc",)),
        "no_pointer": Source((f"{prefix}no_obj_ptr",)),
        "no_object": Source((f"{prefix}no_obj_embed_spatial",)),
        **weight_and_bias("mask_downsample", f"{prefix}mask_downsample"),
        **weight_and_bias("pointer_position_proj", f"{prefix}obj_ptr_tpos_proj"),
        **weight_and_bias("encoder.feature_proj", f"{encoder}.pix_feat_proj"),
        **weight_and_bias("encoder.out_proj", f"{encoder}.out_proj"),
        **weight_and_bias("attention.norm", f"{prefix}transformer.encoder.norm"),
    }
    for i in range(3):
        table |= weight_and_bias(f"pointer_proj.layers.{i}", f"{prefix}obj_ptr_proj.layers.{i}")
    for i in (0, 1, 3, 4, 6, 7, 9, 10, 12):
        table |= weight_and_bias(
            f"encoder.mask_embed.{i}", f"{encoder}.mask_downsampler.encoder.{i}"
        )
    for i in range(config.fuser_layers):
        ours, theirs = f"encoder.blocks.{i}", f"{encoder}.fuser.layers.{i}"
        table[f"{ours}.gamma"] = Source((f"{theirs}.gamma",))
        for mine, other in (
            ("depthwise", "dwconv"),
            ("norm", "norm"),
            ("fc1", "pwconv1"),
            ("fc2", "pwconv2"),
        ):
            table |= weight_and_bias(f"{ours}.{mine}", f"{theirs}.{other}")
    for i in range(config.layers):
        table |= _attention_layer(i, f"{prefix}transformer.encoder.layers.{i}", "out_proj", "norm")
    return table


def transformers_memory_table(config: MemoryConfig) -> dict[str, Source]:
    """Return the table of ``model.safetensors`` in the naming of Hugging Face transformers."""
    prefix, encoder = "tracker_model", "tracker_model.memory_encoder"
    table = {
        "frame_positions": Source((f"{prefix}.memory_temporal_positional_encoding",)),
        "no_pointer": Source((f"{prefix}.no_object_pointer",)),
        "no_object": Source((f"{prefix}.occlusion_spatial_embedding_parameter",)),
        **weight_and_bias("mask_downsample", f"{prefix}.mask_downsample"),
        **weight_and_bias(
            "pointer_position_proj", f"{prefix}.temporal_positional_encoding_projection_layer"
        ),
        **weight_and_bias("encoder.feature_proj", f"{encoder}.feature_projection"),
        **weight_and_bias("encoder.out_proj", f"{encoder}.projection"),
        **weight_and_bias("encoder.mask_embed.12", f"{encoder}.mask_downsampler.final_conv"),
        **weight_and_bias("attention.norm", f"{prefix}.memory_attention.layer_norm"),
    }
    for i, layer in enumerate(("proj_in", "layers.0", "proj_out")):
        table |= weight_and_bias(
            f"pointer_proj.layers.{i}", f"{prefix}.object_pointer_proj.{layer}"
        )
    for i in range(4):
        step = f"{encoder}.mask_downsampler.layers.{i}"
        table |= weight_and_bias(f"encoder.mask_embed.{3 * i}", f"{step}.conv")
        table |= weight_and_bias(f"encoder.mask_embed.{3 * i + 1}", f"{step}.layer_norm")
    for i in range(config.fuser_layers):
        ours, theirs = f"encoder.blocks.{i}", f"{encoder}.memory_fuser.layers.{i}"
        table[f"{ours}.gamma"] = Source((f"{theirs}.scale",))
        for mine, other in (
            ("depthwise", "depthwise_conv"),
            ("norm", "layer_norm"),
            ("fc1", "pointwise_conv1"),
            ("fc2", "pointwise_conv2"),
        ):
            table |= weight_and_bias(f"{ours}.{mine}", f"{theirs}.{other}")
    for i in range(config.layers):
        theirs = f"{prefix}.memory_attention.layers.{i}"
        table |= _attention_layer(i, theirs, "o_proj", "layer_norm")
    return table


def _attention_layer(number: int, theirs: str, out: str, norm: str) -> dict[str, Source]:
    """Return the table of a layer of the memory attention; both namings have the same layout."""
    ours = f"attention.layers.{number}"
    table: dict[str, Source] = {}
    for mine, other in (("self_attn", "self_attn"), ("cross_attn", "cross_attn_image")):
        for part in ("q_proj", "k_proj", "v_proj"):
            table |= weight_and_bias(f"{ours}.{mine}.{part}", f"{theirs}.{other}.{part}")
        table |= weight_and_bias(f"{ours}.{mine}.out_proj", f"{theirs}.{other}.{out}")
    for n in (1, 2, 3):
        table |= weight_and_bias(f"{ours}.norm{n}", f"{theirs}.{norm}{n}")
    for n in (1, 2):
        table |= weight_and_bias(f"{ours}.lin{n}", f"{theirs}.linear{n}")
    return table
