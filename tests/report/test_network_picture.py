"""The network as a picture: every node and connection of both graphs, and the numbers of every layer."""

import itertools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.report import network_picture, typeset
from deploy.report.graph_layout import COLUMNS, kind_of, laid_out
from deploy.report.network_picture import network_pictures
from deploy.report.page import render


def chained(nodes: int) -> Any:
    names = [f"layer.{chr(97 + i % 26)}{i}x" for i in range(nodes)]
    return laid_out(dict.fromkeys(names, "LIF"), [(a, b, "") for a, b in itertools.pairwise(names)])


def test_both_graphs_are_drawn_whole(shipped_run: Any) -> None:
    lowered, graph = network_pictures(shipped_run.deployment, shipped_run.report)
    assert lowered.title == "What runs, after lowering: 39 populations"
    assert [node.name for node in lowered.nodes] == [layer.name for layer in shipped_run.report.layers]
    connections = shipped_run.deployment.integer.connections
    assert len(lowered.edges) == len({(c.source, c.target, kind_of(c.operation)) for c in connections})
    assert graph.title == "The NIR graph, before lowering: 126 nodes"
    assert set(graph.kinds) == {type(node).__name__ for node in shipped_run.deployment.graph.nodes.values()}
    assert lowered.kinds.keys() == {"Input", "Relay", "Lif"}
    assert lowered.lines.keys() == {"Convolution", "Identity", "Attention"}


def test_numbers_are_those_of_the_report(shipped_run: Any) -> None:
    lowered, _ = network_pictures(shipped_run.deployment, shipped_run.report)
    layers = {layer.name: layer for layer in shipped_run.report.layers}
    for node in lowered.nodes:
        facts, layer = dict(node.facts), layers[node.name]
        assert facts["shape"] == typeset.size(layer.shape)
        assert facts.get("neurons", "0") == typeset.count(layer.neurons)
        if layer.rate is not None:
            assert facts["firing rate"] == typeset.percent(layer.rate, 2)
        if layer.synaptic_ops:
            assert facts["synaptic operations"] == typeset.count(layer.synaptic_ops)


def test_connections_that_differ_by_their_delay_are_heard_once(shipped_run: Any) -> None:
    lowered, _ = network_pictures(shipped_run.deployment, shipped_run.report)
    heard = {node.name: dict(node.facts).get("hears") for node in lowered.nodes}
    assert heard["head.stage4.sum"] == "head.plif_stage4 (Convolution x16, up to 15 time steps late)"


def test_a_node_that_stands_for_several_says_so(shipped_run: Any) -> None:
    _, graph = network_pictures(shipped_run.deployment, shipped_run.report)
    several = {node.name: dict(node.facts) for node in graph.nodes if node.name.endswith("*")}
    assert several
    for facts in several.values():
        assert re.fullmatch(r"\d+ nodes", facts["stands for"])


@given(nodes=st.integers(1, 60))
def test_every_node_lies_in_the_picture(nodes: int) -> None:
    picture = network_picture._picture("key", "title", "node", chained(nodes), {})
    assert len(picture.nodes) == nodes
    assert len(picture.edges) == nodes - 1
    for node in picture.nodes:
        assert 0 < node.x < picture.width
        assert 0 < node.y < picture.height
    assert len({(node.x, node.y) for node in picture.nodes}) == nodes
    assert sum(edge.goes_on for edge in picture.edges) == len({node.y for node in picture.nodes}) - 1
    assert len({node.x for node in picture.nodes}) <= COLUMNS


def test_a_loop_is_an_arc_above_its_node() -> None:
    picture = network_picture._picture("key", "title", "node", laid_out({"a": "LIF"}, [("a", "a", "")]), {})
    assert re.fullmatch(r"M[\d.]+ [\d.]+c-16 -26 16 -26 0 0", picture.edges[0].path)


def test_kinds_in_integers_are_called_as_in_real_numbers(shipped_run: Any) -> None:
    lowered, integer = shipped_run.deployment.network, shipped_run.deployment.integer
    for name, population in lowered.populations.items():
        assert kind_of(integer.populations[name]) == kind_of(population)


def test_too_large_a_graph_is_left_out(shipped_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_picture, "MOST_NODES", 60)
    assert [picture.key for picture in network_pictures(shipped_run.deployment, shipped_run.report)] == ["lowered"]


def test_the_page_draws_them(foreign_run: Any) -> None:
    pictures = network_pictures(foreign_run.deployment, foreign_run.report)
    html = render(foreign_run.report, [], pictures)
    assert html.count('<g class="node"') == sum(len(picture.nodes) for picture in pictures)
    assert 'id="network"' not in render(foreign_run.report, [])
