# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demonstration: the main job from nothing to configured workstations with identities, on the sandbox.

Run as ``python -m tests.tools.demo`` with the Python of .venv. The sandbox stays up for half an hour after the last
use, so that a second run finds what the first has made and changes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope, _tokens
from tests.docker import engine as docker_engine
from tests.sandbox.__main__ import write_environment
from tests.sandbox.client import ControlError, SandboxControl, ask_as_workstation, read_environment
from tests.tools import layout

ROOT = layout.ROOT
DIRECTORY = ROOT / ".sandbox"
INVENTORY = Path("inventory", "sandbox")
DOCKER_INVENTORY = Path("inventory", "sandbox-docker")
WORKSTATIONS = ("ws-01", "ws-02", "ws-03")
STARTED = ["FLUX Dev", "SD 3.5 Large", "Llama 3.1"]
TOO_SMALL = {"FLUX Canny": {"aws": {"gpu_tier": "t4"}}, "SDXL": {"nvidia": "present"}}
"""A matrix with one more NIM. What NVIDIA hosts is known from the matrix alone, so that stays in it."""
LOCAL_IMAGE = "nim/meta/llama-3.1-8b-instruct:1.15.5"
"""What the registry of the Docker host has: the catalogue's image of Llama 3.1."""
COPIED_IMAGE = ("flux.1-dev", "1.2.3")
"""The catalogue's image of FLUX Dev, as it is called in an organisation's own registry."""
COMPANION = {"workstation_companion": True, "workstation_companion_python": sys.executable}
"""The workstations are folders on this machine, so their ComfyUI's Python is the one that runs this."""
IDLE_SECONDS = 1800
STARTUP_SECONDS = 4
"""From switched on to ready, in the sandbox: long enough to see it waited for."""
START_TIMEOUT = 60
RECAP = re.compile(r"changed=(\d+) +unreachable=(\d+) +failed=(\d+)")


class DemoError(Exception):
    """Something that the demonstration relies on did not happen."""


def main() -> int:
    """Run the demonstration. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Deploy, start, refuse, publish and configure, on the sandbox.")
    parser.add_argument("--stop", action="store_true", help="stop the demonstration's sandbox and do nothing else")
    parser.add_argument("--prepare", action="store_true", help="make keys, workstations and an image, and run nothing")
    arguments = parser.parse_args()
    if arguments.stop:
        return stop_sandbox()
    environment = {**os.environ, **sandbox_environment(), **demo_keys(), **ansible_environment()}
    for name in WORKSTATIONS:
        make_comfyui(DIRECTORY / "workstations" / name / "ComfyUI")
    copy_image(environment)
    if arguments.prepare:
        say("Keys, workstations and the image of a Cloud Function are there. Read .sandbox/env and .sandbox/demo-env.")
        return 0
    engine = docker_environment()
    inventories = [INVENTORY]
    if engine:
        inventories.append(DOCKER_INVENTORY)
        environment.update(engine, PATH=f"{engine['DEMO_DOCKER_PROGRAMS']}{os.pathsep}{environment['PATH']}")
    environment["DEMO_INVENTORIES"] = os.pathsep.join(map(str, inventories))
    where = "AWS, Azure, GCP, at NVIDIA and on a Docker host" if engine else "AWS, Azure, GCP and at NVIDIA"
    count = "eleven" if engine else "ten"
    title(f"1. site: {count} NIMs on {where}: deploy, publish, configure three workstations")
    changed = play(environment, "site")
    title(f"2. start: switch {', '.join(STARTED)} on and wait until they are ready")
    changed += play(environment, "start", {"nim_nodes": STARTED})
    title("3. deploy one more on a GPU that is too small: refused before anything is created")
    play(environment, "deploy", {"nim_matrix": TOO_SMALL}, refused=True)
    title("4. status: what runs where")
    play(environment, "status")

    title("5. credentials: identities of the workstations in three clouds, tried, kept in a secret store, sealed")
    changed += play(environment, "credentials")

    title("What a workstation has now")
    show_workstations()
    title("6. health: what every endpoint answers")
    play(environment, "health")
    title("7. tokens: what the gateways of the clusters say to a workstation, with and without its token")
    show_tokens(environment)
    if os.environ.get("DEMO_COMFYUI") == "1":
        title(f"8. the companion: ComfyUI of {WORKSTATIONS[0]}")
        changed += play(environment, "workstations", COMPANION)
        say(f"  {start_comfyui(environment)}  ComfyUI's own pages on a stand-in for its server: the tab BudgetGuard")
    title("Where things are")
    places = {
        "exports": DIRECTORY / "exports",
        "workstations": DIRECTORY / "workstations",
        "sandbox": DIRECTORY / "env",
    }
    for name, path in places.items():
        say(f"  {name:<13} {path.relative_to(ROOT)}")
    say(f"\nTasks that changed something in this run: changed={changed}")
    say(f"The sandbox stops by itself {IDLE_SECONDS // 60} minutes after its last use, or with: make demo ARGS=--stop")
    return 0


def say(text: str) -> None:
    """Write to the terminal at once, so that the order with the playbooks' own output is right."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def title(text: str) -> None:
    """Write a heading."""
    say(f"\n=== {text}")


def sandbox_environment() -> dict[str, str]:
    """Return the variables of the running sandbox; start one if there is none."""
    if not is_alive():
        DIRECTORY.mkdir(mode=0o700, exist_ok=True)
        (DIRECTORY / "env").unlink(missing_ok=True)
        say("Starting the sandbox ...")
        with (DIRECTORY / "sandbox.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.sandbox",
                    "--dir",
                    str(DIRECTORY),
                    "--stop-after-idle",
                    str(IDLE_SECONDS),
                    "--startup-seconds",
                    str(STARTUP_SECONDS),
                ],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        (DIRECTORY / "pid").write_text(f"{process.pid}\n")
        deadline = time.monotonic() + START_TIMEOUT
        while not is_alive():
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"the sandbox did not start:\n{(DIRECTORY / 'sandbox.log').read_text()}")
            time.sleep(0.2)
    return read_environment(DIRECTORY / "env")


def docker_environment() -> dict[str, str]:
    """Return the variables of the running Docker engine, after starting one; none where that cannot be.

    It ends with the sandbox, whose env file goes then.
    """
    file, log = DIRECTORY / "docker-env", DIRECTORY / "docker.log"
    if file.exists():
        running = read_environment(file)
        if docker_socket(running).exists():
            return running
        file.unlink()
    reason = docker_engine.missing()
    if reason is None:
        say("Starting a Docker engine and a registry ...")
        command = [sys.executable, "-m", "tests.docker", "--env", str(file), "--image", LOCAL_IMAGE]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--while-exists", str(DIRECTORY / "env")],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while process.poll() is None and not file.exists():
            time.sleep(0.2)
        if file.exists():
            return read_environment(file)
        reason = f"it did not start, see {log.relative_to(ROOT)}"
    say(f"Without a Docker host: {reason}.")
    return {}


def docker_socket(variables: dict[str, str]) -> Path:
    """Return the socket of a Docker engine."""
    return Path(variables["DEMO_DOCKER_HOST"].removeprefix("unix://"))


def is_alive() -> bool:
    """Say whether a sandbox answers at the address in .sandbox/env."""
    try:
        variables = read_environment(DIRECTORY / "env")
        SandboxControl(variables["BUDGETGUARD_SANDBOX_URL"], variables["SSL_CERT_FILE"]).faults()
    except (OSError, ControlError):
        return False
    return True


def stop_sandbox() -> int:
    """Stop the sandbox that a demonstration has started."""
    if is_alive():
        files = [DIRECTORY / "env"]
        if (DIRECTORY / "docker-env").exists():
            # The engine ends with the sandbox, and goes on for a moment after it; its folder is the last to go.
            files.append(docker_socket(read_environment(DIRECTORY / "docker-env")).parent)
        os.kill(int((DIRECTORY / "pid").read_text()), signal.SIGTERM)
        deadline = time.monotonic() + START_TIMEOUT
        while any(file.exists() for file in files) and time.monotonic() < deadline:
            time.sleep(0.1)
    say("The sandbox is stopped.")
    return 0


def demo_keys() -> dict[str, str]:
    """Return the demonstration's secrets, made at random once. A studio keeps its own in a vault."""
    path = DIRECTORY / "demo-env"
    keys = read_environment(path) if path.exists() else {}
    if "DEMO_GATEWAY_KEY" not in keys:
        signing_key = _tokens.new_signing_key()
        keys = {
            "DEMO_NGC_API_KEY": f"nvapi-{secrets.token_urlsafe(32)}",
            "DEMO_HF_TOKEN": f"hf_{secrets.token_hex(17)}",
            "DEMO_ARTIST_KEY": f"nvapi-{secrets.token_urlsafe(32)}",
            "DEMO_STUDIO_KEY": secrets.token_urlsafe(32),
            **keys,
            "DEMO_GATEWAY_KEY": signing_key,
            "DEMO_GATEWAY_PUBLIC_KEY": _tokens.public_key(signing_key),
        }
        write_environment(path, keys)
    return keys


def ansible_environment() -> dict[str, str]:
    """Return how the demonstration wants Ansible's output: short, and in YAML."""
    layout.link()
    return {
        "ANSIBLE_COLLECTIONS_PATH": str(layout.LINKS),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
        "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false",
        "ANSIBLE_NOCOWS": "true",
        "BUDGETGUARD_SANDBOX_DIR": str(DIRECTORY),
    }


def copy_image(environment: dict[str, str]) -> None:
    """Put FLUX Dev into the organisation's own registry at NVIDIA, as somebody has to before a function runs it."""
    control = SandboxControl(environment["BUDGETGUARD_SANDBOX_URL"], environment["SSL_CERT_FILE"])
    control.image(*COPIED_IMAGE)


def make_comfyui(folder: Path) -> None:
    """Make a folder that looks like ComfyUI's."""
    for name in ("models", "custom_nodes"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "main.py").touch()


def play(
    environment: dict[str, str], name: str, variables: dict[str, t.Any] | None = None, refused: bool = False
) -> int:
    """Run a playbook of the collection and show its output. Returns how many tasks changed something."""
    command = ["ansible-playbook", f"budgetguard.techops.{name}"]
    for inventory in environment["DEMO_INVENTORIES"].split(os.pathsep):
        command += ["-i", inventory]
    if variables:
        command += ["-e", json.dumps(variables)]
    shown = " ".join(word if " " not in word else f"'{word}'" for word in command)
    say(f"$ {shown}")
    program = str(Path(sys.executable).with_name(command[0]))
    process = subprocess.Popen(
        [program, *command[1:]], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = []
    for line in t.cast("t.IO[str]", process.stdout):
        lines.append(line)
        sys.stdout.write(line)
        sys.stdout.flush()
    code = process.wait()
    if (code != 0) != refused:
        raise DemoError(f"{name} ended with exit code {code}")
    return sum(int(match.group(1)) for line in lines if (match := RECAP.search(line)))


def show_workstations() -> None:
    """Show the sealed file of the first workstation, and that the others have theirs."""
    paths = {
        name: DIRECTORY / f"workstations/{name}/ComfyUI/budgetguard/budgetguard_backend_config.json"
        for name in WORKSTATIONS
    }
    for name, path in paths.items():
        config = json.loads(path.read_text())
        say(
            f"  {name}  {path.relative_to(ROOT)}  mode {path.stat().st_mode & 0o777:04o}, "
            f"{len(config['nim_endpoints'])} endpoints, {config['mode']}, "
            f"sealed with key {config['credentials']['key_id']}"
        )
    config = json.loads(paths[WORKSTATIONS[0]].read_text())
    config["credentials"]["encrypted_data"] = f"{config['credentials']['encrypted_data'][:40]}..."
    config["nim_endpoints"] = {
        node: {provider: [entry["url"] for entry in entries] for provider, entries in providers.items()}
        for node, providers in config["nim_endpoints"].items()
    }
    say(f"\n{WORKSTATIONS[0]}, with the endpoints shortened to their URLs:")
    say(json.dumps(config, indent=2))


def show_tokens(environment: dict[str, str]) -> None:
    """Ask each NIM that wants a token as a workstation does. The sandbox's gateways check it; they are not HAProxy."""
    path = DIRECTORY / f"workstations/{WORKSTATIONS[0]}/ComfyUI/budgetguard/budgetguard_backend_config.json"
    config = json.loads(path.read_text())
    key = _envelope.derive_keys(environment["DEMO_STUDIO_KEY"], [WORKSTATIONS[0]], _envelope.PER_WORKSTATION)
    token = _envelope.unseal(config["credentials"], key[WORKSTATIONS[0]])["gateway"]["Token"]
    entries = [
        entry
        for providers in config["nim_endpoints"].values()
        for found in providers.values()
        for entry in found
        if entry["auth"] == "gateway"
    ]
    if not entries:
        raise DemoError("no endpoint asks for a token")
    for entry in entries:
        bare, known = (ask_as_workstation(environment, entry["health_url"], word) for word in (None, token))
        say(f"  {entry['url']:<45} without a token {bare}, with the token of {WORKSTATIONS[0]} {known}")
        if (bare, known) not in ((401, 200), (401, 503)):
            raise DemoError(f"{entry['url']} does not do what a gateway should")


def start_comfyui(environment: dict[str, str]) -> str:
    """Start the stand-in for the first workstation's ComfyUI, which ends with the sandbox. Returns its address."""
    output, log = DIRECTORY / "comfyui-port", DIRECTORY / "comfyui.log"
    base = DIRECTORY / "workstations" / WORKSTATIONS[0] / "ComfyUI"
    command = [sys.executable, "-B", "-m", "tests.companion.comfyui", str(base), str(DIRECTORY / "env")]
    with output.open("wb") as port, log.open("wb") as complaints:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=port,
            stderr=complaints,
            start_new_session=True,
        )
    while not output.read_text().endswith("\n"):
        if process.poll() is not None:
            raise DemoError(f"the stand-in for ComfyUI did not start:\n{log.read_text()}")
        time.sleep(0.2)
    return f"http://127.0.0.1:{output.read_text().strip()}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DemoError as failure:
        sys.exit(f"The demonstration failed: {failure}")
