# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The catalogue: from the names people use for a NIM to what NVIDIA publishes and what it needs.

Facts only, each with its source. C(load) merges a studio's own C(nim_catalog) into it.
Sizes are GiB. Where NVIDIA writes GB for a minimum, it is taken as GiB, which is the careful reading.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
from dataclasses import dataclass, field
from difflib import get_close_matches

from ansible_collections.budgetguard.techops.plugins.module_utils import _gpu

KINDS = ("image", "llm", "3d")
"""What a node makes: images (and FLUX Kontext edits), text, or 3D objects."""

INFER_PATHS = ("/v1/infer", "/v1/chat/completions")
"""The two forms of API that NIMs have."""


_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class CatalogError(ValueError):
    """A studio's C(nim_catalog) has problems. The text lists all of them, one per line."""


class _FieldError(ValueError):
    """A field of C(nim_catalog) has a wrong form. The text goes on after its path."""


class TagError(ValueError):
    """An image tag has a wrong form. The text goes on after the name of its option."""


class UnknownNodeError(ValueError):
    """The catalogue has no such node. The text names the nearest and all known ones."""


@dataclass(frozen=True)
class Licence:
    """Terms somebody has to accept before the model may be downloaded or used.

    C(name) is the model page on which they are accepted, C(url) its address.
    C(non_commercial) is true where the terms do not allow commercial work, so a studio needs a
    separate agreement with the model's maker.
    """

    name: str
    url: str = ""
    non_commercial: bool = False


@dataclass(frozen=True)
class Node:
    """One entry of the catalogue.

    C(image) has no tag; it is None where NVIDIA hosts the model but publishes no container.
    C(variant) is the value of NIM_MODEL_VARIANT this node stands for, C(variants) those its image has.
    C(min_gpu_memory_gib) is what one replica needs over all its GPUs together.
    C(gpus_by_tier) says how many GPUs one replica uses on the tiers that are known or plausible. Where
    it is empty, one GPU of any tier that meets the minimums is assumed.
    C(listed_tiers) are those that NVIDIA's own pages name for this model. All others are plausible and
    unverified.
    C(steps), C(cfg_scale), C(width) and C(height) of an image, and C(max_tokens) of a text, are what the artists' nodes
    ask for unless somebody changes it. This is what a benchmark asks for, too.
    C(verified) is true where image, tag and minimums all stand on a page of NVIDIA; false where one of
    them is worked out or comes from somebody else. It does not mean that we have run it.
    """

    name: str
    slug: str
    kind: str
    image: str | None
    tag: str | None
    min_gpu_memory_gib: int
    min_host_memory_gib: int
    source: str
    aliases: tuple[str, ...] = ()
    variant: str | None = None
    variants: tuple[str, ...] = ()
    needs_hf_token: bool = False
    licences: tuple[Licence, ...] = ()
    min_compute_capability: tuple[int, int] = (8, 0)
    gpus_by_tier: t.Mapping[str, int] = field(default_factory=dict)
    listed_tiers: tuple[str, ...] = ()
    disk_gib: int = 100
    shm_gib: int = 16
    hosted_url: str | None = None
    infer_path: str = "/v1/infer"
    steps: int = 30
    cfg_scale: float = 3.5
    width: int = 1024
    height: int = 1024
    max_tokens: int = 512
    verified: bool = False
    notes: str = ""

    @property
    def hosted_only(self) -> bool:
        """True where there is nothing to deploy, only NVIDIA's hosted service."""
        return self.image is None

    @property
    def non_commercial(self) -> bool:
        """True where one of the licences does not allow commercial work."""
        return any(licence.non_commercial for licence in self.licences)


def slugify(name: str) -> str:
    """Lower case, and every run of other characters as one hyphen: 'FLUX.2 Klein' -> 'flux-2-klein'."""
    return re.sub(r"[^a-z0-9]+", "-", str(name).lower()).strip("-")


def check_tag(value: t.Any) -> str:
    """Return an image tag, with or without a digest, such as C(1.2.3) or C(1.2.3@sha256:...).

    The tag says which version it is, and the digest alone decides what is pulled, whatever the tag means later.
    Raises TagError for anything else.
    """
    right = "must be an image tag as text, in quotes, such as '1.2.3'"
    if not isinstance(value, str):
        raise TagError(f"{right}, not {value!r}")
    tag, at_sign, digest = value.partition("@")
    if not tag or _DIGEST.fullmatch(value):
        raise TagError(f"has no tag before the digest: it must be like '1.2.3@sha256:...', not {value!r}")
    if "/" in tag or ":" in tag:
        raise TagError(f"{right}, without the name of the image, not {value!r}")
    if not _TAG.fullmatch(tag):
        raise TagError(f"{right}, not {value!r}")
    if at_sign and not _DIGEST.fullmatch(digest):
        raise TagError(
            f"has no digest after the @: that must be sha256: and 64 of the characters 0-9 and a-f, not {digest!r}"
        )
    return str(value)


def _hugging_face(*repositories: str, non_commercial: bool = False) -> tuple[Licence, ...]:
    return tuple(Licence(name, f"https://huggingface.co/{name}", non_commercial) for name in repositories)


def _ngc(repository: str) -> tuple[Licence, ...]:
    """Return the terms of a container that needs no Hugging Face account: accepted on its NGC page."""
    team, name = repository.split("/")
    return (Licence(f"NGC {repository}", f"https://catalog.ngc.nvidia.com/orgs/nim/teams/{team}/containers/{name}"),)


def _one_gpu_on(*tiers: str) -> dict[str, int]:
    return dict.fromkeys(tiers, 1)


_VISUAL = "https://docs.nvidia.com/nim/visual-genai"
_VISUAL_TAGS = _VISUAL + "/1.7.0/getting-started.html"
_VISUAL_MATRIX = _VISUAL + "/1.1.1/support-matrix.html"
_LLM = "https://docs.nvidia.com/nim/large-language-models"
_LLM_MATRIX = _LLM + "/1.1.0/support-matrix.html"
_LLM_MEMORY = _LLM + "/1.3.0/support-matrix.html"
_LLM_TAGS = "NGC API answers of 2026-02-19 in RHEcosystemAppEng/nim-new-flow generated/nim-models-data.yaml"
_HOSTED_IMAGES = "https://ai.api.nvidia.com/v1/genai"
_HOSTED_LLM = "https://integrate.api.nvidia.com/v1/chat/completions"

_FLUX_LISTED = ("rtx-4090", "rtx-5090", "l40", "rtx-6000-ada", "l40s", "h100")
_ONE_GPU_24_GB_UP = _one_gpu_on(*[name for name in _gpu.TIERS if name != "t4"])
_ONE_GPU_32_GB_UP = _one_gpu_on(*[row.name for row in _gpu.TIERS.values() if row.memory_mib > 30000])

_FLUX_NOTE = (
    "NVIDIA publishes FP8 and FP4 engines only, so GPUs without FP8 (A10, A10G, A100) are a guess. "
    "32 GB of GPU memory and 64 GB of host memory are recommended."
)

_FLUX_DEV = Node(
    name="FLUX Dev",
    slug="flux-dev",
    aliases=("FLUX.1-dev", "FLUX.1 [dev]"),
    kind="image",
    image="nvcr.io/nim/black-forest-labs/flux.1-dev",
    tag="1.2.3",
    variant="base",
    variants=("base", "canny", "depth"),
    needs_hf_token=True,
    licences=_hugging_face("black-forest-labs/FLUX.1-dev", "black-forest-labs/FLUX.1-dev-onnx", non_commercial=True),
    min_gpu_memory_gib=16,
    min_host_memory_gib=40,
    gpus_by_tier=_ONE_GPU_24_GB_UP,
    listed_tiers=_FLUX_LISTED,
    hosted_url=_HOSTED_IMAGES + "/black-forest-labs/flux.1-dev",
    source=f"{_VISUAL_TAGS}; {_VISUAL_MATRIX}; https://huggingface.co/black-forest-labs/FLUX.1-dev LICENSE.md",
    verified=True,
    notes=_FLUX_NOTE,
)

_FLUX_SAME_IMAGE = "Same image as FLUX Dev, chosen by NIM_MODEL_VARIANT. "

_BUILT_IN = (
    _FLUX_DEV,
    dataclasses.replace(
        _FLUX_DEV,
        name="FLUX Canny",
        slug="flux-canny",
        aliases=("FLUX.1-Canny-dev",),
        variant="canny",
        licences=_hugging_face(
            "black-forest-labs/FLUX.1-dev",
            "black-forest-labs/FLUX.1-dev-onnx",
            "black-forest-labs/FLUX.1-Canny-dev",
            "black-forest-labs/FLUX.1-Canny-dev-onnx",
            non_commercial=True,
        ),
        notes=_FLUX_SAME_IMAGE + _FLUX_NOTE,
    ),
    dataclasses.replace(
        _FLUX_DEV,
        name="FLUX Depth",
        slug="flux-depth",
        aliases=("FLUX.1-Depth-dev",),
        variant="depth",
        licences=_hugging_face(
            "black-forest-labs/FLUX.1-dev",
            "black-forest-labs/FLUX.1-dev-onnx",
            "black-forest-labs/FLUX.1-Depth-dev",
            "black-forest-labs/FLUX.1-Depth-dev-onnx",
            non_commercial=True,
        ),
        notes=_FLUX_SAME_IMAGE + _FLUX_NOTE,
    ),
    Node(
        name="FLUX Kontext",
        slug="flux-kontext",
        aliases=("FLUX.1-Kontext-dev", "FLUX Kontext Dev"),
        kind="image",
        image="nvcr.io/nim/black-forest-labs/flux.1-kontext-dev",
        tag="1.1.4",
        variant="base",
        variants=("base",),
        needs_hf_token=True,
        licences=_hugging_face(
            "black-forest-labs/FLUX.1-Kontext-dev", "black-forest-labs/FLUX.1-Kontext-dev-onnx", non_commercial=True
        ),
        min_gpu_memory_gib=22,
        min_host_memory_gib=40,
        gpus_by_tier=_ONE_GPU_24_GB_UP,
        listed_tiers=("h100",),
        hosted_url=_HOSTED_IMAGES + "/black-forest-labs/flux.1-kontext-dev",
        source=f"{_VISUAL_TAGS}; NVIDIA-AI-Blueprints/Retail-Catalog-Enrichment README.md (one H100)",
        notes="No table of GPUs could be read. NVIDIA's blueprint asks for one H100; the memory is FLUX Dev's, "
        "with room for the input image on a 24 GB card.",
    ),
    Node(
        name="FLUX Schnell",
        slug="flux-schnell",
        aliases=("FLUX.1-schnell", "FLUX.1 [schnell]"),
        kind="image",
        image="nvcr.io/nim/black-forest-labs/flux.1-schnell",
        tag="1.1.4",
        variant="base",
        variants=("base",),
        needs_hf_token=True,
        licences=_hugging_face("black-forest-labs/FLUX.1-schnell", "black-forest-labs/FLUX.1-schnell-onnx"),
        min_gpu_memory_gib=16,
        min_host_memory_gib=40,
        gpus_by_tier=_ONE_GPU_24_GB_UP,
        listed_tiers=_FLUX_LISTED,
        hosted_url=_HOSTED_IMAGES + "/black-forest-labs/flux.1-schnell",
        steps=4,
        cfg_scale=0,
        source=f"{_VISUAL_TAGS}; {_VISUAL_MATRIX}",
        verified=True,
        notes=_FLUX_NOTE,
    ),
    Node(
        name="FLUX.2 Klein",
        slug="flux-2-klein",
        aliases=("FLUX.2-klein-4B", "FLUX Klein"),
        kind="image",
        image="nvcr.io/nim/black-forest-labs/flux.2-klein-4b",
        tag="1.0.2-variant",
        licences=_ngc("black-forest-labs/flux.2-klein-4b"),
        min_gpu_memory_gib=13,
        min_host_memory_gib=40,
        gpus_by_tier=_ONE_GPU_24_GB_UP,
        source=f"{_VISUAL_TAGS}; https://huggingface.co/black-forest-labs/FLUX.2-klein-4B (about 13 GB)",
        notes="NVIDIA's list of GPUs could not be read. The host memory is FLUX.1's. "
        "GET /v1/models answers 404 on it: use /v1/health/ready.",
    ),
    Node(
        name="SD 3.5 Large",
        slug="sd-3-5-large",
        aliases=("Stable Diffusion 3.5 Large", "SD3.5 Large", "SD3.5"),
        kind="image",
        image="nvcr.io/nim/stabilityai/stable-diffusion-3.5-large",
        tag="1.1.1",
        variant="base",
        variants=("base", "canny", "depth"),
        needs_hf_token=True,
        licences=_hugging_face(
            "stabilityai/stable-diffusion-3.5-large",
            "stabilityai/stable-diffusion-3.5-large-tensorrt",
            "stabilityai/stable-diffusion-3.5-controlnets-tensorrt",
        ),
        min_gpu_memory_gib=29,
        min_host_memory_gib=64,
        gpus_by_tier=_ONE_GPU_32_GB_UP,
        listed_tiers=("l40", "l40s", "h100"),
        source=f"{_VISUAL_TAGS}; Comfy-Org/NIMnodes README.md (32 GB); "
        "awslabs/ai-on-eks-charts values-stable-diffusion-3.5-large (L40S, 64 GiB)",
        notes="The Stability AI Community License asks companies above a yearly revenue for an enterprise "
        "agreement: read it. NVIDIA says 'optimized for Lovelace, Hopper, Blackwell'.",
    ),
    Node(
        name="SDXL",
        slug="sdxl",
        aliases=("Stable Diffusion XL", "SD XL"),
        kind="image",
        image=None,
        tag=None,
        min_gpu_memory_gib=0,
        min_host_memory_gib=0,
        disk_gib=0,
        shm_gib=0,
        hosted_url=_HOSTED_IMAGES + "/stabilityai/stable-diffusion-xl",
        source=_LLM_TAGS + " (186 names, no SDXL among them)",
        notes="Hosted only: NVIDIA publishes no SDXL container. Use it on a target of the group nvidia, "
        "or deploy SD 3.5 Large instead.",
    ),
    Node(
        name="Llama 3",
        slug="llama-3",
        aliases=("Llama 3 8B", "Llama-3-8B-Instruct", "llama3-8b-instruct"),
        kind="llm",
        image="nvcr.io/nim/meta/llama3-8b-instruct",
        tag="1.0.3",
        licences=_ngc("meta/llama3-8b-instruct"),
        min_gpu_memory_gib=20,
        min_host_memory_gib=25,
        gpus_by_tier=_ONE_GPU_24_GB_UP,
        listed_tiers=("l4", "a10g", "l40s", "a100-80gb", "h100"),
        disk_gib=50,
        hosted_url=_HOSTED_LLM,
        infer_path="/v1/chat/completions",
        source=f"{_LLM_TAGS}; {_LLM_MATRIX}; {_LLM_MEMORY}; NVIDIA/nim-deploy google-cloud/gke (one L4)",
        notes="Last published in August 2024; Llama 3.1 is its successor. The weights take 15 GiB of the GPU.",
    ),
    Node(
        name="Llama 3.1",
        slug="llama-3-1",
        aliases=("Llama 3.1 8B", "Llama-3.1-8B-Instruct"),
        kind="llm",
        image="nvcr.io/nim/meta/llama-3.1-8b-instruct",
        tag="1.15.5",
        licences=_ngc("meta/llama-3.1-8b-instruct"),
        min_gpu_memory_gib=20,
        min_host_memory_gib=25,
        gpus_by_tier=_ONE_GPU_24_GB_UP,
        listed_tiers=("a10g", "l40s", "a100-80gb", "h100"),
        disk_gib=50,
        hosted_url=_HOSTED_LLM,
        infer_path="/v1/chat/completions",
        source=f"{_LLM_TAGS}; {_LLM_MATRIX}; {_LLM_MEMORY}",
        notes="On an A10G NVIDIA's general rule is one GPU up to 8 billion parameters; its optimised profiles use two.",
    ),
    Node(
        name="Mixtral",
        slug="mixtral",
        aliases=("Mixtral 8x7B", "Mixtral-8x7B-Instruct"),
        kind="llm",
        image="nvcr.io/nim/mistralai/mixtral-8x7b-instruct-v0-1",
        tag="1.12.0",
        licences=_ngc("mistralai/mixtral-8x7b-instruct-v0-1"),
        min_gpu_memory_gib=100,
        min_host_memory_gib=114,
        gpus_by_tier={"l40s": 4, "a100-80gb": 2, "h100": 2},
        listed_tiers=("l40s", "a100-80gb", "h100"),
        disk_gib=200,
        hosted_url=_HOSTED_LLM,
        infer_path="/v1/chat/completions",
        source=f"{_LLM_TAGS}; {_LLM_MEMORY}; "
        "https://docs.nvidia.com/ai-enterprise/rag-llm-operator/24.3.0/platform-support.html",
        notes="Never on one GPU: the weights alone take 88 GiB.",
    ),
    Node(
        name="Phi-3",
        slug="phi-3",
        aliases=("Phi-3 mini", "Phi-3-mini-4k-instruct"),
        kind="llm",
        image="nvcr.io/nim/microsoft/phi-3-mini-4k-instruct",
        tag="1.2.3",
        licences=_ngc("microsoft/phi-3-mini-4k-instruct"),
        min_gpu_memory_gib=12,
        min_host_memory_gib=18,
        gpus_by_tier=_ONE_GPU_24_GB_UP,
        listed_tiers=("a10g", "l40s", "a100-80gb", "h100"),
        disk_gib=50,
        hosted_url=_HOSTED_LLM,
        infer_path="/v1/chat/completions",
        source=f"{_LLM_TAGS}; {_LLM_MATRIX} (general rule up to 8 billion parameters); {_LLM_MEMORY}",
        notes="Its profile is bf16. The weights take 8 GB. NVIDIA's successor is phi-4-mini-instruct.",
    ),
    Node(
        name="TRELLIS",
        slug="trellis",
        aliases=("Microsoft TRELLIS",),
        kind="3d",
        image="nvcr.io/nim/microsoft/trellis",
        tag="1.0.2",
        variant="large:image",
        variants=("base:text", "large:text", "large:image"),
        licences=_ngc("microsoft/trellis"),
        min_gpu_memory_gib=16,
        min_host_memory_gib=40,
        gpus_by_tier=_ONE_GPU_24_GB_UP,
        hosted_url=_HOSTED_IMAGES + "/microsoft/trellis",
        source=f"{_VISUAL_TAGS}; https://github.com/microsoft/TRELLIS README.md (16 GB)",
        notes="NVIDIA's list of GPUs could not be read. The host memory is FLUX.1's.",
    ),
)

CATALOG: t.Mapping[str, Node] = {node.name: node for node in _BUILT_IN}
"""Name -> node, as published by the collection. Use C(load) to add the studio's own entries."""


def find(catalog: t.Mapping[str, Node], name: str) -> Node:
    """Return the node of C(catalog) with this name, slug or alias; case and punctuation do not matter.

    Raises UnknownNodeError with the nearest and all known names.
    """
    node = _index(catalog).get(slugify(name))
    if node is not None:
        return node
    near = suggest(catalog, name)
    hint = f" Did you mean '{near}'?" if near else ""
    raise UnknownNodeError(f"There is no node '{name}' in the catalogue.{hint} Known nodes: {', '.join(catalog)}")


def suggest(catalog: t.Mapping[str, Node], name: str) -> str | None:
    """Return the name of the node that C(name) most likely means, or None."""
    index = _index(catalog)
    near = get_close_matches(slugify(name), index, n=1, cutoff=0.6)
    return index[near[0]].name if near else None


def licence_warning(node: Node) -> str | None:
    """Return the sentence a studio must read before it deploys C(node), or None."""
    names = [licence.name for licence in node.licences if licence.non_commercial]
    if not names:
        return None
    return (
        f"{node.name}: the licence of {', '.join(names)} does not allow commercial work; "
        "a studio needs an agreement with the maker of the model first."
    )


def load(overrides: t.Mapping[t.Any, t.Any] | None = None) -> dict[str, Node]:
    """Return the catalogue with the studio's C(nim_catalog) merged into it.

    A key that names a known node (by name, slug or alias) overrides the given fields of it. Any other
    key is a new node, which has to give the fields in C(REQUIRED_FIELDS); the others have defaults. A
    mapping such as C(gpus_by_tier) is replaced as a whole.

    Raises CatalogError with every problem found, each with its path.
    """
    catalog = dict(CATALOG)
    if overrides is None:
        return catalog
    if not isinstance(overrides, t.Mapping):
        raise CatalogError("nim_catalog must be a mapping of node names to their fields")
    problems: list[str] = []
    for key, fields in overrides.items():
        path = f"nim_catalog[{str(key)!r}]"
        if not isinstance(key, str) or not slugify(key):
            problems.append(f"{path}: the name of a node must be a text with letters or digits")
            continue
        if not isinstance(fields, t.Mapping):
            problems.append(f"{path}: must be a mapping of fields")
            continue
        known = _index(catalog).get(slugify(key))
        before = len(problems)
        values = _parse_fields(path, fields, problems)
        _require_fields(path, str(key), known, fields, problems)
        if len(problems) > before:
            continue
        merged = _override(known, values) if known else _new_node(str(key), values)
        problems.extend(_inconsistencies(path, merged))
        catalog[merged.name] = merged
    problems.extend(_clashes(catalog))
    if problems:
        raise CatalogError("\n".join(problems))
    return catalog


# --- one function per form a field can have; each returns the value or raises ValueError("must be ...") ---


def _text(value: t.Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _FieldError("must be a text that is not empty")
    return str(value.strip())


def _text_or_empty(value: t.Any) -> str:
    if not isinstance(value, str):
        raise _FieldError("must be a text")
    return str(value)


_LONGEST_SLUG = 30
# A slug is part of the names of cloud objects, and Kubernetes and load balancers have short limits.


def _slug(value: t.Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", value) or len(value) > _LONGEST_SLUG:
        raise _FieldError(
            f"must be at most {_LONGEST_SLUG} lower-case letters, digits and single hyphens, such as 'my-node'"
        )
    return str(value)


def _kind(value: t.Any) -> str:
    if value not in KINDS:
        raise _FieldError(f"must be one of {', '.join(KINDS)}")
    return str(value)


def _image(value: t.Any) -> str:
    pattern = r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)+"
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise _FieldError("must be registry/path without tag or digest, such as nvcr.io/nim/meta/llama-3.1-8b-instruct")
    return str(value)


def _tag(value: t.Any) -> str:
    try:
        return check_tag(value)
    except TagError as error:
        raise _FieldError(str(error)) from error


def _flag(value: t.Any) -> bool:
    if not isinstance(value, bool):
        raise _FieldError("must be true or false")
    return value


def _texts(value: t.Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) and item for item in value):
        raise _FieldError("must be a list of texts")
    return tuple(str(item) for item in value)


def _whole_gib(value: t.Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _FieldError("must be a whole number of GiB, at least 1")
    return int(value)


def _whole_gib_or_zero(value: t.Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _FieldError("must be a whole number of GiB, 0 or more")
    return int(value)


def _capability(value: t.Any) -> tuple[int, int]:
    match = None
    if isinstance(value, (str, float)):
        match = re.fullmatch(r"(\d{1,2})\.(\d)", str(value))
    if match is None:
        raise _FieldError("must be a compute capability such as '8.9'")
    return (int(match.group(1)), int(match.group(2)))


def _tier_names(value: t.Any) -> tuple[str, ...]:
    return tuple(_gpu.tier(name).name for name in _texts(value))


def _gpu_counts(value: t.Any) -> dict[str, int]:
    if not isinstance(value, t.Mapping):
        raise _FieldError("must be a mapping of GPU tiers to the GPUs one replica uses, such as {l40s: 1}")
    counts = {}
    for name, count in value.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise _FieldError(f"must give a whole number of GPUs, at least 1, for tier '{name}'")
        counts[_gpu.tier(name).name] = int(count)
    return counts


def _licences(value: t.Any) -> tuple[Licence, ...]:
    message = "must be a list of texts, or of mappings with name, url and non_commercial"
    if not isinstance(value, (list, tuple)):
        raise _FieldError(message)
    licences = []
    for item in value:
        if isinstance(item, str) and item:
            licences.append(Licence(str(item)))
            continue
        if not isinstance(item, t.Mapping) or not set(item) <= {"name", "url", "non_commercial"}:
            raise _FieldError(message)
        try:
            licences.append(
                Licence(
                    _text(item.get("name")),
                    _text_or_empty(item.get("url", "")),
                    _flag(item.get("non_commercial", False)),
                )
            )
        except _FieldError as error:
            raise _FieldError(message) from error
    return tuple(licences)


def _https_url(value: t.Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"https://[^\s/]+\S*", value):
        raise _FieldError("must be an address that starts with https://")
    return str(value)


def _count(value: t.Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _FieldError("must be a whole number, at least 1")
    return int(value)


def _scale(value: t.Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 9:
        raise _FieldError("must be a number from 0 to 9")
    return float(value)


def _infer_path(value: t.Any) -> str:
    if value not in INFER_PATHS:
        raise _FieldError(f"must be one of {', '.join(INFER_PATHS)}")
    return str(value)


FIELDS: t.Mapping[str, t.Callable[[t.Any], t.Any]] = {
    "slug": _slug,
    "aliases": _texts,
    "kind": _kind,
    "image": _image,
    "tag": _tag,
    "variant": _text,
    "variants": _texts,
    "needs_hf_token": _flag,
    "licences": _licences,
    "min_gpu_memory_gib": _whole_gib,
    "min_host_memory_gib": _whole_gib,
    "min_compute_capability": _capability,
    "gpus_by_tier": _gpu_counts,
    "listed_tiers": _tier_names,
    "disk_gib": _whole_gib,
    "shm_gib": _whole_gib_or_zero,
    "hosted_url": _https_url,
    "infer_path": _infer_path,
    "steps": _count,
    "cfg_scale": _scale,
    "width": _count,
    "height": _count,
    "max_tokens": _count,
    "source": _text,
    "verified": _flag,
    "notes": _text_or_empty,
}
"""Field of C(nim_catalog) -> the function that checks it."""

REQUIRED_FIELDS = ("kind", "image", "tag", "min_gpu_memory_gib", "min_host_memory_gib")
"""What a new node has to say. Everything else has a default."""


def _parse_fields(path: str, fields: t.Mapping[str, t.Any], problems: list[str]) -> dict[str, t.Any]:
    """Return the fields that are right; what is wrong is added to C(problems)."""
    values: dict[str, t.Any] = {}
    for key, value in fields.items():
        if key not in FIELDS:
            near = get_close_matches(str(key), FIELDS, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; known fields: {', '.join(FIELDS)}"
            problems.append(f"{path}.{key}: there is no such field{hint}")
            continue
        try:
            values[key] = FIELDS[key](value)
        except ValueError as error:
            problems.append(f"{path}.{key}: {error}")
    return values


def _require_fields(
    path: str, name: str, known: Node | None, fields: t.Mapping[str, t.Any], problems: list[str]
) -> None:
    """Add a problem for each field that has to be there and is not."""
    if known is not None and not known.hosted_only:
        return
    reason = "a new node needs it" if known is None else f"{known.name} is hosted only so far, to deploy it needs this"
    required = [key for key in REQUIRED_FIELDS if known is None or key != "kind"]
    problems.extend(f"{path}.{key}: is missing; {reason}" for key in required if key not in fields)
    if known is None and "slug" not in fields and len(slugify(name)) > _LONGEST_SLUG:
        problems.append(f"{path}.slug: is missing; the name is too long to be one (at most {_LONGEST_SLUG} characters)")


def _override(known: Node, values: dict[str, t.Any]) -> Node:
    if "gpus_by_tier" in values and "listed_tiers" not in values:
        values["listed_tiers"] = tuple(name for name in known.listed_tiers if name in values["gpus_by_tier"])
    return dataclasses.replace(known, **values)


def _new_node(name: str, values: dict[str, t.Any]) -> Node:
    fields: dict[str, t.Any] = {"name": name, "slug": slugify(name), "source": "nim_catalog of this inventory"}
    if values["kind"] == "llm":
        fields["infer_path"] = "/v1/chat/completions"
    fields.update(values)
    return Node(**fields)


def _inconsistencies(path: str, node: Node) -> list[str]:
    """Return one problem for each pair of fields that contradict each other."""
    problems = []
    if node.variant is not None and node.variant not in node.variants:
        offered = ", ".join(node.variants) or "none"
        problems.append(f"{path}.variant: '{node.variant}' is not among variants ({offered})")
    strangers = [name for name in node.listed_tiers if node.gpus_by_tier and name not in node.gpus_by_tier]
    if strangers:
        problems.append(f"{path}.listed_tiers: {', '.join(strangers)} not in gpus_by_tier")
    return problems


def _clashes(catalog: t.Mapping[str, Node]) -> list[str]:
    """Return one problem for every name, slug or alias that two nodes claim."""
    problems = []
    owners: dict[str, str] = {}
    for node in catalog.values():
        for word in _words(node):
            owner = owners.setdefault(word, node.name)
            if owner != node.name:
                problems.append(f"nim_catalog[{node.name!r}]: '{word}' already stands for '{owner}'")
    return problems


def _words(node: Node) -> list[str]:
    """Return everything C(node) can be called, in the form in which names are compared."""
    words = [slugify(node.name), node.slug] + [slugify(alias) for alias in node.aliases]
    return list(dict.fromkeys(words))


def _index(catalog: t.Mapping[str, Node]) -> dict[str, Node]:
    index: dict[str, Node] = {}
    for node in catalog.values():
        for word in _words(node):
            index.setdefault(word, node)
    return index


__all__ = (
    "CATALOG",
    "FIELDS",
    "INFER_PATHS",
    "KINDS",
    "REQUIRED_FIELDS",
    "CatalogError",
    "Licence",
    "Node",
    "TagError",
    "UnknownNodeError",
    "check_tag",
    "find",
    "licence_warning",
    "load",
    "slugify",
    "suggest",
)
