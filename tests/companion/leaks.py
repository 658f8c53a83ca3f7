# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Look for planted secrets in everything that somebody may get to see: files, answers, logs, images, history."""

from __future__ import annotations

import base64
import io
import json
import typing as t
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from PIL.PngImagePlugin import PngInfo


class Haystack:
    """What was seen, by where it was seen."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def add(self, where: str, content: str | bytes) -> None:
        """Add what was seen somewhere. Of an image its metadata count, which are written in clear or packed."""
        if isinstance(content, bytes):
            if content.startswith(b"\x89PNG"):
                self.add(f"{where}: metadata", json.dumps(t.cast(t.Any, Image.open(io.BytesIO(content))).text))
            content = content.decode("utf-8", "replace")
        self._seen[where] = self._seen.get(where, "") + content

    def add_files(self, folder: Path) -> None:
        """Add all files of a folder."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.add(str(path.relative_to(folder)), path.read_bytes())

    def check(self, secrets: t.Iterable[str], expected: t.Mapping[str, str]) -> None:
        """Fail if a secret is anywhere, as it is or in a usual form.

        :arg expected: by where it was seen, what has to be there: so nothing is looked at that is empty.
        """
        assert not {where: text for where, text in expected.items() if text not in self._seen.get(where, "")}
        for secret in secrets:
            forms = {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("=")}
            found = [where for where, content in self._seen.items() for form in forms if form in content]
            assert not found, f"one of the secrets is in {sorted(set(found))}"


def saved_image(prompt: t.Any, workflow: t.Any) -> bytes:
    """Return an image with what ComfyUI's SaveImage writes into it: https://docs.comfy.org/built-in-nodes/SaveImage."""
    metadata, buffer = PngInfo(), io.BytesIO()
    metadata.add_text("prompt", json.dumps(prompt))
    metadata.add_text("workflow", json.dumps(workflow))
    Image.new("RGB", (8, 8)).save(buffer, format="PNG", pnginfo=metadata)
    return buffer.getvalue()
