"""Tables from the tensors of a weights file to the parameters of the model, one per format.

A table maps every parameter name of :class:`sam3.model.click_model.ClickModel` to a
:class:`Source`. All other tensors that a file may hold are listed as dropped, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sam3.config import ModelConfig

__all__ = [
    "MULTIPLEX_DROPPED",
    "OFFICIAL_DROPPED",
    "OWN_DETECTOR_PREFIX",
    "OWN_PROPOSAL_PREFIX",
    "TRANSFORMERS_DROPPED",
    "Source",
    "concatenate",
    "multiplex_table",
    "official_table",
    "transformers_table",
    "weight_and_bias",
]

OFFICIAL_DROPPED: Mapping[str, str] = {
    "detector.backbone.language_backbone.": "text prompts",
    "detector.backbone.vision_backbone.convs.": "neck of the text detector",
    "detector.backbone.vision_backbone.sam2_convs.3.": "quarter-size level, unused for clicks",
    "detector.dot_prod_scoring.": "text detector",
    "detector.geometry_encoder.": "text detector",
    "detector.segmentation_head.": "text detector",
    "detector.transformer.": "text detector",
    "tracker.mask_downsample.": "video memory",
    "tracker.maskmem_": "video memory",
    "tracker.no_mem_pos_enc": "video memory",
    "tracker.no_obj_": "video memory",
    "tracker.obj_ptr_": "video memory",
    "tracker.transformer.": "video memory",
    "*.freqs_cis": "rotary tables, recomputed",
}
"""Prefixes (or suffixes after ``*``) of official keys that clicks do not need."""

TRANSFORMERS_DROPPED: Mapping[str, str] = {
    "detector_model.detr_": "text detector",
    "detector_model.dot_product_scoring.": "text detector",
    "detector_model.geometry_encoder.": "text detector",
    "detector_model.mask_decoder.": "text detector",
    "detector_model.text_": "text prompts",
    "detector_model.vision_encoder.neck.": "neck of the text detector",
    "tracker_model.mask_downsample.": "video memory",
    "tracker_model.memory_": "video memory",
    "tracker_model.no_memory_positional_encoding": "video memory",
    "tracker_model.no_object_pointer": "video memory",
    "tracker_model.object_pointer_proj.": "video memory",
    "tracker_model.occlusion_spatial_embedding_parameter": "video memory",
    "tracker_model.shared_image_embedding.": "copy of the prompt encoder's",
    "tracker_model.temporal_positional_encoding_projection_layer.": "video memory",
    "tracker_neck.fpn_layers.3.": "quarter-size level, unused for clicks",
}
"""The same for files in transformers' naming."""

MULTIPLEX_DROPPED: Mapping[str, str] = {
    "detector.": "text detector and its necks",
    "tracker.": "video memory and the decoder for many objects at once",
}
"""The same for ``sam3.1_multiplex.pt``, of which only the click head is supported."""

OWN_DETECTOR_PREFIX = "detector."
"""Prefix of the concept detector's parameters in files of our own format."""
OWN_PROPOSAL_PREFIX = "proposals."
"""Prefix of the proposal head's parameters in files of our own format."""


@dataclass(frozen=True)
class Source:
    """The origin of a parameter.

    Parameters
    ----------
    keys : tuple of str
        Names of the tensors in the file.
    convert : callable, optional
        Computes the parameter from these tensors; by default it is the only tensor.
    """

    keys: tuple[str, ...]
    convert: Callable[..., Tensor] | None = None

    def build(self, *tensors: Tensor) -> Tensor:
        """Compute the parameter from the file's tensors."""
        return tensors[0] if self.convert is None else self.convert(*tensors)

    @property
    def as_stored(self) -> bool:
        """Whether the parameter consists of the file's tensors, consecutive in memory."""
        return self.convert is None or self.convert is concatenate

    def shape(self, *shapes: Sequence[int]) -> tuple[int, ...] | None:
        """Return the shape of `build` for tensors of these shapes; None if they do not fit."""
        first = tuple(shapes[0])
        if self.convert is None:
            return first
        if self.convert is concatenate:
            fits = first and all(tuple(shape[1:]) == first[1:] for shape in shapes)
            return (sum(shape[0] for shape in shapes), *first[1:]) if fits else None
        # Expanded scalars take no memory; tensors on "meta" would load torch's compiler.
        try:
            return tuple(self.convert(*(torch.zeros(()).expand(s) for s in shapes)).shape)
        except (IndexError, RuntimeError):
            return None


def concatenate(*tensors: Tensor) -> Tensor:
    """Concatenate tensors along their first axis, as three projections into a packed one."""
    return torch.cat(tensors)


def _position_table(table: Tensor) -> Tensor:
    """Reshape (1, side**2 [+ class token], C) to (1, side, side, C)."""
    side = int(table.shape[1] ** 0.5)
    square: Tensor = table[:, table.shape[1] - side * side :].unflatten(1, (side, side))
    return square


def weight_and_bias(ours: str, theirs: str) -> dict[str, Source]:
    """Return the sources of a layer's weight and bias."""
    return {f"{ours}.{leaf}": Source((f"{theirs}.{leaf}",)) for leaf in ("weight", "bias")}


def official_table(config: ModelConfig) -> dict[str, Source]:
    """Return the table of the official ``sam3.pt``."""
    backbone = "detector.backbone.vision_backbone"
    prompt, decoder = "tracker.sam_prompt_encoder", "tracker.sam_mask_decoder"
    trunk, necks = f"{backbone}.trunk", f"{backbone}.sam2_convs"
    table = {
        "no_memory_embed": Source(("tracker.no_mem_embed",)),
        "trunk.patch_embed.weight": Source((f"{trunk}.patch_embed.proj.weight",)),
        "trunk.pos_embed": Source((f"{trunk}.pos_embed",), _position_table),
        **weight_and_bias("trunk.ln_pre", f"{trunk}.ln_pre"),
        "prompt_encoder.gaussian": Source(
            (f"{prompt}.pe_layer.positional_encoding_gaussian_matrix",)
        ),
        "prompt_encoder.point_embed": Source(
            tuple(f"{prompt}.point_embeddings.{i}.weight" for i in range(4)), concatenate
        ),
        "prompt_encoder.not_a_point": Source((f"{prompt}.not_a_point_embed.weight",)),
        "prompt_encoder.no_mask": Source((f"{prompt}.no_mask_embed.weight",)),
    }
    for i in range(config.trunk.depth):
        for part in ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"):
            table |= weight_and_bias(f"trunk.blocks.{i}.{part}", f"{trunk}.blocks.{i}.{part}")
    table |= weight_and_bias("neck.levels.0.upscale.0", f"{necks}.0.dconv_2x2_0")
    table |= weight_and_bias("neck.levels.0.upscale.2", f"{necks}.0.dconv_2x2_1")
    table |= weight_and_bias("neck.levels.1.upscale.0", f"{necks}.1.dconv_2x2")
    for i in range(3):
        for part in ("conv_1x1", "conv_3x3"):
            table |= weight_and_bias(f"neck.levels.{i}.{part}", f"{necks}.{i}.{part}")
    for i in (0, 1, 3, 4, 6):
        table |= weight_and_bias(f"prompt_encoder.mask_embed.{i}", f"{prompt}.mask_downscaling.{i}")
    upscale = ("output_upscaling.0", "output_upscaling.1", "output_upscaling.3")
    table |= _heads_table(decoder, upscale, ("layers.0", "layers.1", "layers.2"))
    return table | _two_way_table(config, decoder, out="out_proj", norm="norm", mlp="lin")


def multiplex_table(config: ModelConfig) -> dict[str, Source]:
    """Return the table of SAM 3.1's ``sam3.1_multiplex.pt``: the same click head, renamed."""
    renames = {
        "detector.backbone.vision_backbone.sam2_convs.": (
            "detector.backbone.vision_backbone.interactive_convs."
        ),
        "tracker.sam_prompt_encoder.": "tracker.model.interactive_sam_prompt_encoder.",
        "tracker.sam_mask_decoder.": "tracker.model.interactive_sam_mask_decoder.",
        "tracker.no_mem_embed": "tracker.model.interactivity_no_mem_embed",
    }

    def renamed(key: str) -> str:
        for old, new in renames.items():
            if key.startswith(old):
                return new + key.removeprefix(old)
        return key

    return {
        name: Source(tuple(renamed(key) for key in source.keys), source.convert)
        for name, source in official_table(config).items()
    }


def transformers_table(config: ModelConfig) -> dict[str, Source]:
    """Return the table of ``model.safetensors`` in the naming of Hugging Face transformers."""
    backbone = "detector_model.vision_encoder.backbone"
    prompt, decoder = "tracker_model.prompt_encoder", "tracker_model.mask_decoder"
    necks = "tracker_neck.fpn_layers"
    table = {
        "no_memory_embed": Source(("tracker_model.no_memory_embedding",)),
        "trunk.patch_embed.weight": Source(
            (f"{backbone}.embeddings.patch_embeddings.projection.weight",)
        ),
        "trunk.pos_embed": Source((f"{backbone}.embeddings.position_embeddings",), _position_table),
        **weight_and_bias("trunk.ln_pre", f"{backbone}.layer_norm"),
        "prompt_encoder.gaussian": Source((f"{prompt}.shared_embedding.positional_embedding",)),
        "prompt_encoder.point_embed": Source((f"{prompt}.point_embed.weight",)),
        "prompt_encoder.not_a_point": Source((f"{prompt}.not_a_point_embed.weight",)),
        "prompt_encoder.no_mask": Source((f"{prompt}.no_mask_embed.weight",)),
    }
    for i in range(config.trunk.depth):
        ours, theirs = f"trunk.blocks.{i}", f"{backbone}.layers.{i}"
        table |= weight_and_bias(f"{ours}.norm1", f"{theirs}.layer_norm1")
        table |= weight_and_bias(f"{ours}.norm2", f"{theirs}.layer_norm2")
        table |= weight_and_bias(f"{ours}.attn.proj", f"{theirs}.attention.o_proj")
        table |= weight_and_bias(f"{ours}.mlp.fc1", f"{theirs}.mlp.fc1")
        table |= weight_and_bias(f"{ours}.mlp.fc2", f"{theirs}.mlp.fc2")
        for leaf in ("weight", "bias"):
            keys = tuple(f"{theirs}.attention.{x}_proj.{leaf}" for x in "qkv")
            table[f"{ours}.attn.qkv.{leaf}"] = Source(keys, concatenate)
    table |= weight_and_bias("neck.levels.0.upscale.0", f"{necks}.0.scale_layers.0")
    table |= weight_and_bias("neck.levels.0.upscale.2", f"{necks}.0.scale_layers.2")
    table |= weight_and_bias("neck.levels.1.upscale.0", f"{necks}.1.scale_layers.0")
    for i in range(3):
        table |= weight_and_bias(f"neck.levels.{i}.conv_1x1", f"{necks}.{i}.proj1")
        table |= weight_and_bias(f"neck.levels.{i}.conv_3x3", f"{necks}.{i}.proj2")
    mask_parts = {0: "conv1", 1: "layer_norm1", 3: "conv2", 4: "layer_norm2", 6: "conv3"}
    for i, part in mask_parts.items():
        table |= weight_and_bias(f"prompt_encoder.mask_embed.{i}", f"{prompt}.mask_embed.{part}")
    upscale = ("upscale_conv1", "upscale_layer_norm", "upscale_conv2")
    table |= _heads_table(decoder, upscale, ("proj_in", "layers.0", "proj_out"))
    return table | _two_way_table(config, decoder, out="o_proj", norm="layer_norm", mlp="proj_")


def _heads_table(decoder: str, upscale: Sequence[str], layers: Sequence[str]) -> dict[str, Source]:
    """Return the table of the mask decoder's tokens, upscaling and heads."""
    table = {
        "mask_decoder.object_score_token": Source((f"{decoder}.obj_score_token.weight",)),
        "mask_decoder.iou_token": Source((f"{decoder}.iou_token.weight",)),
        "mask_decoder.mask_tokens": Source((f"{decoder}.mask_tokens.weight",)),
        **weight_and_bias("mask_decoder.conv_s0", f"{decoder}.conv_s0"),
        **weight_and_bias("mask_decoder.conv_s1", f"{decoder}.conv_s1"),
    }
    for ours, theirs in zip(("upscale_1", "upscale_norm", "upscale_2"), upscale, strict=True):
        table |= weight_and_bias(f"mask_decoder.{ours}", f"{decoder}.{theirs}")
    heads = {
        "iou_head": "iou_prediction_head",
        "object_score_head": "pred_obj_score_head",
        **{f"hypernetworks.{n}": f"output_hypernetworks_mlps.{n}" for n in range(4)},
    }
    for ours, theirs in heads.items():
        for i, layer in enumerate(layers):
            table |= weight_and_bias(
                f"mask_decoder.{ours}.layers.{i}", f"{decoder}.{theirs}.{layer}"
            )
    return table


def _two_way_table(
    config: ModelConfig, decoder: str, *, out: str, norm: str, mlp: str
) -> dict[str, Source]:
    """Return the table of the two-way transformer; both namings have the same layout."""
    ours, theirs = "mask_decoder.transformer", f"{decoder}.transformer"
    attentions = [("final_attn_token_to_image", "final_attn_token_to_image")]
    table = weight_and_bias(f"{ours}.norm_final_attn", f"{theirs}.{norm}_final_attn")
    mlp_parts = ("in", "out") if mlp == "proj_" else ("1", "2")
    for i in range(config.decoder.depth):
        layer = f"layers.{i}"
        for part in ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token"):
            attentions.append((f"{layer}.{part}", f"{layer}.{part}"))
        for n in (1, 2, 3, 4):
            table |= weight_and_bias(f"{ours}.{layer}.norm{n}", f"{theirs}.{layer}.{norm}{n}")
        for n, part in enumerate(mlp_parts, start=1):
            table |= weight_and_bias(f"{ours}.{layer}.lin{n}", f"{theirs}.{layer}.mlp.{mlp}{part}")
    for mine, other in attentions:
        for part in ("q_proj", "k_proj", "v_proj"):
            table |= weight_and_bias(f"{ours}.{mine}.{part}", f"{theirs}.{other}.{part}")
        table |= weight_and_bias(f"{ours}.{mine}.out_proj", f"{theirs}.{other}.{out}")
    return table
