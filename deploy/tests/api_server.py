"""A real kube-apiserver with its etcd, on loopback, for as long as a test takes.

There are no controllers and no nodes: objects are checked, stored, and admitted by RBAC as in any cluster, and
nothing is run. The programs are looked for in WEIR_KUBERNETES, or ~/.cache/weir-kubernetes/bin.
"""

import json
import os
import pathlib
import secrets
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

PROGRAMS = pathlib.Path(
    os.environ.get("WEIR_KUBERNETES", pathlib.Path.home() / ".cache" / "weir-kubernetes" / "bin")
)
PATIENCE = 60


def is_there():
    return all((PROGRAMS / name).exists() for name in ("etcd", "kube-apiserver"))


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class ApiServer:
    """Started on entering; stopped, with all that it kept, on leaving."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.token = secrets.token_hex(16)
        self.processes = []

    def __enter__(self):
        client, peer, secure = free_ports(3)
        folder = self.folder
        self.url = f"https://127.0.0.1:{secure}"
        key = folder / "service-account.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        (folder / "tokens.csv").write_text(f'{self.token},admin,1,"system:masters"\n')
        try:
            self.start(
                "etcd", f"--data-dir={folder / 'etcd'}", "--unsafe-no-fsync",
                f"--listen-client-urls=http://127.0.0.1:{client}",
                f"--advertise-client-urls=http://127.0.0.1:{client}",
                f"--listen-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-cluster=default=http://127.0.0.1:{peer}",
            )  # fmt: skip
            self.start(
                "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{client}",
                "--bind-address=127.0.0.1", f"--secure-port={secure}", f"--cert-dir={folder / 'certificates'}",
                "--authorization-mode=RBAC", f"--token-auth-file={folder / 'tokens.csv'}",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
                "--service-cluster-ip-range=10.96.0.0/16",
            )  # fmt: skip
            end = time.monotonic() + PATIENCE
            while not self.is_ready():
                log = (folder / "kube-apiserver.log").read_text(errors="replace")[-2000:]
                assert time.monotonic() < end and self.processes[-1].poll() is None, log
                time.sleep(0.2)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(self, name, *arguments):
        with open(self.folder / f"{name}.log", "wb") as log:
            process = subprocess.Popen(
                [PROGRAMS / name, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.processes.append(process)

    def is_ready(self):
        try:
            return self.ask("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def ask(self, method, path, body=None, kind="application/json", user=None):
        """Status and answer, as administrator or on behalf of somebody."""
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        if user:
            request.add_header("Impersonate-User", user)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", kind)
        # It made its certificate itself.
        context = ssl._create_unverified_context()
        try:
            with urllib.request.urlopen(request, timeout=20, context=context) as response:
                status, text = response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                status, text = error.code, error.read()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text.decode(errors="replace")

    def get(self, path):
        status, answer = self.ask("GET", path)
        assert status == 200, f"{path}: {status} {answer}"
        return answer

    def kubeconfig(self, token=None):
        """For the administrator, or whoever has the token."""
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
                "clusters": [
                    {
                        "name": "test",
                        "cluster": {"server": self.url, "insecure-skip-tls-verify": True},
                    }
                ],
                "users": [{"name": "admin", "user": {"token": token or self.token}}],
            }
        )
