"""The images' content runs with nothing else around it, confined as the chart confines it.

The root file systems are put together by the script that the Dockerfile runs, from the programs in the
folder WEIR_BINARIES. Server and agent get the chart's arguments, configuration, tokens, users and capabilities.
"""

import base64
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

from chart import DEPLOY, only, pod, render, value_sets

BINARIES = os.environ.get("WEIR_BINARIES")
REQUIRED = "WEIR_REQUIRE" in os.environ
CONTAINED = pathlib.Path(__file__).with_name("contained.py")
# Longest that something may take that takes a second or two.
PATIENCE = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(url, token=None, form=None):
    """Status and text; a form makes it a POST."""
    body = urllib.parse.urlencode(form).encode() if form else None
    request = urllib.request.Request(url, body)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def eventually(question, wanted):
    """Asks until there is an answer, and one as wanted."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            answer = question()
            if wanted(answer):
                return answer
        except OSError as error:
            answer = error
        assert time.monotonic() < end, f"after {PATIENCE} s: {answer}"
        time.sleep(0.2)


def replaced(arguments, **options):
    """Arguments with other values of some options."""
    for name, value in options.items():
        place = [i for i, a in enumerate(arguments) if a.startswith(f"--{name}=")]
        assert len(place) == 1, f"--{name} in {arguments}"
        arguments[place[0]] = f"--{name}={value}"
    return arguments


@unittest.skipUnless(BINARIES or REQUIRED, "WEIR_BINARIES names no folder of programs")
class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.place = pathlib.Path(directory.name)
        # A user without rights has to pass through.
        cls.place.chmod(0o755)
        for program in ("weir", "weir-agent"):
            subprocess.run(
                [DEPLOY / "docker" / "assemble", f"{BINARIES}/{program}", cls.place / program],
                check=True,
            )

    def start(self, *arguments):
        log = open(self.place / "log", "a+b")
        self.addCleanup(log.close)
        process = subprocess.Popen(
            [sys.executable, "-B", CONTAINED, *map(str, arguments)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip

        def stop():
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

        self.addCleanup(stop)
        return process

    def file(self, name, text, owner=0):
        path = self.place / name
        path.write_text(text)
        os.chown(path, owner, owner)
        path.chmod(0o440)
        return path

    def test_there_is_nothing_but_the_program_and_its_libraries(self):
        for program in ("weir", "weir-agent"):
            with self.subTest(program):
                root = self.place / program
                files = [p for p in root.rglob("*") if p.is_file()]
                programs = [p.name for p in files if p.parent.name in ("bin", "sbin")]
                self.assertEqual(programs, [program])
                libraries = {p.name for p in files if ".so" in p.name}
                self.assertLessEqual(
                    {re.sub(r"[-.].*", "", name) for name in libraries}, {"ld", "libc", "libm", "libgcc_s"}
                )
                self.assertEqual([p for p in root.rglob("*") if p.is_symlink()], [])
                size = sum(p.stat().st_size for p in files)
                print(f"root of {program}: {size / 1e6:.1f} MB", file=sys.stderr)

    def test_each_option_of_the_chart_is_one_of_the_program(self):
        def known(*command):
            text = subprocess.run(
                [f"{BINARIES}/{command[0]}", *command[1:], "--help"],
                check=True, capture_output=True, text=True,
            ).stdout  # fmt: skip
            return set(re.findall(r"--[a-z][a-z0-9-]*", text))

        options = {"StatefulSet": known("weir", "serve"), "DaemonSet": known("weir-agent")}
        for name, values in value_sets().items():
            for o in render(values):
                if o["kind"] in options:
                    _, container = pod(o)
                    given = {a.split("=")[0] for a in container["args"] if a.startswith("--")}
                    with self.subTest(f"{name}, {o['kind']}"):
                        self.assertLessEqual(given, options[o["kind"]])

    def test_server_and_agent_work_together_confined(self):
        if os.geteuid() != 0:
            self.assertFalse(REQUIRED, "it takes root to confine a program")
            self.skipTest("it takes root to confine a program")
        # There is no cluster to watch.
        objects = render({"server": {"kubernetes": False}, "agent": {"interval": "1s"}})
        secret = only(objects, "Secret")["data"]
        tokens = {key: base64.b64decode(value).decode() for key, value in secret.items()}

        spec, container = pod(only(objects, "StatefulSet"))
        user = spec["securityContext"]["runAsUser"]
        grace = spec["terminationGracePeriodSeconds"]
        data = self.place / "data"
        data.mkdir()
        # As a new volume has it.
        (data / "lost+found").mkdir(mode=0o700)
        os.chown(data, user, user)
        config = self.file("weir.toml", only(objects, "ConfigMap")["data"]["weir.toml"], user)
        (self.place / "tokens").mkdir()
        self.file("tokens/tokens", tokens["tokens"], user)
        root, port = self.place / "weir", free_port()
        for mount in container["volumeMounts"]:
            place = root / mount["mountPath"].lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch() if "subPath" in mount else place.mkdir()
        command = [
            "--root", root, "--user", user,
            "--bind", f"{data}:/var/lib/weir", "--bind", f"{config}:/etc/weir/weir.toml:ro",
            "--bind", f"{self.place / 'tokens'}:/etc/weir/tokens:ro",
            "--", "/usr/bin/weir", *replaced(container["args"], listen=f"127.0.0.1:{port}"),
        ]  # fmt: skip
        running = self.start(*command)
        server = f"http://127.0.0.1:{port}"
        probe = container["readinessProbe"]["httpGet"]["path"]
        eventually(lambda: ask(server + probe), lambda answer: answer[0] == 200)
        self.assertEqual(ask(server + container["livenessProbe"]["httpGet"]["path"])[0], 200)
        self.assertEqual(ask(f"{server}/api/v1/labels")[0], 401)
        self.assertEqual(ask(f"{server}/api/v1/labels", tokens["agent-token"])[0], 401)
        self.assertEqual(ask(f"{server}/api/v1/labels", tokens["reader-token"])[0], 200)

        _, container = pod(only(objects, "DaemonSet"))
        capabilities = container["securityContext"]["capabilities"]["add"]
        (self.place / "token").mkdir()
        self.file("token/agent-token", tokens["agent-token"])
        (self.place / "spool").mkdir()
        root, metrics = self.place / "weir-agent", free_port()
        for folder in ("etc/weir/token", "var/lib/weir-agent"):
            (root / folder).mkdir(parents=True)
        arguments = replaced(
            container["args"], listen=f"127.0.0.1:{metrics}", server=server, node="node-1"
        )
        agent = self.start(
            "--root", root, "--node", "--capabilities", ",".join(capabilities),
            "--bind", f"{self.place / 'token'}:/etc/weir/token:ro",
            "--bind", f"{self.place / 'spool'}:/var/lib/weir-agent",
            "--", "/usr/bin/weir-agent", *arguments,
        )  # fmt: skip
        probe = container["livenessProbe"]["httpGet"]["path"]
        self.assertEqual(container["livenessProbe"]["httpGet"]["host"], "127.0.0.1")
        eventually(
            lambda: ask(f"http://127.0.0.1:{metrics}{probe}"), lambda answer: answer[0] == 200
        )
        source = ask(f"http://127.0.0.1:{metrics}/metrics")[1]
        if "WEIR_REQUIRE_KERNEL" in os.environ:
            self.assertRegex(source, r'weir_agent_source_info\{[^}]*"bpf"[^}]*\} 1')
        status = pathlib.Path(f"/proc/{agent.pid}/status").read_text()
        effective = int(re.search(r"^CapEff:\s*(\w+)$", status, re.M)[1], 16)
        self.assertLess(effective.bit_count(), len(capabilities))
        self.assertIn("NoNewPrivs:\t1", status)

        # The server is asked over a connection that the agent measures.
        sql = "SELECT node, sum(rx_bytes) FROM flows WHERE workload = 'weir' GROUP BY 1"

        def rows():
            status, text = ask(f"{server}/api/v1/sql", tokens["reader-token"], {"query": sql})
            self.assertEqual(status, 200, text)
            return json.loads(text)["rows"]

        ((node, received),) = eventually(rows, lambda rows: rows)
        self.assertEqual(node, "node-1")
        self.assertGreater(received, 0)

        # The pod is replaced, as an upgrade does it: it drains, and the next one has what it had and what agents
        # have kept meanwhile.
        running.terminate()
        self.assertEqual(running.wait(grace), 0)
        self.start(*command)
        ((_, later),) = eventually(rows, lambda rows: rows and rows[0][1] > received)
        self.assertGreater(later, received)


if __name__ == "__main__":
    unittest.main()
