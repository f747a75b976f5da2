"""Opens a page in a real headless browser and tells what it made of it."""

import dataclasses
import json
import pathlib
import re
import shutil
import subprocess

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# The page forbids scripts; the copy that is looked at allows the one below, which reports when all is loaded.
PROBE = """
<script>
window.addEventListener("load", () => {
  const images = [...document.images].map(image => ({
    alt: image.alt, width: image.naturalWidth, height: image.naturalHeight, shown: image.getBoundingClientRect().width
  }));
  const result = document.createElement("pre");
  result.id = "probe";
  const width = document.documentElement.scrollWidth;
  result.textContent = JSON.stringify({images, width, text: document.body.innerText});
  document.body.append(result);
});
</script>
"""


@dataclasses.dataclass
class Seen:
    """What the browser shows: images with alt text, natural size and shown width; the width of the page; its text."""

    images: list[dict]
    width: int
    text: str


def open_page(path: pathlib.Path, folder: pathlib.Path, width: int = 1200) -> Seen:
    """Open a copy of a page with the probe in it, at a window `width` pixels wide; skips where there is no browser."""
    page = path.read_text(encoding="utf-8")
    assert "style-src 'unsafe-inline'" in page
    page = page.replace("style-src 'unsafe-inline'", "style-src 'unsafe-inline'; script-src 'unsafe-inline'")
    copy = folder / "probed.html"
    copy.write_text(page.replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    out = _chromium(folder, f"--window-size={width},1000", "--dump-dom", copy.as_uri()).stdout
    result = re.search(r'<pre id="probe">(.*?)</pre>', out, re.DOTALL)
    assert result, "the page did not finish loading"
    entities = {"&lt;": "<", "&gt;": ">", "&nbsp;": "\u00a0", "&amp;": "&"}
    text = result[1]
    for name, letter in entities.items():
        text = text.replace(name, letter)
    return Seen(**json.loads(text))


def complaints(path: pathlib.Path, folder: pathlib.Path) -> list[str]:
    """What the browser says on its console about the page as it is: refused requests, errors."""
    shot = folder / "shot.png"
    error = _chromium(folder, "--enable-logging=stderr", f"--screenshot={shot}", path.as_uri()).stderr
    assert shot.is_file()
    return [line for line in error.splitlines() if "CONSOLE" in line]


def _chromium(folder: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess:
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}")
    finished = subprocess.run(
        [program, *options, *arguments], capture_output=True, text=True, encoding="utf-8", timeout=180
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    return finished
