"""The page as one file: style and script are part of it, and nothing is loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from deeplab_miou import report
from deeplab_miou.accounting import Reason
from deeplab_miou.metric.scores import HEADLINES
from deeplab_miou.text import capitalized

_HERE = Path(__file__).parent
# What becomes of messages that were not dropped.
_STATES = {
    "received": "arrived at the evaluators",
    "evaluated": "is counted in the scores",
    "waiting": "waiting for a partner or the network, or being scored",
}


class Page(NamedTuple):
    """The page.

    Attributes:
        html: the file.
        policy: its Content-Security-Policy: this one script, our own pictures and events, and
            nothing else.
        digest: tells this page from those of other versions.
    """

    html: bytes
    policy: str
    digest: str


def load_page() -> Page:
    """Return the page; style.css is the report's."""
    script = (_HERE / "watch.js").read_text(encoding="utf-8")
    style = (Path(report.__file__).parent / "style.css").read_text(encoding="utf-8")
    style += (_HERE / "watch.css").read_text(encoding="utf-8")
    html = (_HERE / "page.html").read_text(encoding="utf-8")
    html = html.replace("{{ style }}", style).replace("{{ script }}", script)
    html = html.replace("{{ words }}", json.dumps(_words()).replace("<", "\\u003c"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return Page(html.encode(), policy, hashlib.sha256(html.encode()).hexdigest()[:16])


def _words() -> dict[str, dict[str, str]]:
    """Return what the script calls things: scores other than the mIoU, states and reasons."""
    return {
        "scores": {k: capitalized(words) for k, words in HEADLINES.items() if k != "miou"},
        "meanings": _STATES | {reason.value: reason.explanation for reason in Reason},
    }
