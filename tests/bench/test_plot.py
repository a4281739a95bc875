"""The plots are well-formed and say what was measured, whatever the names and figures."""

import xml.etree.ElementTree as ET

import pytest

from bench import plot
from bench.row import Figure, Outcome, Row

SVG = "{http://www.w3.org/2000/svg}"
RATE = Figure("rate", "mails/s")


def outcome(**samples) -> Outcome:
    row = Row(
        "smtp", "-s 20 <&> durable", (RATE, Figure("size", "MiB")), dict.fromkeys(samples), ready=None, measure=None
    )
    return Outcome(row, {name: [{"rate": value} for value in taken] for name, taken in samples.items()})


def texts(svg: str) -> list[str]:
    return [element.text for element in ET.fromstring(svg).iter(f"{SVG}text")]


def test_bars_are_as_long_as_the_medians_and_ours_stands_out():
    svg = plot.bars(outcome(**{"<peer>": [100, 200, 300], "multid": [600, 600, 600]}), RATE)
    bars = list(ET.fromstring(svg).iter(f"{SVG}rect"))
    assert texts(svg) == ["-s 20 <&> durable (mails/s)", "<peer>", "200", "multid", "600"]
    assert float(bars[1].get("width")) == pytest.approx(3 * float(bars[0].get("width")), rel=0.01)
    assert [bar.get("fill") for bar in bars] == [plot.PEER_COLOUR, plot.OURS_COLOUR]


@pytest.mark.parametrize("samples", [{}, {"a": [0]}])
def test_bars_of_nothing_are_still_a_plot(samples):
    ET.fromstring(plot.bars(outcome(**samples), RATE))


def test_a_plot_is_written_for_each_figure(tmp_path):
    assert [path.name for path in plot.write_bars(outcome(a=[1]), tmp_path)] == ["smtp.svg", "smtp-size.svg"]


def test_curves_have_a_point_for_each_measurement_and_zero_has_a_place():
    svg = plot.curves("queue", "mails", "mails/s", {"a": [(0, 10.0), (1000, 5.0), (100_000, 2.0)], "b": [(1000, 4.0)]})
    circles = list(ET.fromstring(svg).iter(f"{SVG}circle"))
    across = [float(circle.get("cx")) for circle in circles]
    assert len(circles) == 4
    assert across[0] < across[1] < across[2]
    assert across[1] == across[3]
    assert {"0", "1,000", "100,000", "a", "b"} <= set(texts(svg))


@pytest.mark.parametrize("lines", [{}, {"a": [(0, 0.0)]}, {"a": [(7, 1.0)]}])
def test_curves_of_hardly_anything_are_still_a_plot(lines):
    ET.fromstring(plot.curves("t", "x", "y", lines))
