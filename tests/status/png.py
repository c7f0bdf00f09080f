"""As much of PNG (8 bits a channel, not interlaced) as it takes to look at a small picture."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Picture:
    """Size in pixels, and how often each colour is in it."""

    width: int
    height: int
    colours: Counter[Colour]

    @property
    def brightness(self) -> float:
        """0 for black, 255 for white."""
        pixels = self.width * self.height
        return sum(number * sum(colour) / 3 for colour, number in self.colours.items()) / pixels

    def has_near(self, colour: Colour, tolerance: int = 12) -> bool:
        """Whether some pixel is of about that colour: scaling blends edges."""
        return any(all(abs(a - b) <= tolerance for a, b in zip(one, colour, strict=True)) for one in self.colours)


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height, from the head alone."""
    if not data.startswith(SIGNATURE):
        raise AssertionError("not a PNG")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def picture(data: bytes) -> Picture:
    """What is in it."""
    colours: Counter[Colour] = Counter()
    for line in _lines(data):
        colours.update(line)
    return Picture(*size_of(data), colours)


def paletted(data: bytes) -> bytes:
    """The same picture in its 256 commonest colours: text and plain areas lose nothing to see, and half their bytes."""
    colours = picture(data).colours
    palette = [colour for colour, _ in colours.most_common(256)]

    def nearest(colour: Colour) -> int:
        distance = [sum((a - b) ** 2 for a, b in zip(colour, one, strict=True)) for one in palette]
        return distance.index(min(distance))

    index = {colour: nearest(colour) for colour in colours}
    raw = b"".join(b"\0" + bytes([index[colour] for colour in line]) for line in _lines(data))
    head = struct.pack(">IIBBBBB", *size_of(data), 8, 3, 0, 0, 0)
    parts = {b"IHDR": head, b"PLTE": bytes(one for colour in palette for one in colour)}
    parts |= {b"IDAT": zlib.compress(raw, 9), b"IEND": b""}
    return SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts.items()
    )


def _lines(data: bytes) -> Iterator[list[Colour]]:
    """Its lines of pixels, from the top."""
    width, height = size_of(data)
    depth, kind, _, _, interlaced = data[24:29]
    if depth != 8 or kind not in {2, 6} or interlaced:
        raise AssertionError(f"PNG of depth {depth}, kind {kind}, interlaced {interlaced}")
    channels = 3 if kind == 2 else 4
    raw = zlib.decompress(b"".join(_chunks(data, b"IDAT")))
    stride = width * channels
    above = bytearray(stride)
    for row in range(height):
        at = row * (stride + 1)
        above = _unfiltered(raw[at], bytearray(raw[at + 1 : at + 1 + stride]), above, channels)
        yield list(zip(above[0::channels], above[1::channels], above[2::channels], strict=True))


def _chunks(data: bytes, wanted: bytes) -> list[bytes]:
    found, at = [], len(SIGNATURE)
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] == wanted:
            found.append(data[at + 8 : at + 8 + length])
        at += 12 + length
    return found


def _unfiltered(kind: int, line: bytearray, above: bytearray, channels: int) -> bytearray:
    """The five filters of PNG's section 9."""
    for at in range(len(line)) if kind else ():
        left = line[at - channels] if at >= channels else 0
        corner = above[at - channels] if at >= channels else 0
        guess = (0, left, above[at], (left + above[at]) // 2, _paeth(left, above[at], corner))[kind]
        line[at] = (line[at] + guess) & 0xFF
    return line


def _paeth(left: int, up: int, corner: int) -> int:
    estimate = left + up - corner
    return min((left, up, corner), key=lambda one: abs(estimate - one))
