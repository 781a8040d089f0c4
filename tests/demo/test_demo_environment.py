"""No real address and no real credential of a CRM reaches a process of a simulated demo."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import route

import schemas.crm
from config.settings import load_settings
from demo.environment import settings_of, simulated
from demo.processes import environment
from schemas.crm import kinds

ROOT = Path(__file__).parents[2]
URL = "http://127.0.0.1:9999"
REAL = "real-7f3b"  # part of each value that must not get through
PORTAL = """
    [[source]]
    name = "emea"
    kind = "hubspot"
"""
CRM = """
from schemas.crm_api import BearerLogin, CrmRequest, Hydration, Variable
from schemas.source import Kind, Token

KIND = Kind(
    name="crm-of-test",
    title="Test CRM",
    auth=Token(),
    parse=lambda content, request, source: [],
    hydration=Hydration(
        batch=1,
        login=BearerLogin(token="KEY", header="x-api-key", prefix=""),
        api_url="HOST",
        request=lambda name, ids, fields: CrmRequest(method="GET", path="/"),
        records=lambda answer: {},
        merge=lambda data, record: data,
        fields=lambda paths: frozenset(),
    ),
    variables=(
        Variable(suffix="KEY", sample="lp_live_0000"),
        Variable(suffix="HOST", holds="address", default="https://api.crm.example"),
        Variable(suffix="CLIENT", holds="id", sample="42"),
    ),
)
"""


@pytest.fixture
def made_up_crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A CRM module more, discovered as the others are."""
    (tmp_path / "a_crm_of_this_test.py").write_text(CRM, "utf-8")
    monkeypatch.setattr(schemas.crm, "__path__", [*schemas.crm.__path__, str(tmp_path)])
    kinds.cache_clear()
    yield
    sys.modules.pop("schemas.crm.a_crm_of_this_test", None)
    kinds.cache_clear()


def real_of(*prefixes: str) -> dict[str, str]:
    """Return real-looking values for every variable of every kind, under these prefixes too."""
    suffixes = {one.suffix: one.holds for kind in kinds().values() for one in kind.variables}
    return {
        f"{prefix}_{suffix}": f"https://{REAL}.example" if holds == "address" else REAL
        for prefix in prefixes
        for suffix, holds in suffixes.items()
    }


def test_every_source_turns_to_the_stand_in(made_up_crm: None) -> None:
    assert "crm-of-test" in kinds()
    given = real_of("HUBSPOT", "ZOHO", "CRM_OF_TEST", "EMEA")
    env = simulated({**given, "ROUTES_TOML": PORTAL, "REDIS_URL": "redis://x"}, URL)
    with environment({**env, "API_TOKEN": "an-api-token-of-the-tests"}):
        settings = load_settings()
    assert settings.callkaro_base_url == URL
    for source in settings.routes.sources.values():
        variables = settings.variables[source.name]
        for variable in source.kind.variables:
            if variable.holds == "choice" or variable.suffix in source.kind.checks:
                continue  # a choice is in the source by now; a check stays as it is
            expected = URL if variable.holds == "address" else variable.sample
            assert variables[variable.suffix] == expected, (source.name, variable.suffix)
    assert {"emea", "crm-of-test"} <= settings.variables.keys()


def test_nothing_real_is_left_in_a_file_or_of_a_portal_that_is_gone(
    made_up_crm: None, tmp_path: Path
) -> None:
    file = tmp_path / "value"
    file.write_text(REAL)
    given = real_of("HUBSPOT", "ZOHO", "CRM_OF_TEST", "EMEA", "HUBSPOT_2", "CRM_OF_TEST_OLD")
    files = {f"{name}_FILE": str(file) for name in given}
    env = simulated({**given, **files, "ROUTES_TOML": PORTAL}, URL)
    assert not [name for name, value in env.items() if REAL in value or value == str(file)]


def test_webhooks_out_go_to_the_stand_in_alone() -> None:
    told = (
        '[[source]]\nname = "form"\n'
        + route(source="form")
        + '[route.write_back]\non = ["outcome"]\n'
    )
    names = [f"{source}_WRITE_BACK_URL" for source in ("FORM", "HUBSPOT", "GONE")]
    given = {name: f"https://{REAL}.example" for name in names}
    given["GONE_WRITE_BACK_SECRET_FILE"] = f"/run/{REAL}"
    env = simulated({**given, "ROUTES_TOML": told, "REDIS_URL": "redis://x"}, URL)
    assert REAL not in " ".join(env.values())
    out = settings_of({**env, "API_TOKEN": "an-api-token-of-the-tests"}).webhooks_out
    assert {name: one.url for name, one in out.items()} == {"form": f"{URL}/hook/form"}


def test_what_is_no_credential_of_a_crm_is_left_as_it_is() -> None:
    given = {
        "HUBSPOT_WEBHOOK_SECRET": "chosen",
        "ZOHO_WEBHOOK_SECRET_FILE": "/run/zoho",
        "REDIS_URL": "redis://x",
        "PUBLIC_URL": "https://bridge.example",
        "CALLKARO_WEBHOOK_TOKEN": "chosen",
        "HUBSPOTTED_ACCESS_TOKEN": "another program's",
    }
    env = simulated({**given, "ROUTES_TOML": "#"}, URL)
    assert {name: env.get(name) for name in given} == given


def test_what_only_checks_what_arrives_is_left_as_it_is() -> None:
    """Else a vendor that posts to the demo is refused: its account and its keys are real."""
    given = {
        "META_VERIFY_TOKEN": "chosen",
        "SALESFORCE_ORGANIZATION_ID_FILE": "/run/organization",
        "GOHIGHLEVEL_PUBLIC_KEYS": "chosen",
    }
    env = simulated({**given, "ROUTES_TOML": "#"}, URL)
    assert {name: env.get(name) for name in given} == given
    assert "SALESFORCE_ORGANIZATION_ID" not in env
    assert "SALESFORCE_ORGANIZATION_ID" not in simulated({"ROUTES_TOML": "#"}, URL)
    assert "GOHIGHLEVEL_PUBLIC_KEYS" not in simulated({"ROUTES_TOML": "#"}, URL)
    assert env["META_ACCESS_TOKEN"] != "chosen"


def test_routes_that_can_not_be_read_leave_nothing_real_either() -> None:
    env = simulated({**real_of("HUBSPOT", "ZOHO"), "ROUTES_TOML": "[["}, URL)
    assert REAL not in " ".join(env.values())
    with pytest.raises(Exception, match="ROUTES_TOML"):
        settings_of(env)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def below(pid: int) -> Iterator[int]:
    """Yield the processes below one."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in map(int, found):
        yield child
        yield from below(child)


def environments_below(pid: int) -> Iterator[bytes]:
    """Yield the environment of each process below one; some end while we look."""
    for child in below(pid):
        with contextlib.suppress(OSError):
            yield Path(f"/proc/{child}/environ").read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_no_process_of_make_run_has_a_real_credential(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{REAL}-in-a-file")
    (tmp_path / "routes.toml").write_text((ROOT / "routes.toml").read_text("utf-8") + PORTAL)
    command = [sys.executable, "-m", "demo", "--serve", "--data", str(tmp_path / "data")]
    prefixes = {kind.name.upper().replace("-", "_"): kind for kind in kinds().values()}
    checks = {f"{prefix}_{one}" for prefix, kind in prefixes.items() for one in kind.checks}
    real = {k: v for k, v in real_of("EMEA", *prefixes).items() if k not in checks}  # they may stay
    demo = subprocess.Popen(  # noqa: S603
        [*command, "--port", str(free_port())],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONUNBUFFERED": "1",
            "WEB_CONCURRENCY": "1",
            "ROUTES_FILE": str(tmp_path / "routes.toml"),
            **real,
            "HUBSPOT_ACCESS_TOKEN_FILE": f"{tmp_path}/{REAL}",
            "EMEA_ACCESS_TOKEN_FILE": f"{tmp_path}/{REAL}",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with demo:
        assert demo.stdout is not None
        try:
            said = ""
            for line in demo.stdout:
                said += line
                if "serves at" in line:
                    break
            assert "serves at" in said, said
            environments = list(environments_below(demo.pid))
        finally:
            demo.send_signal(signal.SIGINT)
            demo.communicate(timeout=60)
    assert len(environments) >= 4
    assert not [one for one in environments if REAL.encode() in one]
    assert any(b"EMEA_ACCESS_TOKEN=pat-na1-" in one for one in environments)


REHEARSAL = """
import sys
from pathlib import Path
from demo import run as demo

def look(self, **options):
    from store.prefix import KEY_PREFIX
    kept = [name for name in demo.REAL if name in self.children.env]
    print(KEY_PREFIX, kept)
    return 0

demo.Demo.run = look
demo.run(serve=False, with_day=False, port=int(sys.argv[1]), data=Path(sys.argv[2]))
"""


def test_a_rehearsal_takes_nothing_from_a_bridge_on_a_cluster(tmp_path: Path) -> None:
    given = {"REDIS_URL": "cluster://redis.example", "BRIDGE_NAME": "north", "REDIS_ACKS": "1"}
    done = subprocess.run(  # noqa: S603  (our own program)
        [sys.executable, "-c", REHEARSAL, str(free_port()), str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **given},
        check=False,
    )
    assert (done.stdout, done.returncode) == ("bridge: []\n", 0), done.stderr
