"""A scheduler behind TLS, as docs/security.md sets it up: certificates in the environment of all three sides."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest

from clusters import Cluster
from deploy.clips.source import ClipSource
from deploy.execution.cluster import Patience, workers_of
from deploy.execution.deployment import Deployment
from deploy.execution.run import run
from processes import HANG_S, ROOT
from results import assert_same
from svformer.common.errors import InputError

CA = "DASK_DISTRIBUTED__COMM__TLS__CA_FILE"
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl, which makes the certificates")


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    own, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    line = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=of a test"]
    subprocess.run([*line, "-keyout", str(key), "-out", str(own)], check=True, capture_output=True, timeout=HANG_S)
    return own, key


def variables(authority: Path, own: Path, key: Path) -> dict[str, str]:
    """Those of the page, whose loop over the three sides is read here."""
    page = (ROOT / "docs" / "security.md").read_text("utf-8")
    files = {"ca.pem": authority, "own.pem": own, "own-key.pem": key}
    (roles,) = re.findall(r"for role in ([A-Z ]+); do", page)
    found = dict(re.findall(r"(DASK_DISTRIBUTED__COMM__\w+)=(\w+(?:\.pem)?)", page.replace("${role}", "{role}")))
    pairs = re.findall(r"(DASK_DISTRIBUTED__COMM__TLS__\{role\}__\w+)=(\S+)", page.replace("${role}", "{role}"))
    found |= {name.format(role=role): file for name, file in pairs for role in roles.split()}
    return {name: str(files.get(value, value)) for name, value in found.items()}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    own, key = certificate(tmp_path_factory.mktemp("certificates"), "own")
    return variables(own, own, key)


@pytest.fixture(scope="module")
def secured(certificates: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("secured"), "--protocol", "tls", **certificates)
    made.add_worker()
    yield made
    made.close()


def configured(variables: dict[str, str]) -> Any:
    """What dask reads of an environment, for as long as a block lasts."""
    names = {name: name.removeprefix("DASK_").lower().replace("__", ".").replace("_", "-") for name in variables}
    return dask.config.set({names[name]: value for name, value in variables.items()})


def test_the_page_names_every_variable(certificates: dict[str, str]) -> None:
    tls = "DASK_DISTRIBUTED__COMM__TLS"
    sides = {f"{tls}__{side}__{file}" for side in ("SCHEDULER", "WORKER", "CLIENT") for file in ("CERT", "KEY")}
    assert certificates.keys() == {CA, "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION", *sides}


def test_a_scheduler_behind_tls_gives_the_same(
    secured: Cluster, certificates: dict[str, str], deployment: Deployment, sources: list[ClipSource]
) -> None:
    assert secured.address.startswith("tls://")
    with configured(certificates), workers_of(secured.address) as workers:
        found = run(deployment, sources, backend="integer", runner=workers)
    assert_same(found, run(deployment, sources, backend="integer"), deployment)


def test_who_has_no_certificate_of_it_is_refused(
    secured: Cluster, certificates: dict[str, str], tmp_path: Path
) -> None:
    """None at all, a file that is not there, one that another authority signed, and a plain connection."""
    own, key = certificate(tmp_path, "foreign")
    plain = secured.address.replace("tls://", "tcp://")
    for address, given, expected in (
        (secured.address, {}, "no certificate authority is set; set DASK_DISTRIBUTED__COMM__TLS__CA_FILE"),
        (secured.address, {**certificates, CA: "/nowhere.pem"}, "the certificates cannot be read"),
        (secured.address, variables(own, own, key), "no dask scheduler answers there"),
        (plain, {}, "no dask scheduler answers there"),
    ):
        with configured(given), pytest.raises(InputError, match=f"--scheduler {address}: {expected}"):
            workers_of(address, Patience(connect_s=3)).__enter__()
