"""`coz eval`: which way to zoom is better, at which depth, and how much of it is invented."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import msgspec
import typer

from chain_of_zoom.cli.arena import arena
from chain_of_zoom.cli.flags import (
    LOADERS,
    AsJson,
    Debug,
    Loaders,
    On,
    PanelGroup,
    Quiet,
    WorkerCpus,
    WorkerGpus,
    Workers,
    option,
    switch,
    with_flags,
)
from chain_of_zoom.cli.options import (
    TABLES,
    Options,
    accepted,
    choose_crew,
    choose_critic,
    combine,
    read_loader_sets,
    split_role,
)
from chain_of_zoom.cli.progress import Display
from chain_of_zoom.cli.terminal import echo, echo_lines
from chain_of_zoom.errors import BadInputError, MissingError, UsageError
from chain_of_zoom.json_bytes import format_json
from chain_of_zoom.parsing import parse_whole, printable
from chain_of_zoom.settings import ADVANCED, MAIN, OUTPUT, read_config, split_labels

if TYPE_CHECKING:
    from chain_of_zoom.evaluation.methods import Method
    from chain_of_zoom.evaluation.protocols import Protocol
    from chain_of_zoom.evaluation.results import Results
    from chain_of_zoom.evaluation.true_zoom import Reduction

eval_app = typer.Typer(cls=PanelGroup)
eval_app.command("arena")(arena)


@eval_app.callback(invoke_without_command=True)
@with_flags()
def evaluate(
    context: typer.Context,
    data: Annotated[
        Path | None, option("PATH", "A folder of pictures, one picture, or a manifest.", panel=MAIN, readable=False)
    ] = None,
    methods: Annotated[
        str | None,
        option(
            "LIST", "[LABEL=]BACKBONE[:chain|:direct][:SHARE][:faithful][+PROMPTER[@multi|@single]], ...", panel=MAIN
        ),
    ] = None,
    protocol: Annotated[str, option("paper|true-zoom", "Which question to ask.", panel=MAIN)] = "paper",
    scales: Annotated[
        str | None, option("LIST", "Of 4,16,64,256; all of them, or 4,16 for true-zoom.", panel=MAIN)
    ] = None,
    metrics: Annotated[
        str | None, option("LIST", "Instead of the protocol's own; `coz eval metrics` lists them.", panel=MAIN)
    ] = None,
    spots: Annotated[str, option("N|centre", "true-zoom: textured places per photo, or its centre.", panel=MAIN)] = "1",
    limit: Annotated[int | None, option("N", "Only the first N pictures.", panel=MAIN, min=1)] = None,
    judge: Annotated[
        str | None,
        option(
            "NAME|URL",
            "Ask a vision-language model, or an OpenAI-compatible server, which states contradict the truth or what "
            "they were made from.",
            panel=MAIN,
        ),
    ] = None,
    out: Annotated[
        Path | None, option("DIR", "Where to write; <data>_<protocol>/ by default.", "--out", "-o", panel=OUTPUT)
    ] = None,
    markdown: Annotated[Path | None, option("FILE", "Write the tables as Markdown, too.", panel=OUTPUT)] = None,
    arena: Annotated[
        Path | None,
        option("DIR", "What coz eval arena wrote: its table goes into the page.", panel=OUTPUT, readable=False),
    ] = None,
    force: Annotated[
        bool, switch("--force", "Replace states in DIR that were made in another way.", panel=OUTPUT)
    ] = False,
    as_json: Annotated[
        bool, switch("--json", "Print the results as JSON, without single values.", panel=OUTPUT)
    ] = False,
    quiet: Quiet = False,
    reduce: Annotated[
        str, option("area|bicubic", "true-zoom: how the photo is made smaller.", panel=ADVANCED)
    ] = "area",
    seed: Annotated[int, option("N", "Of spots, backbones and intervals.", panel=ADVANCED, min=0)] = 0,
    jobs: Annotated[int, option("N", "Processes for metrics; one per core by default.", panel=ADVANCED, min=0)] = 0,
    *,
    sets: Annotated[
        list[str] | None,
        option(
            "[METHOD/]KEY=VALUE",
            "A loader detail, of one method or of all that take it; judge.KEY=VALUE of the judge.",
            "--set",
            panel=ADVANCED,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        option("FILE", "TOML with tables [backbone] and [prompter] of loader details.", panel=ADVANCED, readable=False),
    ] = None,
    loaders: Loaders,
    on: On = None,
    workers: Workers = None,
    worker_cpus: WorkerCpus = 1,
    worker_gpus: WorkerGpus = None,
    debug: Debug = False,
) -> None:
    """Compare ways to zoom on a set of pictures: tables with intervals, charts, examples to drag, in one page.

    paper: the published loop on 512x512 px of the centre, up to 256x. true-zoom: photos are reduced 4x and 16x, zoomed
    back and compared with their own pixels, the only measure of what is invented. Stop with Ctrl-C and run the same
    command to go on; more methods or metrics cost only themselves.

    \b
    Examples:
      coz eval --data photos/ --methods realsr,realesrgan,bicubic -o comparison
      coz eval --data photos.json --protocol true-zoom --spots 3 --methods bicubic,realsr,realsr:direct
      coz eval --data photos/ --methods bicubic,realsr --judge http://127.0.0.1:8000/v1 --set judge.model=NAME
      coz eval --data DIV2K_train_HR --metrics niqe,musiq,maniqa-pipal,clipiqa --methods \\
        nearest,osediff-sd3:direct+dape,osediff-sd3+null,osediff-sd3+dape,osediff-sd3+vlm-adapter
    """
    if context.invoked_subcommand:
        return
    if data is None or methods is None:
        lacks = "--data" if data is None else "--methods"
        raise UsageError(f"{lacks} is missing; accepted: {lacks} with a value; see coz eval --help")
    from chain_of_zoom.datasets.manifest import read_data
    from chain_of_zoom.evaluation.arena.results import read_arena
    from chain_of_zoom.evaluation.evaluate import Benchmark
    from chain_of_zoom.evaluation.evaluate import evaluate as run
    from chain_of_zoom.evaluation.methods import parse_methods
    from chain_of_zoom.evaluation.metrics.table import load_metric
    from chain_of_zoom.evaluation.page import write_page

    chosen_methods = parse_methods(methods)
    arena_results = None if arena is None else read_arena(arena)
    question = _protocol(protocol, scales, spots, reduce, seed)
    of_judge, of_methods = split_role(sets or [], "judge")
    benchmark = Benchmark(
        methods=chosen_methods,
        protocol=question,
        metrics=_metrics(metrics, question),
        options=_options(chosen_methods, config, of_methods, loaders),
        data=read_data(data, limit),
        seed=seed,
        jobs=jobs,
        command=printable(shlex.join(["coz", *sys.argv[1:]])),
        crew=choose_crew(on, workers, worker_cpus, worker_gpus),
        judge=choose_critic("judge", judge, of_judge, {"patience": 0.0}),
    )
    reasons = {name: load_metric(name).missing() for name in benchmark.metrics}
    if benchmark.judge is None and all(reasons.values()):  # before hours of zooms that nobody would measure
        name, reason = next(iter(reasons.items()))
        raise MissingError(f"no metric can run here: {name} {reason}")
    folder = out or Path(f"{data.resolve().stem}_{question.name}")
    with Display("reading", show=not (quiet or as_json)) as display:
        if benchmark.judge:
            benchmark.judge.say = display.say
        results = run(benchmark, folder, force=force, on_progress=display.show_progress)
    page = write_page(results, folder, arena_results)
    if markdown:
        from chain_of_zoom.evaluation.markdown import format_markdown
        from chain_of_zoom.files import write_atomic

        write_atomic(markdown, format_markdown(results).encode())
    if as_json:
        short = msgspec.structs.replace(results, values=(), shown=())
        echo_lines(format_json(short))
    elif not quiet:
        _summarise(results, page)
    if results.failures and not results.values:
        first = results.failures[0]
        raise BadInputError(f"every picture failed, the first {first.picture} ({first.error}); all of them: {page}")


@eval_app.command("data")
def data(
    what: Annotated[str, typer.Argument(metavar="photos|more-photos|FOLDER", help="A named set, or a folder.")],
    out: Annotated[Path | None, option("FILE", "Where to write; <name>.json by default.", "--out", "-o")] = None,
    spots: Annotated[int, option("N", "Textured places per photo.", min=1)] = 3,
    seed: Annotated[int, option("N", "Of the choice of places.", min=0)] = 0,
    debug: Debug = False,
) -> None:
    """Pin a set of pictures in a manifest: paths, checksums, spots. Nothing is copied.

    photos are twelve photographs of five Debian packages, more-photos nineteen others; the error names the packages
    when they are absent. DIV2K_train_HR, DIV2K_valid_HR and DIV8K are recognised by folder and file names.

    \b
    Examples:
      coz eval data photos -o photos.json
      coz eval data DIV2K_valid_HR -o div2k.json
    """
    from chain_of_zoom.datasets.manifest import make_manifest
    from chain_of_zoom.files import write_atomic

    path = out or Path(f"{Path(what).resolve().name}.json")
    manifest = make_manifest(what, path, spots=spots, seed=seed)
    write_atomic(path, manifest.to_json())
    total = sum(len(picture.spots) for picture in manifest.pictures)
    echo(f"{path}  {len(manifest.pictures)} pictures, {total} spots")


@eval_app.command("metrics")
def list_metrics(as_json: AsJson = False) -> None:
    """List the metrics: which way is better, with or without a truth, licence, and how to get what they lack.

    What a model says of the states (judge.invention) is no metric of --metrics: see --judge of coz eval.
    """
    from chain_of_zoom.evaluation.metrics.table import METRICS, load_metric

    metrics = [load_metric(name) for name in METRICS]
    if as_json:
        rows = [{**dataclasses.asdict(metric.info), "missing": metric.missing()} for metric in metrics]
        for row in rows:
            del row["range"]  # infinite ends are no JSON
        echo_lines(format_json(rows))
        return
    for metric in metrics:
        info = metric.info
        compares = "; against a truth" if metric.needs_truth else ""
        if not info.reference:
            compares = "; of a picture alone"
        echo(f"{info.name}: {info.direction} is better{compares}; {metric.missing() or 'can run'}")
        echo(f"    {info.note + '; ' if info.note else ''}{info.source}; licence: {info.licence}")


@eval_app.command("compare")
def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="A folder that coz eval wrote.", readable=False)],
    after: Annotated[Path, typer.Argument(metavar="B", help="Another one.", readable=False)],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compare two benchmarks, B less A, method by method on the pictures that both have; and say what else differs.

    Example:  coz eval compare old new
    """
    from chain_of_zoom.evaluation.compare import compare_results, format_comparison
    from chain_of_zoom.evaluation.results import read_results

    comparison = compare_results(read_results(before), read_results(after))
    if as_json:
        echo_lines(format_json(comparison))
    else:
        echo_lines(format_comparison(comparison))


def _protocol(name: str, scales: str | None, spots: str, reduction: str, seed: int) -> Protocol:
    from chain_of_zoom.evaluation.protocols import SCALES, Paper
    from chain_of_zoom.evaluation.true_zoom import MEASURED, TrueZoom

    if name not in (Paper.name, TrueZoom.name):
        raise UsageError(f"--protocol {name!r}; accepted: paper, true-zoom; for example --protocol true-zoom")
    if name == Paper.name and (spots != "1" or reduction != "area"):
        raise UsageError("--spots and --reduce go with --protocol true-zoom; accepted: one of the two; leave them out")
    if scales is None:
        depths: Sequence[int] = SCALES if name == Paper.name else MEASURED
    else:
        parts = [part.strip().removesuffix("x") for part in scales.split(",")]
        depths = [parse_whole(part) or 0 for part in parts]
    if name == Paper.name:
        return Paper(depths)
    if spots != "centre" and not parse_whole(spots):
        raise UsageError(f"--spots {spots!r}; accepted: a number from 1, or centre; for example --spots 3")
    count = parse_whole(spots) or 0
    return TrueZoom(depths, spots=count, seed=seed, reduction=cast("Reduction", reduction))


def _metrics(listed: str | None, protocol: Protocol) -> list[str]:
    from chain_of_zoom.evaluation.metrics.table import load_metric

    if listed is None:
        return list(protocol.metrics)
    names = list(dict.fromkeys(part.strip() for part in listed.split(",") if part.strip()))
    if not names:
        raise UsageError("--metrics is empty; accepted: names with commas; see coz eval metrics")
    for name in names:
        load_metric(name)  # an unknown name is an error; what merely cannot run here is a gap in the report
    return names


def _options(
    methods: Sequence[Method], config: Path | None, sets: Sequence[str], flags: Options | None = None
) -> dict[str, Options]:
    """Loader details by method: for all that take them, over that for one method; flags over --set over the file.

    Raises UsageError for a detail that no method takes, or the one method does not.
    """
    names = [method.name for method in methods]
    tables = read_config(config)
    for name, table in tables.items():
        if name not in (*TABLES, *names) or not isinstance(table, dict):
            raise UsageError(
                f"--config {config} has {name!r}; accepted: tables [backbone], [prompter] and, for one method, "
                f'["{names[0]}".backbone]; remove it'
            )
    labelled = split_labels(sets, names, "method")
    flags = flags or {kind: {} for kind in LOADERS}
    common: list[Options] = [{kind: dict(tables.get(kind, {})) for kind in TABLES}, read_loader_sets(labelled[None])]
    common.append({kind: {**flags[kind], **flags["both"]} for kind in TABLES})
    options: dict[str, Options] = {}
    used: set[tuple[str, str]] = set()
    for method in methods:
        accepted_keys = {kind: accepted(kind, getattr(method, kind)) for kind in TABLES}
        fitting = [
            {kind: {k: v for k, v in layer[kind].items() if k in accepted_keys[kind]} for kind in TABLES}
            for layer in common
        ]
        used |= {(kind, key) for layer in fitting for kind in TABLES for key in layer[kind]}
        own = [tables.get(method.name, {}), read_loader_sets(labelled[method.name])]
        options[method.name] = combine(method.backbone, method.prompter, *fitting, *own)
    for layer in common:
        for kind, details in layer.items():
            for key in details:
                if (kind, key) not in used and not (key in flags["both"] and any(name == key for _, name in used)):
                    raise UsageError(f"{kind} option {key} means nothing to {', '.join(names)}; leave it out")
    return options


def _summarise(results: Results, page: Path) -> None:
    from chain_of_zoom.evaluation.markdown import format_plain

    echo_lines(format_plain(results))
    echo("*: the best mean of a column; ↑: higher is better, ↓: lower")
    for gap in results.gaps:
        echo(f"not measured: {gap.what}: {gap.why}")
    if results.failures:
        first = results.failures[0]
        place = ", ".join(filter(None, (first.picture, first.method, first.metric)))
        echo(f"failed: {len(results.failures)}, listed in the page; the first: {place}: {first.error}")
    echo(f"{page}  everything, with pictures: open it in a browser")
