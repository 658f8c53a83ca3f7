# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The nodes that artists use. Neither an address nor a key is ever an input: SaveImage writes inputs into its files.

The form of a node: https://docs.comfy.org/custom-nodes/backend/server_overview
"""

from __future__ import annotations

import importlib
import typing as t

from .endpoints import IMAGE_API, MANUAL, MODES, PROVIDERS, TEXT_API, ChoiceError, endpoints_of
from .envelope import ConfigError
from .job import ANY, Job, pixels_of, png_of
from .messages import HIGHEST_SEED, ImageWish, RequestError, TextWish
from .status import YELLOW
from .workstation import Workstation

CATEGORY = "BudgetGuard"
NOTHING = "(no endpoint)"

Node = dict[str, t.Any]


class NodeError(RuntimeError):
    """What the artist reads when a node fails. There is never a secret in it."""


def build(workstation: Workstation) -> dict[str, type]:
    """Return the classes of the nodes by the names under which workflows keep them."""

    class ImageNode(_Base):
        """Make an image with one of the studio's NIMs."""

        place = workstation
        style = IMAGE_API
        RETURN_TYPES = ("IMAGE",)
        RETURN_NAMES = ("image",)
        FUNCTION = "execute"
        INPUT_TYPES = classmethod(_image_inputs)

        async def execute(  # The names are those of the inputs.
            self,
            nim: str,
            mode: str,
            provider: str,
            prompt: str,
            width: int,
            height: int,
            steps: int,
            guidance: float,
            seed: int,
            image: t.Any = None,
            node_id: str = "",
        ) -> Node:
            """Return the image; without credentials the one that came in."""
            job = self.job(node_id)
            try:
                opened = await job.open()
            except ConfigError as problem:
                if image is None:
                    raise self.failed(f"{YELLOW} ({problem})") from None
                return self.passed(image, problem)
            try:
                wish = ImageWish(
                    prompt, width, height, steps, guidance, seed, png_of(image) if image is not None else None
                )
                found, why = await job.image(opened, nim, mode, provider, wish)
                return self.told(_tensor(pixels_of(found)), why)
            except (RequestError, ChoiceError) as problem:
                raise self.failed(str(problem)) from None

    class TextNode(_Base):
        """Have a text written by one of the studio's language models."""

        place = workstation
        style = TEXT_API
        RETURN_TYPES = ("STRING",)
        RETURN_NAMES = ("text",)
        FUNCTION = "execute"
        INPUT_TYPES = classmethod(_text_inputs)

        async def execute(
            self,
            nim: str,
            mode: str,
            provider: str,
            prompt: str,
            max_tokens: int,
            temperature: float,
            seed: int,
            node_id: str = "",
        ) -> Node:
            """Return the text; without credentials the prompt."""
            job = self.job(node_id)
            try:
                opened = await job.open()
            except ConfigError as problem:
                return self.passed(prompt, problem)
            try:
                wish = TextWish(prompt, max_tokens, temperature, seed)
                return self.told(*await job.text(opened, nim, mode, provider, wish))
            except (RequestError, ChoiceError) as problem:
                raise self.failed(str(problem)) from None

    return {"BudgetGuardNIM": ImageNode, "BudgetGuardNIMText": TextNode}


def _takes_any(_cls: type, nim: str) -> bool:
    """Take any NIM: a list that a page loaded before the last run of TechOps may be old."""
    return bool(nim)


class _Base:
    """What both nodes have in common."""

    place: Workstation
    style: str
    CATEGORY = CATEGORY
    VALIDATE_INPUTS: t.Any = classmethod(_takes_any)

    @classmethod
    def common(cls) -> Node:
        """Return the inputs that choose an endpoint."""
        return {
            "nim": (cls.nims(), {"tooltip": "Which of the studio's NIMs"}),
            "mode": (list(MODES), {"default": MANUAL, "tooltip": "How the endpoint is chosen"}),
            "provider": ([ANY, *PROVIDERS], {"default": ANY, "tooltip": "Where it runs; counts in the mode MANUAL"}),
            "prompt": ("STRING", {"multiline": True, "default": ""}),
        }

    @classmethod
    def nims(cls) -> list[str]:
        """Return the names of the NIMs that this node can ask. Without a config there is one that says so."""
        try:
            found = endpoints_of(cls.place.open().document)
        except ConfigError:
            return [NOTHING]
        return sorted({one.node for one in found if one.style == cls.style}) or [NOTHING]

    def job(self, node_id: str) -> Job:
        """Return what carries out one request of this node."""
        return Job(
            self.place,
            _ticker(self.place.settings.time_limit, node_id),
            lambda said: _tell(self.place.named(said), node_id),
        )

    def told(self, value: t.Any, why: str) -> Node:
        """Return a node's result with a sentence to show on it."""
        return {"ui": {"budgetguard": [why]}, "result": (value,)}

    def failed(self, text: str) -> NodeError:
        """Return a node's failure, for the artist."""
        return NodeError(self.place.named(text))

    def passed(self, value: t.Any, problem: ConfigError) -> Node:
        """Return an input as the result, and say so."""
        return self.told(value, self.place.named(f"{YELLOW}. The input was passed through. {problem}"))


def _image_inputs(cls: type[_Base]) -> Node:
    return {
        "required": {
            **cls.common(),
            "width": ("INT", {"default": 1024, "min": 256, "max": 2048, "step": 32}),
            "height": ("INT", {"default": 1024, "min": 256, "max": 2048, "step": 32}),
            "steps": ("INT", {"default": 30, "min": 1, "max": 100}),
            "guidance": ("FLOAT", {"default": 3.5, "min": 0.0, "max": 9.0, "step": 0.1}),
            "seed": ("INT", {"default": 0, "min": 0, "max": HIGHEST_SEED, "control_after_generate": True}),
        },
        "optional": {"image": ("IMAGE", {"tooltip": "For FLUX Canny, Depth and Kontext"})},
        "hidden": {"node_id": "UNIQUE_ID"},
    }


def _text_inputs(cls: type[_Base]) -> Node:
    return {
        "required": {
            **cls.common(),
            "max_tokens": ("INT", {"default": 512, "min": 1, "max": 32768}),
            "temperature": ("FLOAT", {"default": 0.7, "min": 0.0, "max": 2.0, "step": 0.05}),
            "seed": ("INT", {"default": 0, "min": 0, "max": HIGHEST_SEED, "control_after_generate": True}),
        },
        "hidden": {"node_id": "UNIQUE_ID"},
    }


def _tensor(pixels: t.Any) -> t.Any:
    """Make of an array what ComfyUI calls an IMAGE. Torch is loaded here and nowhere else."""
    return importlib.import_module("torch").from_numpy(pixels)


def _ticker(limit: int, node_id: str) -> t.Callable[[float], None]:
    """Return what ends a request that the artist cancelled, and moves the progress bar with the time limit."""
    try:
        check = importlib.import_module("comfy.model_management").throw_exception_if_processing_interrupted
        progress_bar = importlib.import_module("comfy.utils").ProgressBar
    except ImportError:
        return lambda _seconds: None
    try:
        progress = progress_bar(limit, node_id=node_id)
    except TypeError:
        # Older ones know by themselves which node is running.
        progress = progress_bar(limit)

    def tick(seconds: float) -> None:
        check()
        progress.update_absolute(min(int(seconds), limit - 1), limit)

    return tick


def _tell(said: str, node_id: str) -> None:
    """Show a sentence on the node while it works, where this ComfyUI can."""
    try:
        send = importlib.import_module("server").PromptServer.instance.send_progress_text
    except (ImportError, AttributeError):
        return
    send(said, node_id)
