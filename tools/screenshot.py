"""Pictures of a running dashboard: `screenshot.py http://127.0.0.1:5000/` writes docs/dashboard-{light,dark}.png.

Debian's Chromium takes them. They are stored with a palette, a third of the size, so that the repository stays small.
"""

from __future__ import annotations

import argparse
import base64
import struct
import sys
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from playwright.sync_api import Browser, Error, sync_playwright

DOCS = Path(__file__).resolve().parent.parent / "docs"
CHROMIUM = "/usr/bin/chromium"
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
WIDTH, HEIGHT = 1280, 900
COMMON = 128
PATIENCE_MS = 30_000
# What a picture must show: a fan per symbol, the heat map, a deployment; so no picture of a half filled page is kept.
SHOWN = ("figure .median", ".heat td", ".runs li")
# The pixels of a PNG, by the browser that made it.
PIXELS = """async (picture) => {
  const image = new Image(); image.src = "data:image/png;base64," + picture; await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height), pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  const bytes = pen.getImageData(0, 0, image.width, image.height).data;
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return [image.width, image.height, btoa(text)];
}"""


def picture(browser: Browser, url: str, scheme: Literal["light", "dark"]) -> bytes:
    """The whole page as a PNG with a palette; raises playwright's Error when it does not fill in time."""
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)
    page.goto(url)
    for part in SHOWN:
        page.locator(part).first.wait_for(timeout=PATIENCE_MS)
    taken = page.screenshot(full_page=True, animations="disabled")
    page.goto("about:blank")  # its own policy would forbid what follows
    width, height, pixels = page.evaluate(PIXELS, base64.b64encode(taken).decode())
    page.close()
    return indexed(np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(height, width, 4)[:, :, :3])


def indexed(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """A PNG of `pixels` (height, width, 3) in 256 colours; each other colour takes the nearest of them."""
    height, width, _ = pixels.shape
    packed = np.zeros(height * width, np.int64)
    for channel in range(3):
        packed = packed << 8 | pixels[:, :, channel].ravel()
    packed, which, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colours = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1)
    palette = palette_of(colours, counts)
    nearest = np.array([((palette - colour) ** 2).sum(axis=1).argmin() for colour in colours], np.uint8)
    rows = np.zeros((height, width + 1), np.uint8)  # a leading 0 a row: no filter
    rows[:, 1:] = nearest[which.reshape(height, width)]
    chunks = (
        (b"IHDR", struct.pack(">2I5B", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def palette_of(
    colours: np.ndarray[Any, np.dtype[np.int64]], counts: np.ndarray[Any, np.dtype[np.int64]]
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The commonest of `colours` (n, 3), and then whichever is farthest from all chosen: few pixels may be red."""
    chosen = list(np.argsort(-counts)[:COMMON])
    distance = np.min([((colours - colours[each]) ** 2).sum(axis=1) for each in chosen], axis=0)
    while len(chosen) < min(256, len(colours)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((colours - colours[chosen[-1]]) ** 2).sum(axis=1))
    return colours[chosen]


def main() -> int:
    """0 when both pictures were written, else 1 with one line that says why."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="address of a dashboard that is deployed and has made predictions")
    parser.add_argument("--folder", type=Path, default=DOCS, help="where the pictures go (default: docs)")
    options = parser.parse_args()
    if not Path(CHROMIUM).exists():
        print(f"{CHROMIUM} is not there; install the package chromium", file=sys.stderr)
        return 1
    options.folder.mkdir(exist_ok=True)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
            schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
            pictures = {scheme: picture(browser, options.url, scheme) for scheme in schemes}
            browser.close()
    except Error as error:
        print(f"no picture of {options.url}: {error.message.splitlines()[0]}; is all of it healthy?", file=sys.stderr)
        return 1
    for scheme, content in pictures.items():
        (options.folder / f"dashboard-{scheme}.png").write_bytes(content)
        print(f"{options.folder}/dashboard-{scheme}.png: {len(content) // 1024} KB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
