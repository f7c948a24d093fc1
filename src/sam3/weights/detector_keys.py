"""Tables from the tensors of a weights file to the parameters of the concept detector.

The counterpart of :mod:`sam3.weights.keys` for
:class:`sam3.model.detector_model.DetectorModel`. Both namings have the same parts, so a single list
gives the three names of each part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from sam3.config import DetectorConfig, ModelConfig
from sam3.errors import ConfigError
from sam3.weights.keys import Source, concatenate, weight_and_bias

__all__ = [
    "MULTIPLEX_DETECTOR_DROPPED",
    "OFFICIAL_DETECTOR_DROPPED",
    "TRANSFORMERS_DETECTOR_DROPPED",
    "official_detector_table",
    "transformers_detector_table",
]

_UNUSED: Mapping[str, str] = {
    "detector.backbone.language_backbone.encoder.text_projection": "CLIP's own embedding",
    "detector.backbone.vision_backbone.convs.3.": "half-size level, unused",
    "detector.geometry_encoder.points_": "points as examples, unused",
    "detector.segmentation_head.pixel_decoder.conv_layers.2.": "half-size level, unused",
    "detector.segmentation_head.pixel_decoder.norms.2.": "half-size level, unused",
    "*.freqs_cis": "rotary tables, recomputed",
}

OFFICIAL_DETECTOR_DROPPED: Mapping[str, str] = {
    **_UNUSED,
    "detector.backbone.vision_backbone.sam2_convs.": "neck for clicks",
    "detector.backbone.vision_backbone.trunk.": "the trunk, read with the click model",
    "tracker.": "clicks and video memory",
}
"""Prefixes (or suffixes after ``*``) of official keys that the detector does not need."""

MULTIPLEX_DETECTOR_DROPPED: Mapping[str, str] = {
    **_UNUSED,
    "detector.backbone.vision_backbone.": "the trunk and the other necks",
    "tracker.": "clicks and video memory",
}
"""The same for ``sam3.1_multiplex.pt``, whose detector is named as in ``sam3.pt``."""

TRANSFORMERS_DETECTOR_DROPPED: Mapping[str, str] = {
    "detector_model.mask_decoder.pixel_decoder.conv_layers.2.": "half-size level, unused",
    "detector_model.mask_decoder.pixel_decoder.norms.2.": "half-size level, unused",
    "detector_model.text_encoder.text_projection.": "CLIP's own embedding",
    "detector_model.vision_encoder.backbone.": "the trunk, read with the click model",
    "detector_model.vision_encoder.neck.fpn_layers.3.": "half-size level, unused",
    "tracker_model.": "clicks and video memory",
    "tracker_neck.": "neck for clicks",
}
"""The same for files in transformers' naming."""

_Kind = Literal["tensor", "layer", "mlp", "attention"]


class _Part(NamedTuple):
    """A part of the detector with its three names.

    A "tensor" is one parameter, a "layer" a weight and a bias, an "mlp" a list of layers. An
    "attention" is packed in the official naming and split in three in that of transformers.
    """

    kind: _Kind
    ours: str
    official: str
    transformers: str
    #: Layers of an MLP.
    layers: int = 0
    #: Name of an attention's output projection in transformers.
    out: str = "o_proj"


def official_detector_table(config: ModelConfig) -> dict[str, Source]:
    """Return the table of the detector in ``sam3.pt`` and ``sam3.1_multiplex.pt``."""
    return _table(config, official=True)


def transformers_detector_table(config: ModelConfig) -> dict[str, Source]:
    """Return the table of the detector in the naming of Hugging Face transformers."""
    return _table(config, official=False)


def _table(config: ModelConfig, *, official: bool) -> dict[str, Source]:
    table: dict[str, Source] = {}
    for part in _parts(_sizes(config)):
        key = f"detector.{part.official}" if official else f"detector_model.{part.transformers}"
        if part.kind == "tensor":
            table[part.ours] = Source((key,))
        elif part.kind == "layer":
            table |= weight_and_bias(part.ours, key)
        elif part.kind == "mlp":
            for i in range(part.layers):
                layer = f"layers.{i}" if official else f"layer{i + 1}"
                table |= weight_and_bias(f"{part.ours}.layers.{i}", f"{key}.{layer}")
        else:
            for leaf in ("weight", "bias"):
                packed = Source((f"{key}.in_proj_{leaf}",))
                split = Source(tuple(f"{key}.{x}_proj.{leaf}" for x in "qkv"), concatenate)
                table[f"{part.ours}.in_proj.{leaf}"] = packed if official else split
            out = "out_proj" if official else part.out
            table |= weight_and_bias(f"{part.ours}.out_proj", f"{key}.{out}")
    return table


def _sizes(config: ModelConfig) -> DetectorConfig:
    if config.detector is None:
        raise ConfigError(
            f"the model {config.name!r} has no detector. Expected a configuration with detector "
            'sizes, such as the preset "sam3". Use one.'
        )
    return config.detector


def _parts(sizes: DetectorConfig) -> Iterator[_Part]:
    yield from _neck()
    yield from _text_encoder(sizes.text_depth)
    yield from _geometry_encoder(sizes.geometry_depth)
    for i in range(sizes.encoder_depth):
        yield from _pre_norm_layer(
            f"fusion.{i}", f"transformer.encoder.layers.{i}", f"detr_encoder.layers.{i}"
        )
    yield from _decoder(sizes.decoder_depth)
    yield from _heads()


def _neck() -> Iterator[_Part]:
    convs, layers = "backbone.vision_backbone.convs", "vision_encoder.neck.fpn_layers"
    for ours, official, transformers in (
        ("0.upscale.0", "0.dconv_2x2_0", "0.scale_layers.0"),
        ("0.upscale.2", "0.dconv_2x2_1", "0.scale_layers.2"),
        ("1.upscale.0", "1.dconv_2x2", "1.scale_layers.0"),
    ):
        yield _Part(
            "layer", f"neck.levels.{ours}", f"{convs}.{official}", f"{layers}.{transformers}"
        )
    for i in range(3):
        for ours, transformers in (("conv_1x1", "proj1"), ("conv_3x3", "proj2")):
            yield _Part(
                "layer",
                f"neck.levels.{i}.{ours}",
                f"{convs}.{i}.{ours}",
                f"{layers}.{i}.{transformers}",
            )


def _text_encoder(depth: int) -> Iterator[_Part]:
    ours, official = "text_encoder", "backbone.language_backbone"
    encoder, model = f"{official}.encoder", "text_encoder.text_model"
    yield _Part(
        "tensor",
        f"{ours}.token_embed.weight",
        f"{encoder}.token_embedding.weight",
        f"{model}.embeddings.token_embedding.weight",
    )
    yield _Part(
        "tensor",
        f"{ours}.position_embed",
        f"{encoder}.positional_embedding",
        f"{model}.embeddings.position_embedding.weight",
    )
    for i in range(depth):
        block = f"{ours}.blocks.{i}"
        theirs = f"{encoder}.transformer.resblocks.{i}"
        layer = f"{model}.encoder.layers.{i}"
        yield _Part(
            "attention", f"{block}.attn", f"{theirs}.attn", f"{layer}.self_attn", out="out_proj"
        )
        for mine, other, third in (
            ("norm1", "ln_1", "layer_norm1"),
            ("norm2", "ln_2", "layer_norm2"),
            ("mlp.fc1", "mlp.c_fc", "mlp.fc1"),
            ("mlp.fc2", "mlp.c_proj", "mlp.fc2"),
        ):
            yield _Part("layer", f"{block}.{mine}", f"{theirs}.{other}", f"{layer}.{third}")
    yield _Part("layer", f"{ours}.norm", f"{encoder}.ln_final", f"{model}.final_layer_norm")
    yield _Part("layer", f"{ours}.resize", f"{official}.resizer", "text_projection")


def _geometry_encoder(depth: int) -> Iterator[_Part]:
    name = "geometry_encoder"
    for embed in ("label_embed", "cls_embed"):
        key = f"{name}.{embed}.weight"
        yield _Part("tensor", f"{name}.{embed}", key, key)
    for ours, official, transformers in (
        ("box_direct", "boxes_direct_project", "boxes_direct_project"),
        ("box_pool", "boxes_pool_project", "boxes_pool_project"),
        ("box_position", "boxes_pos_enc_project", "boxes_pos_enc_project"),
        ("image_norm", "img_pre_norm", "vision_layer_norm"),
        ("proj", "final_proj", "final_proj"),
        ("norm", "norm", "prompt_layer_norm"),
        ("out_norm", "encode_norm", "output_layer_norm"),
    ):
        yield _Part("layer", f"{name}.{ours}", f"{name}.{official}", f"{name}.{transformers}")
    for i in range(depth):
        yield from _pre_norm_layer(f"{name}.layers.{i}", f"{name}.encode.{i}", f"{name}.layers.{i}")


def _pre_norm_layer(ours: str, official: str, transformers: str) -> Iterator[_Part]:
    for mine, other, third in (
        ("self_attn", "self_attn", "self_attn"),
        ("cross_attn", "cross_attn_image", "cross_attn"),
    ):
        yield _Part("attention", f"{ours}.{mine}", f"{official}.{other}", f"{transformers}.{third}")
    for i in (1, 2, 3):
        yield _Part(
            "layer", f"{ours}.norm{i}", f"{official}.norm{i}", f"{transformers}.layer_norm{i}"
        )
    for i in (1, 2):
        yield _Part(
            "layer", f"{ours}.linear{i}", f"{official}.linear{i}", f"{transformers}.mlp.fc{i}"
        )


def _decoder(depth: int) -> Iterator[_Part]:
    ours, official, transformers = "decoder", "transformer.decoder", "detr_decoder"
    for mine, other in (
        ("query_embed", "query_embed"),
        ("reference_boxes", "reference_points"),
        ("presence_token", "presence_token"),
    ):
        yield _Part(
            "tensor",
            f"{ours}.{mine}",
            f"{official}.{other}.weight",
            f"{transformers}.{other}.weight",
        )
    for mine, other, third, layers in (
        ("box_head", "bbox_embed", "box_head", 3),
        ("position_head", "ref_point_head", "ref_point_head", 2),
        ("bias_x", "boxRPB_embed_x", "box_rpb_embed_x", 2),
        ("bias_y", "boxRPB_embed_y", "box_rpb_embed_y", 2),
        ("presence_head", "presence_token_head", "presence_head", 3),
    ):
        yield _Part(
            "mlp",
            f"{ours}.{mine}",
            f"{official}.{other}",
            f"{transformers}.{third}",
            layers=layers,
        )
    yield _Part("layer", f"{ours}.norm", f"{official}.norm", f"{transformers}.output_layer_norm")
    yield _Part(
        "layer",
        f"{ours}.presence_norm",
        f"{official}.presence_token_out_norm",
        f"{transformers}.presence_layer_norm",
    )
    for i in range(depth):
        yield from _decoder_layer(
            *(f"{name}.layers.{i}" for name in (ours, official, transformers))
        )


def _decoder_layer(mine: str, other: str, third: str) -> Iterator[_Part]:
    for attention, theirs, peers, norm in (
        ("self", "self_attn", "self_attn", "norm2"),
        ("prompt", "ca_text", "text_cross_attn", "catext_norm"),
        ("image", "cross_attn", "vision_cross_attn", "norm1"),
    ):
        yield _Part(
            "attention", f"{mine}.{attention}_attn", f"{other}.{theirs}", f"{third}.{peers}"
        )
        yield _Part(
            "layer",
            f"{mine}.{attention}_norm",
            f"{other}.{norm}",
            f"{third}.{peers}_layer_norm",
        )
    yield _Part("layer", f"{mine}.mlp_norm", f"{other}.norm3", f"{third}.mlp_layer_norm")
    for n in (1, 2):
        yield _Part("layer", f"{mine}.linear{n}", f"{other}.linear{n}", f"{third}.mlp.fc{n}")


def _heads() -> Iterator[_Part]:
    ours, official, transformers = "scores", "dot_prod_scoring", "dot_product_scoring"
    yield _Part(
        "mlp",
        f"{ours}.prompt_mlp",
        f"{official}.prompt_mlp",
        f"{transformers}.text_mlp",
        layers=2,
    )
    for mine, other, third in (
        ("prompt_norm", "prompt_mlp.out_norm", "text_mlp_out_norm"),
        ("prompt_proj", "prompt_proj", "text_proj"),
        ("query_proj", "hs_proj", "query_proj"),
    ):
        yield _Part("layer", f"{ours}.{mine}", f"{official}.{other}", f"{transformers}.{third}")
    ours, official, transformers = "masks", "segmentation_head", "mask_decoder"
    yield _Part(
        "attention",
        f"{ours}.prompt_attn",
        f"{official}.cross_attend_prompt",
        f"{transformers}.prompt_cross_attn",
    )
    for mine, other, third in (
        ("prompt_norm", "cross_attn_norm", "prompt_cross_attn_norm"),
        ("convs.0", "pixel_decoder.conv_layers.0", "pixel_decoder.conv_layers.0"),
        ("convs.1", "pixel_decoder.conv_layers.1", "pixel_decoder.conv_layers.1"),
        ("norms.0", "pixel_decoder.norms.0", "pixel_decoder.norms.0"),
        ("norms.1", "pixel_decoder.norms.1", "pixel_decoder.norms.1"),
        *(
            (
                f"query_mlp.layers.{i}",
                f"mask_predictor.mask_embed.layers.{i}",
                f"mask_embedder.layers.{i}",
            )
            for i in range(3)
        ),
        ("instances", "instance_seg_head", "instance_projection"),
        ("semantic", "semantic_seg_head", "semantic_projection"),
    ):
        yield _Part("layer", f"{ours}.{mine}", f"{official}.{other}", f"{transformers}.{third}")
