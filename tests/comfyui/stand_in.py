"""A stand-in for the parts of ComfyUI that the nodes touch, and an executor of workflows as its page saves them.

Written anew after ComfyUI's documentation of the V3 schema: types with inputs and outputs, progress, interruption.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

WIDGETS = {"INT": int, "FLOAT": (int, float), "STRING": str, "COMBO": str, "BOOLEAN": bool}


@dataclass
class Input:
    """An input of a node."""

    io_type: str
    id: str
    display_name: str | None = None
    optional: bool = False
    tooltip: str | None = None
    default: Any = None
    min: float | None = None
    max: float | None = None
    step: float | None = None
    multiline: bool = False
    options: list[str] | None = None

    def check(self, value: Any) -> None:
        """What ComfyUI refuses before it runs a node."""
        assert isinstance(value, WIDGETS[self.io_type]), (self.id, value)
        assert self.options is None or value in self.options, (self.id, value)
        assert self.min is None or self.min <= value <= self.max, (self.id, value)


@dataclass
class Output:
    """An output of a node."""

    io_type: str
    display_name: str | None = None


def comfy_type(name: str) -> Any:
    def make_input(id: str, **options: Any) -> Input:
        return Input(name, id, **options)

    def make_output(**options: Any) -> Output:
        return Output(name, **options)

    return SimpleNamespace(Input=make_input, Output=make_output, io_type=name)


@dataclass(kw_only=True)
class Schema:
    """What a node takes and gives."""

    node_id: str
    display_name: str
    category: str
    description: str
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)


class NodeOutput:
    """What a node gave."""

    def __init__(self, *args: Any) -> None:
        self.result = args


class InterruptProcessingException(Exception):  # noqa: N818 - ComfyUI's name
    """The user has cancelled."""


class Comfy:
    """The state of a run: what was reported, and after how many reports the user cancels."""

    def __init__(self) -> None:
        self.reports: list[tuple[float, float, Any]] = []
        self.cancel_after: int | None = None

    def set_progress(self, value: float, max_value: float, preview_image: Any = None) -> None:
        self.reports.append((value, max_value, preview_image))

    def throw_exception_if_processing_interrupted(self) -> None:
        if self.cancel_after is not None and len(self.reports) >= self.cancel_after:
            raise InterruptProcessingException


def install(monkeypatch: Any) -> Comfy:
    """Put the stand-in where the nodes import it from."""
    comfy = Comfy()
    io = SimpleNamespace(
        **{name: comfy_type(name.upper()) for name in ("Image", "Float", "Int", "String", "Combo", "Mask")},
        Custom=comfy_type, Schema=Schema, NodeOutput=NodeOutput, ComfyNode=object,
    )  # fmt: skip
    management = SimpleNamespace(
        throw_exception_if_processing_interrupted=comfy.throw_exception_if_processing_interrupted
    )
    parts = {
        "comfy": {"model_management": management, "__path__": []},
        "comfy.model_management": vars(management),
        "comfy_api": {"__path__": []},
        "comfy_api.latest": {
            "io": io, "ComfyExtension": object, "ComfyAPISync": lambda: SimpleNamespace(execution=comfy),
        },
    }  # fmt: skip
    for name, contents in parts.items():
        module = ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    return comfy


def load_nodes(package: ModuleType) -> dict[str, Any]:
    """The nodes by their id, as ComfyUI asks for them."""
    extension = asyncio.run(package.comfy_entrypoint())
    return {node.define_schema().node_id: node for node in asyncio.run(extension.get_node_list())}


def run_workflow(
    workflow: dict[str, Any], nodes: dict[str, Any], builtin: dict[str, Any]
) -> dict[int, tuple[Any, ...]]:
    """Run a workflow in the page's own format; values of widgets come in the order of the schema. Returns outputs."""
    sources = {link[0]: (link[1], link[2], link[5]) for link in workflow["links"]}
    results: dict[int, tuple[Any, ...]] = {}
    for entry in sorted(workflow["nodes"], key=lambda entry: entry["order"]):
        linked = {}
        for slot in entry["inputs"]:
            source, output, kind = sources[slot["link"]]
            assert kind == slot["type"]
            linked[slot["name"]] = results[source][output]
        if entry["type"] in builtin:
            results[entry["id"]] = builtin[entry["type"]](entry, **linked)
            continue
        schema = nodes[entry["type"]].define_schema()
        assert [(slot["name"], slot["type"]) for slot in entry["outputs"]] == [
            (output.display_name, output.io_type) for output in schema.outputs
        ]
        assert all(
            slot["type"] == kind.io_type
            for slot in entry["inputs"]
            for kind in schema.inputs
            if kind.id == slot["name"]
        )
        widgets = [kind for kind in schema.inputs if kind.io_type in WIDGETS and kind.id not in linked]
        values = dict(zip((kind.id for kind in widgets), entry["widgets_values"], strict=True))
        for kind in widgets:
            kind.check(values[kind.id])
        assert {kind.id for kind in schema.inputs if not kind.optional} <= {*values, *linked}
        results[entry["id"]] = nodes[entry["type"]].execute(**values, **linked).result
    return results
