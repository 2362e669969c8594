"""Whom a run trusts: schedulers on this machine or behind TLS, names that are only names, pages that fetch nothing."""

import datetime
import html
import re
from pathlib import Path

import nir
import numpy as np
import pytest

import deploy
import graphs
from deploy.execution.trust import require_trusted
from deploy.request import Request
from svformer.common.cli import one_line, run_cli
from svformer.common.errors import InputError

NAME = "<img onerror=alert(1)>"


@pytest.mark.parametrize(
    "address",
    [
        *("tcp://127.0.0.1:8786", "127.0.0.1:8786", "tcp://localhost:1", "localhost", "tcp://[::1]:8786"),
        *("tls://10.0.0.7:8786", "tls://host:8786", "wss://host:1", "inproc://1/2/3", "tcp://127.3.2.1:1"),
    ],
)
def test_schedulers_that_are_trusted(address: str) -> None:
    require_trusted(address)


@pytest.mark.parametrize(
    "address",
    [
        *("tcp://10.0.0.7:8786", "10.0.0.7:8786", "host:8786", "tcp://host:1", "ws://host:1", "ucx://10.0.0.1:1"),
        *("tcp://127.0.0.1.example.com:1", "tcp://localhost.example.com:1", "tcp://127.0.0.1@host:1", "tcp://[::2]:1"),
        *("TLS://host:1", "tcp://0.0.0.0:1", "http://tls://host:1", "tcp://:8786", "tcp://[::1:1"),
    ],
)
def test_schedulers_that_need_a_word(address: str) -> None:
    with pytest.raises(InputError, match=r"--scheduler .*: a plain connection to another machine, .* --insecure"):
        Request(scheduler=address)
    assert Request(scheduler=address, insecure=True).scheduler == address


@pytest.fixture
def odd_names(tmp_path: Path) -> Path:
    """A network and clips whose nodes and classes bear names that would leave a folder, or a page."""
    nodes = {
        "input": graphs.entry(2),
        NAME: nir.Linear(np.eye(2)),
        "..": graphs.lif(2, v_threshold=0.4),
        "output": graphs.result(2),
    }
    folder = tmp_path / "given"
    folder.mkdir()
    nir.write(str(folder / "a.nir"), graphs.chain(nodes))
    np.savez(folder / "clips.npz", x=np.ones((2, 3, 2)), y=np.array([0, 1]))
    np.save(folder / f"{NAME}.npy", np.ones((3, 2)))
    return folder


def run(folder: Path, out: Path, **options: object) -> str:
    clips = sorted(path for path in folder.iterdir() if path.suffix in (".npy", ".npz"))
    outcome = deploy.run(
        Request(nir=folder / "a.nir", clips=clips, backend="integer", out=out, cache=False, **options)  # type: ignore[arg-type]
    )
    return outcome.page.read_text("utf-8")


def test_names_of_a_file_lead_nowhere_and_are_text_on_the_page(odd_names: Path, tmp_path: Path) -> None:
    page = run(odd_names, tmp_path / "out")
    made = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")}
    assert made == {"given", "out"}
    assert {path.parent for path in (tmp_path / "out").rglob("*")} == {tmp_path / "out"}
    assert "<img onerror" not in page
    assert "&lt;img onerror" in page


def test_a_page_may_fetch_and_send_nothing(odd_names: Path, tmp_path: Path) -> None:
    """Everything is in the page: pictures are data, and no script can reach another address."""
    page = run(odd_names, tmp_path / "out")
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">', page)
    rules = dict(rule.strip().split(" ", 1) for rule in html.unescape(policy).split(";"))
    assert (rules["default-src"], rules["img-src"], rules["base-uri"]) == ("'none'", "data:", "'none'")
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", page)


def test_results_replace_links_and_do_not_follow_them(odd_names: Path, tmp_path: Path) -> None:
    """An --out in which others have laid links to files of the user's."""
    out, own = tmp_path / "out", tmp_path / "own.txt"
    own.write_text("mine")
    out.mkdir()
    names = ("report.json", "report.html", "report.md", "spikes.h5", "integers.h5")
    for name in names:
        (out / name).symlink_to(own)
    run(odd_names, out, force=True)
    assert own.read_text() == "mine"
    assert all((out / name).is_file() and not (out / name).is_symlink() for name in names)


def test_an_error_is_one_line_that_a_terminal_does_not_obey(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(argv: object) -> None:
        raise InputError("a\x1b[2Jb\nc\u202ed\tä 走")

    assert run_cli(refuse) == 2
    assert capsys.readouterr().err == "error: a\\x1b[2Jb c\\u202ed ä 走\n"
    assert one_line(datetime.date(2020, 1, 2)) == "2020-01-02"
