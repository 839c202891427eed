"""Random transforms of images; dropped tokens of texts."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..data.dataset import DataError
from ..engine.randomness import normal, uniform
from ..engine.step import Step, number
from ..schedules import Schedule
from . import View

_STREAM = 23
_DRAWS = 16


class Augment(View):
    """Every row under its own random transform: crop, flip, turn, move, blur, light, colour, noise; dropped tokens.

    Images: p' = noise(light(blur(p o A))), where A is one affine map a row (all geometry in one resampling,
    bilinear, the border repeated). Texts: each token but the first and the last real one is dropped with a
    probability: its attention mask becomes 0, its id stays.

    crop: (smallest, largest) share of the area that is cut out and resized; None leaves the frame as it is.
    aspect: largest ratio of the cut's sides. flip: probability of mirroring left to right.
    rotate, shear: largest angle, in degrees. shift: largest move, as a share of the side.
    blur: largest standard deviation of a Gaussian, in pixels; half of the rows are blurred.
    light: largest change s of contrast (factor in 1 +- s about the row's mean) and of brightness (+- s of the
        row's standard deviation).
    colour: largest change of saturation and of each channel's gain, of rows whose channels differ.
    noise: largest standard deviation of Gaussian noise, the same in all channels, in units of normalised pixels.
    token_drop: probability with which a token of a text is dropped.
    strength: multiplies every magnitude but `crop` and `flip`.
    Pixels (B, C, H, W) stay in their shape and type. Raises DataError for other modalities.
    Source: Chen et al. 2020 (arXiv 2002.05709).
    Differs from the paper: light and colour act on normalised pixels; no change of hue and no random greyscale.
    """

    def __init__(
        self,
        crop: tuple[float, float] | None = (0.4, 1.0),
        aspect: float = 4 / 3,
        flip: float = 0.5,
        rotate: float = 0.0,
        shear: float = 0.0,
        shift: float = 0.0,
        blur: float = 0.0,
        light: float = 0.4,
        colour: float = 0.4,
        noise: float = 0.0,
        token_drop: float = 0.1,
        strength: float | Schedule = 1.0,
    ):
        if crop is not None and not 0 < crop[0] <= crop[1] <= 1:
            raise ValueError(f"crop is (smallest, largest) share of the area, in (0, 1], not {crop}")
        self.crop, self.aspect, self.flip, self.rotate, self.shear, self.shift = (
            crop,
            aspect,
            flip,
            rotate,
            shear,
            shift,
        )
        self.blur, self.light, self.colour, self.noise = blur, light, colour, noise
        self.token_drop, self.strength = token_drop, strength

    def view(self, batch: dict, step: Step, draw: int = 0) -> dict:
        modality = batch["modality"]
        if modality == "image":
            changed = {"pixel_values": self._image(batch["image"]["pixel_values"], batch["rows"], step, draw)}
        elif modality == "text":
            changed = {"attention_mask": self._text(batch["text"]["attention_mask"], batch["rows"], step, draw)}
        else:
            raise DataError(f"augment transforms images and texts, not {modality}")
        return {**batch, modality: {**batch[modality], **changed}}

    def _image(self, pixels: Tensor, rows: Tensor, step: Step, draw: int) -> Tensor:
        u = uniform(step.seed, step.index, rows, _DRAWS, stream=_STREAM + 64 * draw)
        strength = number(self.strength, step)
        pixels = _resample(pixels, self._affine(u, strength))
        if self.blur:
            sigma = torch.where(u[:, 7] < 0.5, u[:, 8] * self.blur * strength, 0.0)
            pixels = _blurred(pixels, sigma, self.blur * strength)
        if self.light:
            pixels = _relit(pixels, _signed(u[:, 9:11]) * self.light * strength)
        if self.colour:
            pixels = _recoloured(pixels, _signed(u[:, 11:15]) * self.colour * strength)
        if self.noise:
            b, _, h, w = pixels.shape
            drawn = normal(step.seed, step.index, rows, 1, h, w, stream=_STREAM + 1 + 64 * draw)
            pixels = torch.addcmul(pixels, drawn, _column(u[:, 15]) * self.noise * strength)
        return pixels

    def _affine(self, u: Tensor, strength: float) -> Tensor:
        """(B, 2, 3): from the view's coordinates, in [-1, 1], to the image's. u: (B, 16) uniform draws."""
        low, high = self.crop or (1.0, 1.0)
        side = (low + (high - low) * u[:, 0]).sqrt()
        squeeze = torch.exp(_signed(u[:, 1]) * math.log(self.aspect) / 2) if self.crop else torch.ones_like(side)
        width, height = (side * squeeze).clamp_max(1.0), (side / squeeze).clamp_max(1.0)
        angle = _signed(u[:, 2]) * math.radians(self.rotate) * strength
        slant = torch.tan(_signed(u[:, 3]) * math.radians(self.shear) * strength)
        # A cut stays inside the image; a shift moves it over the border.
        place = _signed(u[:, 4:6]) * (torch.stack([1 - width, 1 - height], 1) + 2 * self.shift * strength)
        mirror = torch.where(u[:, 6] < self.flip, -1.0, 1.0)
        cosine, sine = angle.cos(), angle.sin()
        x = torch.stack([cosine * width * mirror, (slant * cosine - sine) * height, place[:, 0]], 1)
        y = torch.stack([sine * width * mirror, (slant * sine + cosine) * height, place[:, 1]], 1)
        return torch.stack([x, y], 1)

    def _text(self, mask: Tensor, rows: Tensor, step: Step, draw: int) -> Tensor:
        width = mask.shape[1]
        u = uniform(step.seed, step.index, rows, width, stream=_STREAM + 64 * draw)
        positions = torch.arange(width, device=mask.device)
        inner = (positions > 0) & (positions < mask.sum(1, keepdim=True) - 1)
        return mask * ~(inner & (u < self.token_drop * number(self.strength, step)))


def _signed(u: Tensor) -> Tensor:
    """[0, 1) -> [-1, 1)."""
    return 2 * u - 1


def _column(values: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


def _resample(pixels: Tensor, affine: Tensor) -> Tensor:
    grid = nn.functional.affine_grid(affine.to(pixels.dtype), pixels.shape, align_corners=False)
    return nn.functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def _blurred(pixels: Tensor, sigma: Tensor, largest: float) -> Tensor:
    """A Gaussian of its own standard deviation for every row; 0 leaves the row as it is."""
    b, c, h, w = pixels.shape
    radius = max(1, math.ceil(2.5 * largest))
    taps = torch.arange(-radius, radius + 1, device=pixels.device, dtype=pixels.dtype)
    kernel = torch.exp(-(taps**2) / (2 * sigma.clamp_min(1e-3).unsqueeze(1) ** 2))
    kernel = (kernel / kernel.sum(1, keepdim=True)).to(pixels.dtype).repeat_interleave(c, 0)
    flat = nn.functional.pad(pixels.reshape(1, b * c, h, w), [radius] * 4, mode="replicate")
    flat = nn.functional.conv2d(flat, kernel.view(b * c, 1, -1, 1), groups=b * c)
    return nn.functional.conv2d(flat, kernel.view(b * c, 1, 1, -1), groups=b * c).view(b, c, h, w)


def _relit(pixels: Tensor, change: Tensor) -> Tensor:
    mean, spread = pixels.mean((1, 2, 3), keepdim=True), pixels.std((1, 2, 3), keepdim=True)
    contrast, brightness = _column(1 + change[:, 0]), _column(change[:, 1])
    return (pixels - mean) * contrast + (mean + brightness * spread)


def _recoloured(pixels: Tensor, change: Tensor) -> Tensor:
    """change: (B, 4), of saturation and of three gains; grey rows stay grey."""
    if pixels.shape[1] != 3:
        return pixels
    grey = pixels.mean(1, keepdim=True)
    coloured = ((pixels - grey).abs().amax((1, 2, 3)) > 1e-4).to(pixels.dtype).unsqueeze(1)
    saturation, gain = _column(1 + (change * coloured)[:, 0]), 1 + (change * coloured)[:, 1:4, None, None]
    return (grey + (pixels - grey) * saturation) * gain
