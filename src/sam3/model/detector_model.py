"""The concept detector on the trunk's feature map: text and example boxes in, instances out."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from sam3.config import ModelConfig
from sam3.errors import ConfigError
from sam3.model.attention import PreNormLayer
from sam3.model.concept_heads import ConceptMasks, ConceptScores
from sam3.model.geometry_encoder import GeometryEncoder
from sam3.model.neck import Neck
from sam3.model.query_decoder import QueryDecoder
from sam3.model.sine import sine_map
from sam3.model.text_encoder import TextEncoder

__all__ = ["DetectorImage", "DetectorModel", "RawDetections"]


class DetectorImage(NamedTuple):
    """The detector's features of one image; g is the side of the token grid, C the channels.

    Attributes
    ----------
    coarse : Tensor, shape (1, C, g, g)
    convolved : tuple of Tensor, shape (1, C, 2g, 2g) and (1, C, 4g, 4g)
        The finer levels, as :meth:`sam3.model.concept_heads.ConceptMasks.convolve` returns them.
    positions : Tensor, shape (g * g, C)
        Position embeddings of the coarse cells.
    """

    coarse: Tensor
    convolved: tuple[Tensor, Tensor]
    positions: Tensor


class RawDetections(NamedTuple):
    """All Q queries of one image and prompt.

    Attributes
    ----------
    logits : Tensor, float32, shape (Q,)
        Logits of being an instance, provided that the concept is present.
    presence : Tensor, float32, shape ()
        Logit of the concept being present.
    boxes : Tensor, float32, shape (Q, 4)
        Centre x, centre y, width and height in 0..1 of the image.
    queries : Tensor, shape (Q, C)
        Features from which masks are computed.
    encoded : Tensor, shape (1, g * g, C)
        The image, encoded with its prompt.
    """

    logits: Tensor
    presence: Tensor
    boxes: Tensor
    queries: Tensor
    encoded: Tensor

    @property
    def scores(self) -> Tensor:
        """Score of each query in 0..1, shape (Q,)."""
        return self.logits.sigmoid() * self.presence.sigmoid()


class DetectorModel(nn.Module):
    """Neck, text encoder, example encoder, fusion, query decoder, scores and masks.

    Parameters
    ----------
    config : ModelConfig
        Sizes of all networks.

    Raises
    ------
    ConfigError
        If the configuration has no detector.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        sizes, channels = config.detector, config.channels
        if sizes is None:
            raise ConfigError(
                f"the model {config.name!r} has no detector. Expected a configuration with "
                'detector sizes, such as the preset "sam3". Use one.'
            )
        self.config = config
        self.neck = Neck(config.trunk.width, channels)
        self.text_encoder = TextEncoder(sizes, channels)
        self.geometry_encoder = GeometryEncoder(sizes, channels)
        self.fusion = nn.ModuleList(
            PreNormLayer(channels, sizes.heads, sizes.mlp_hidden)
            for _ in range(sizes.encoder_depth)
        )
        self.decoder = QueryDecoder(sizes, channels)
        self.scores = ConceptScores(sizes, channels)
        self.masks = ConceptMasks(sizes, channels)

    def image(self, trunk: Tensor) -> DetectorImage:
        """Compute all features that depend on the image alone from the trunk's (1, width, g, g)."""
        fine, middle, coarse = self.neck(trunk)
        height, width = coarse.shape[-2:]
        positions = sine_map(height, width, self.config.channels, coarse.device)
        return DetectorImage(coarse, self.masks.convolve(middle, fine), positions)

    def encode_boxes(self, image: DetectorImage, boxes: Tensor, labels: Tensor) -> Tensor:
        """Encode example boxes as :class:`sam3.model.geometry_encoder.GeometryEncoder` does."""
        return self.geometry_encoder(image.coarse, image.positions, boxes, labels)  # type: ignore[no-any-return]

    def detect(self, image: DetectorImage, prompt: Tensor) -> RawDetections:
        """Detect all instances of a concept.

        Parameters
        ----------
        image : DetectorImage
        prompt : Tensor, shape (P, C)
            Tokens of text and examples, without padding.

        Returns
        -------
        RawDetections
        """
        tokens = prompt[None]
        x = image.coarse.flatten(2).transpose(1, 2).contiguous()
        for layer in self.fusion:
            x = layer(x, image.positions, tokens, tokens)
        height, width = image.coarse.shape[-2:]
        decoded = self.decoder(x, image.positions, tokens, (height, width))
        logits = self.scores(decoded.queries, prompt)
        return RawDetections(logits, decoded.presence, decoded.boxes, decoded.queries, x)

    def pixels(self, image: DetectorImage, raw: RawDetections, prompt: Tensor) -> Tensor:
        """Compute the map (1, C, 4g, 4g) from which masks are read."""
        return self.masks.pixels(raw.encoded, prompt[None], image.convolved)
