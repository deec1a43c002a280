"""timm's ResNet-50 under SimCLR's loss, and its ViT-B under MAE's, in the shape of a recipe.

The images are already augmented, random numbers in the device's memory: augmenting is the work of other
processes there, and part of the step here.
"""

from typing import Any

import timm
import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional


def build(shape: dict[str, Any], batch: int, device: str) -> nn.Module:
    """Returns a module that has its own images (`rows()`) and returns their loss.

    Args:
      shape: Shape of a recipe, `cases.shape_of`.
      batch: Images of a step.
      device: Where the images are made.
    """
    size = tuple(shape["objective"]["views"]["size"])
    if shape["kind"] == "SimCLR":
        return SimCLR(shape, images(2 * batch, size, device))
    return MaskedAutoencoder(shape, images(batch, size, device))


def images(count: int, size: tuple[int, int], device: str) -> Tensor:
    """Returns images of normal numbers, channels last in memory."""
    made = torch.randn(count, 3, *size, device=device)
    return made.to(memory_format=torch.channels_last)


class SimCLR(nn.Module):
    """ResNet with projector and NT-Xent over two views of every image."""

    def __init__(self, shape: dict[str, Any], views: Tensor):
        super().__init__()
        self.views, objective = views, shape["objective"]
        self.temperature = objective["temperature"]
        depth = objective["encoder"]["depth"]
        name = "resnet10t" if depth == 10 else f"resnet{depth}"
        self.encoder = timm.create_model(name, num_classes=0)
        width, layers = self.encoder.num_features, []
        for number, inner in enumerate(objective["projector"]):
            layers += [nn.BatchNorm1d(width), nn.ReLU()] if number else []
            layers.append(nn.Linear(width, inner))
            width = inner
        self.projector = nn.Sequential(*layers)

    def rows(self) -> tuple[Tensor]:
        return (self.views,)

    def forward(self, views: Tensor) -> Tensor:
        projected = functional.normalize(self.projector(self.encoder(views)).float(), dim=1)
        cosines = projected @ projected.T / self.temperature
        itself = torch.eye(len(views), dtype=torch.bool, device=views.device)
        other = torch.arange(len(views), device=views.device).roll(len(views) // 2)
        return functional.cross_entropy(cosines.masked_fill(itself, float("-inf")), other)


class MaskedAutoencoder(nn.Module):
    """ViT over the visible patches, and a decoder of the same blocks over all."""

    def __init__(self, shape: dict[str, Any], pixels: Tensor):
        super().__init__()
        self.pixels, objective = pixels, shape["objective"]
        encoder, decoder = objective["encoder"], objective["decoder"]
        blocks, self.patch = encoder["blocks"], encoder["patch"]
        self.vit = timm.create_model(
            "vit_base_patch16_224",
            img_size=tuple(pixels.shape[2:]),
            patch_size=self.patch,
            embed_dim=blocks["width"],
            depth=blocks["depth"],
            num_heads=blocks["heads"],
            mlp_ratio=mlp_ratio(blocks),
            num_classes=0,
        )
        width, patches = decoder["width"], self.vit.patch_embed.num_patches
        self.seen = patches - round(objective["mask_ratio"] * patches)
        self.narrow = nn.Linear(blocks["width"], width)
        self.mask = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, patches + 1, width))
        ratio = mlp_ratio(decoder)
        layers = [
            Block(width, decoder["heads"], mlp_ratio=ratio, qkv_bias=True)
            for _ in range(decoder["depth"])
        ]
        self.decoder = nn.Sequential(*layers, nn.LayerNorm(width))
        self.predict = nn.Linear(width, 3 * self.patch**2)

    def rows(self) -> tuple[Tensor]:
        return (self.pixels,)

    def forward(self, pixels: Tensor) -> Tensor:
        vit = self.vit
        x = vit.patch_embed(pixels) + vit.pos_embed[:, 1:]
        order = torch.rand(x.shape[:2], device=x.device).argsort(1)
        shown = order[:, : self.seen, None]
        x = x.gather(1, shown.expand(-1, -1, x.shape[-1]))
        first = (vit.cls_token + vit.pos_embed[:, :1]).expand(len(x), -1, -1).to(x.dtype)
        x = self.narrow(vit.norm(vit.blocks(torch.cat([first, x], 1))))
        whole = self.mask.to(x.dtype).repeat(len(x), order.shape[1], 1)
        whole = whole.scatter(1, shown.expand(-1, -1, x.shape[-1]), x[:, 1:])
        x = self.decoder(torch.cat([x[:, :1], whole], 1) + self.positions)
        squares = (self.predict(x[:, 1:]).float() - self.targets(pixels)).square().mean(-1)
        return squares.gather(1, order[:, self.seen :]).mean()

    def targets(self, pixels: Tensor) -> Tensor:
        """Returns the patches of images, row by row, each scaled to mean 0 and variance 1."""
        batch, channels, height, width = pixels.shape
        side = self.patch
        parts = pixels.reshape(batch, channels, height // side, side, width // side, side)
        patches = parts.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, channels * side**2)
        mean, variance = patches.mean(-1, keepdim=True), patches.var(-1, keepdim=True)
        return (patches - mean) / (variance + 1e-6).sqrt()


def mlp_ratio(net: dict[str, Any]) -> float:
    """Returns the inner width of feed-forward parts over the width of the states."""
    return 4.0 if net["mlp"] is None else net["mlp"] / net["width"]
