"""Converting every kind of pixels that Pillow has to eight bits of red, green and blue."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from facesim_index.records import UInt8Array


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded picture to mode ``RGB``.

    Parameters
    ----------
    image : Image
        A loaded picture of any mode.  Transparent pixels are put on white.

    Returns
    -------
    rgb : Image
        The same object when there is nothing to convert.

    Raises
    ------
    ValueError, PIL.ImageCms.PyCMSError
        Pillow cannot convert the mode.

    Examples
    --------
    >>> to_rgb(Image.new("RGBA", (1, 1), (0, 0, 0, 0))).getpixel((0, 0))
    (255, 255, 255)
    """
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(grey_levels(np.asarray(image))).convert("RGB")
    if image.mode == "CMYK":
        return _cmyk_to_rgb(image)
    if image.mode == "LAB":
        return _through_profile(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    if image.has_transparency_data:
        return _on_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def grey_levels(values: NDArray[np.uint16 | np.int32 | np.float32]) -> UInt8Array:
    """Reduce grey values of 16 or 32 bits to eight bits.

    Of 16 bits the upper eight are kept.  Wider types do not say which value is white.  It is taken
    to be the first of 1 (only for floats), 255 and 65535 that no value exceeds.  Where a value
    exceeds them all, or is negative, the range of the values is stretched from black to white.

    Parameters
    ----------
    values : ndarray of any shape, uint16, int32 or float32

    Returns
    -------
    grey : ndarray of the same shape, uint8
        What is not a number becomes black, and infinity the end of the range.

    Examples
    --------
    >>> grey_levels(np.array([0, 256, 65535], dtype=np.uint16))
    array([  0,   1, 255], dtype=uint8)
    >>> grey_levels(np.array([0.0, 0.5, 1.0], dtype=np.float32))
    array([  0, 128, 255], dtype=uint8)
    """
    if values.dtype.kind == "u":
        return (values // 256).astype(np.uint8)
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return np.zeros(values.shape, dtype=np.uint8)
    low, high = float(finite.min()), float(finite.max())
    usable = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    if low < 0 or high > 0xFFFF:
        levels = np.interp(usable, (low, high), (0, 255)) if low < high else usable * 0
    elif high > 0xFF:
        levels = usable / 256
    elif high > 1 or values.dtype.kind == "i":
        levels = usable
    else:
        levels = np.rint(usable * 255)
    return levels.astype(np.uint8)


def _cmyk_to_rgb(image: Image.Image) -> Image.Image:
    icc = image.info.get("icc_profile")
    if not isinstance(icc, bytes) or not icc:
        return image.convert("RGB")
    try:
        return _through_profile(image, ImageCms.ImageCmsProfile(io.BytesIO(icc)))
    except (ImageCms.PyCMSError, OSError):  # the profile is broken or for other colours
        return image.convert("RGB")


def _through_profile(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    srgb = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
    if converted is None:  # only when asked to convert in place
        raise ImageCms.PyCMSError("no picture came back")
    return converted


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode in ("La", "RGBa"):  # premultiplied: divide the alpha out first
        image = image.convert(image.mode.upper())
    rgba = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(rgba.convert("RGB"), mask=rgba.getchannel("A"))
    return canvas
