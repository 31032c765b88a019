"""`coz doctor`: says what this machine has and which presets can run on it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform
import re
from pathlib import Path
from typing import Annotated, Any

from chain_of_zoom import plugins
from chain_of_zoom.api import DEFAULT_BACKBONE, load_backbone
from chain_of_zoom.cli.flags import AsJson, Debug, option
from chain_of_zoom.cli.terminal import echo, echo_lines
from chain_of_zoom.errors import ChainOfZoomError, UsageError
from chain_of_zoom.resources import available_cores, human_size, total_memory
from chain_of_zoom.runtime import vulkan
from chain_of_zoom.weights import hub
from chain_of_zoom.weights.catalog import ITEMS
from chain_of_zoom.weights.presets import PRESETS, Preset

CORE = ("chain-of-zoom", "numpy", "pillow", "pyvips", "pyvips-binary", "ncnn", "msgspec", "typer")
DEVELOPERS = ("bench", "dev")
BESIDE = ("huggingface_hub", "tokenizers", "torchvision")  # these come with the others, and change things


def doctor(
    selftest: Annotated[
        str | None, option("PRESET", "Run one fixed picture at 16x with a preset's real weights.")
    ] = None,
    out: Annotated[Path | None, option("FILE.zip", "Where the self-test's results go.", "--out", "-o")] = None,
    estimate: Annotated[
        str | None, option("PRESET", "What a step of a preset takes on this machine's card; reads no weights.")
    ] = None,
    vram: Annotated[
        list[float] | None, option("GB", "With --estimate: on a card of so many GB; repeat for several.")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say what this machine has: Python, GPU, memory, packages, weights, and which presets can run here.

    The self-test's zip holds pictures, prompts, timings and versions, and no path, user or host name: send it with a
    report.

    \b
    Examples:
      coz doctor
      coz doctor --estimate paper --vram 24
      coz doctor --selftest paper -o selftest.zip
    """
    if vram and estimate is None:
        raise UsageError("--vram without --estimate; accepted: coz doctor --estimate PRESET --vram GB; add --estimate")
    if estimate is not None:
        from chain_of_zoom.cli.estimate import estimate_preset, list_lines

        estimated = estimate_preset(estimate, vram, [] if vram else machine_facts()["gpus"])
        echo_lines(json.dumps(estimated, indent=2) if as_json else "\n".join(list_lines(estimated)))
        return
    if selftest is not None:
        target = out or Path(f"coz-selftest-{selftest}.zip")
        from chain_of_zoom.cli.selftest import run_selftest

        def describe_machine() -> dict[str, Any]:
            return {**machine_facts(), "packages": versions()}

        def say(line: str) -> None:
            if not as_json:
                echo(line, err=True)

        summary = run_selftest(selftest, target, describe_machine, say)
        echo_lines(json.dumps(summary, indent=2) if as_json else f"{target}  ({human_size(target.stat().st_size)})")
        return
    if out:
        raise UsageError("-o without --selftest; accepted: coz doctor --selftest PRESET -o FILE.zip; add --selftest")
    facts = examine()
    if as_json:
        echo_lines(json.dumps(facts, indent=2))
        return
    for line in _lines(facts):
        echo(line)


def examine() -> dict[str, Any]:
    """Everything `coz doctor` says, as JSON values."""
    machine = machine_facts()
    gone = {name: [package for package in packages if not _version(package)] for name, packages in extras().items()}
    paths = {name: hub.locate(item) for name, item in ITEMS.items()}
    return {
        **machine,
        "default": {"backbone": DEFAULT_BACKBONE, "install": load_backbone(DEFAULT_BACKBONE).missing()},
        "packages": versions(),
        "plugins": _plugins(),
        "extras": {
            name: {"missing": names, "install": _install(name) if names else None} for name, names in gone.items()
        },
        "models_dir": str(hub.models_dir()),
        "hub_cache": str(hub.hub_cache()),
        "weights": {name: str(path) if path else None for name, path in paths.items()},
        "presets": {name: _verdict(preset, paths, gone["diffusion"], machine) for name, preset in PRESETS.items()},
    }


def machine_facts() -> dict[str, Any]:
    """Python, platform, cores, memory, what torch and ncnn see, and warnings; nothing that names machine or user."""
    torch, reason = _import("torch")
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": available_cores(),
        "memory": total_memory(),
        "torch": torch.__version__ if torch else reason,
        "gpus": [],
        "mps": bool(torch and torch.backends.mps.is_available()),
        "vulkan": vulkan.find_devices().as_json(),
        "warnings": [],
    }
    if problem := vulkan.find_devices().problem:
        facts["warnings"].append(f"{problem}, so the embedded backbones run on the CPU")
    if torch and torch.cuda.is_available():
        devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        facts["gpus"] = [{"name": device.name, "memory": device.total_memory} for device in devices]
    if torch and importlib.util.find_spec("torchvision"):
        vision, reason = _import("torchvision")
        if vision is None:
            facts["warnings"].append(
                f"torchvision does not fit torch {torch.__version__} ({reason}), and no transformers model loads "
                "beside it; type: pip uninstall torchvision"
            )
    return facts


def versions() -> dict[str, str | None]:
    """Versions of our packages and those of the extras; None for one that is not installed."""
    return {name: _version(name) for name in (*CORE, *(p for extra in extras().values() for p in extra), *BESIDE)}


def extras() -> dict[str, list[str]]:
    """The packages that each extra for users asks for by name, as the installed package declares them."""
    declared: dict[str, list[str]] = {}
    for requirement in importlib.metadata.requires("chain-of-zoom") or ():
        if match := re.match(r"""([\w.-]+).*;.*extra == ["']([\w-]+)["']""", requirement):
            package, extra = match.groups()
            if extra not in DEVELOPERS and package != "chain-of-zoom":
                declared.setdefault(extra, []).append(package)
    return dict(sorted(declared.items()))


def _lines(facts: dict[str, Any]) -> list[str]:
    gpus = [f"{gpu['name']} ({human_size(gpu['memory'])})" for gpu in facts["gpus"]]
    gpus += ["Apple's, used only when asked for (--device mps)"] * facts["mps"]
    gpus = gpus or ["none that torch can use"]
    size = human_size(facts["memory"]) if facts["memory"] else "unknown"
    packages = [f"{name} {version}" for name, version in facts["packages"].items() if version]
    default = facts["default"]
    lines = [
        f"coz zoom {'lacks its network; type: ' + default['install'] if default['install'] else 'can run here'}"
        f" (backbone {default['backbone']})",
        f"python {facts['python']} on {facts['platform']}, {facts['cores']} cores, memory {size}",
        f"torch {facts['torch']}; GPU: {', '.join(gpus)}",
        f"Vulkan, for the embedded backbones: {', '.join(map(_vulkan, facts['vulkan'])) or 'none'}",
        f"packages: {', '.join(packages)}",
        *(f"warning: {warning}" for warning in facts["warnings"]),
    ]
    for name, extra in facts["extras"].items():
        state = f"lacks {', '.join(extra['missing'])}; type: {extra['install']}" if extra["missing"] else "installed"
        lines.append(f"extra [{name}]: {state}")
    for plugin in facts["plugins"]:
        state = f"broken: {plugin['broken']}" if plugin["broken"] else "can be used"
        lines.append(f"plugin {plugin['kind']} {plugin['name']} ({plugin['package']}): {state}")
    lines += [f"weights {name}: {path or 'missing'}" for name, path in facts["weights"].items()]
    for name, verdict in facts["presets"].items():
        state = "can run here" if verdict["runs"] else f"lacks {', '.join(verdict['lacks'])}"
        lines.append(f"preset {name}: {state}" + (f"; {verdict['note']}" if verdict["note"] else ""))
    if any(path is None for path in facts["weights"].values()):
        lines.append("for weights that are missing, type: coz models")
    return lines


def _vulkan(device: dict[str, Any]) -> str:
    software = ", used only when asked for" if device["kind"] == "software" else ""
    return f"gpu:{device['index']} {device['name']} ({device['kind']}, {human_size(device['memory'])} free{software})"


def _plugins() -> list[dict[str, Any]]:
    """What other packages add, and whether it can be made."""
    rows = []
    tables = {"backbone": plugins.BACKBONES, "prompter": plugins.PROMPTERS, "reward": plugins.REWARDS}
    for kind, table in tables.items():
        for plugin in plugins.installed(kind, table):
            row: dict[str, Any] = {"kind": kind, "name": plugin.name, "package": plugin.package}
            rows.append(row | {"broken": plugin.clash or _problem(plugin, table)})
    return rows


def _problem(plugin: plugins.Plugin, table: plugins.Table) -> str | None:
    try:
        plugins.create(plugin.kind, table, plugin.name)
    except ChainOfZoomError as error:
        return str(error)
    return None


def _verdict(
    preset: Preset, paths: dict[str, Path | None], packages: list[str], machine: dict[str, Any]
) -> dict[str, Any]:
    """Whether a preset can run, what it lacks, and a note where its weights are larger than the memory."""
    lacks = [f"weights {item.name}" for item in preset.items if paths[item.name] is None]
    lacks += [f"package {name}" for name in packages]
    gpu = max((gpu["memory"] for gpu in machine["gpus"]), default=0)
    needed = 0
    for item in preset.items:
        path = paths[item.name]
        # Hub models come in 16 bits, which a CPU holds as 32.
        needed += (_bytes(path) if path else item.bytes) * (2 if item.hub and item.folder and not gpu else 1)
    room = gpu or machine["memory"]
    note = None
    if room and needed > room:
        kind = "GPU memory" if gpu else "memory, without a GPU"
        note = f"may not fit: weights of about {human_size(needed)}, and {human_size(room)} of {kind}"
    return {"runs": not lacks, "lacks": lacks, "note": note}


def _bytes(path: Path) -> int:
    files = [file for file in path.rglob("*.safetensors") if ".fp16" not in file.name] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def _version(package: str) -> str | None:
    from importlib import metadata  # slow, and every command would pay for it

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _install(extra: str) -> str:
    return f"pip install 'chain-of-zoom[{extra}]'"


def _import(name: str) -> tuple[Any, str]:
    """The module, or None and why; only the kind of the error, as its text may hold paths."""
    if importlib.util.find_spec(name) is None:
        return None, "not installed"
    try:
        return importlib.import_module(name), ""
    except Exception as error:  # a broken build raises anything from OSError to RuntimeError
        return None, f"installed, but does not load: {type(error).__name__}"
