"""Pictures of the sample mails: ``python -m tests.screenshots_mail OUTDIR``.

Each in phone and desktop width, light and dark.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from django.conf import settings

WIDTHS = {"phone": 390, "desktop": 1000}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Render the samples and take their pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("outdir", type=Path)
    parser.add_argument("--height", type=int, default=1600, help="of the pictures, in pixels (default: 1600)")
    parser.add_argument("names", nargs="*", help="of the samples (default: all)")
    options = parser.parse_args()
    settings.configure(TIME_ZONE="Europe/Berlin", USE_TZ=True)

    from django_maillog.digest import render
    from tests.mail_samples import SAMPLES

    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        parser.error(f"none of {', '.join(BROWSERS)} is installed")
    options.outdir.mkdir(parents=True, exist_ok=True)
    for name in options.names or SAMPLES:
        digest = render(SAMPLES[name]())
        page = options.outdir / f"{name}.html"
        page.write_text(digest.html, encoding="utf-8")
        (options.outdir / f"{name}.txt").write_text(
            f"Subject: {digest.subject}\n\n{digest.text}", encoding="utf-8"
        )
        sizes = f"html={len(digest.html.encode())} text={len(digest.text.encode())}"
        sys.stdout.write(f"{name}: {sizes} subject={digest.subject}\n")
        for width_name, width in WIDTHS.items():
            for scheme in ("light", "dark"):
                shoot(
                    browser,
                    page,
                    options.outdir / f"{name}-{width_name}-{scheme}.png",
                    width,
                    options.height,
                    scheme,
                )


def shoot(browser: str, page: Path, picture: Path, width: int, height: int, scheme: str) -> None:
    """One picture; an iframe gives the width, since a headless window is never narrower than 500 pixels."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        frame = Path(profile) / "frame.html"
        size = f'width="{width}" height="{height}" frameborder="0"'
        frame.write_text(
            f'<body style="margin:0"><iframe src="{page.resolve().as_uri()}" {size}></iframe>',
            encoding="utf-8",
        )
        subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--hide-scrollbars",
                "--allow-file-access-from-files",
                f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}",
                f"--user-data-dir={profile}/profile",
                f"--window-size={width},{height}",
                f"--screenshot={picture.resolve()}",
                frame.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=60,
        )


if __name__ == "__main__":
    main()
