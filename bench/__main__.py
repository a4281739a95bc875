"""`python -m bench [ROW...]` measures the table or rows of it; `python -m bench growth [CURVE...]` how cost grows.

Every run is written as JSON and text below `var/bench/results`; `--readme` also makes the plots and the README's table.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from bench import growth, machine, plot, readme, record, table
from bench.places import PLOTS
from bench.row import Outcome, Row
from bench.rows import echo, idle, logger, smtp_in, smtp_through, start
from bench.runner import measure

TABLE = (
    *(logger.ROW, logger.TEN, logger.JSON, logger.PARSED),
    *(echo.ROW, echo.UDP),
    *(smtp_in.ROW, smtp_in.SLOW, smtp_through.ROW, smtp_through.SLOW),
    *(idle.ROW, start.ROW),
)
ROWS: dict[str, Row] = {row.name: row for row in TABLE}


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(sys.argv[1:] if arguments is None else arguments)
    machine.raise_descriptor_limit()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # whoever sets it would see what he compiles anew at each start
    about = machine.describe()
    report = [", ".join(f"{name}: {value}" for name, value in about.items())]
    print(report[0], flush=True)
    outcomes: list[Outcome] = []
    parts = _growth(options) if options.growing else _table(options, outcomes)
    content = {}
    for name, text, data in parts:
        report.append(text)
        content[name] = data
        print(f"\n{text}", flush=True)
    path = record.write(about, content)
    path.with_suffix(".txt").write_text("\n\n".join(report) + "\n")
    print(f"\nwritten to {path} and .txt")
    if options.plots:
        (PLOTS / ("growth.txt" if options.growing else "table.txt")).write_text("\n\n".join(report) + "\n")
    if options.readme:
        readme.write(about, outcomes)


def _table(options: argparse.Namespace, outcomes: list[Outcome]):
    for name in options.names or ROWS:
        outcome = measure(ROWS[name], options.rounds, _tell)
        outcomes.append(outcome)
        if options.plots:
            plot.write_bars(outcome)
        yield name, table.render(outcome), record.row(outcome)


def _growth(options: argparse.Namespace):
    for name in options.names or growth.CURVES:
        grown = growth.grow(growth.CURVES[name], _tell)
        if options.plots:
            growth.draw(grown)
        yield name, growth.render(grown), {"points": grown.points, "missing": grown.missing}


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    growing = bool(arguments) and arguments[0] == "growth"
    known: Mapping[str, object] = growth.CURVES if growing else ROWS
    parser = argparse.ArgumentParser(
        "python -m bench" + " growth" * growing, description="multid and its peers, side by side"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; all when none is named")
    parser.add_argument("--rounds", type=int, help="how often each contender of a row is measured")
    parser.add_argument("--plots", action="store_true", help=f"also write SVG plots and the text to {PLOTS}")
    if not growing:
        parser.add_argument("--readme", action="store_true", help="the same, and the table into the README")
    options = parser.parse_args(arguments[growing:], argparse.Namespace(growing=growing, readme=False))
    options.plots = options.plots or options.readme
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"no such thing to measure: {', '.join(unknown)}; there are {', '.join(known)}")
    return options


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="\r", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
