"""Installation and upgrade by Helm in a real API server: tokens and volume stay, and rights are what they should be.

The server that can be had from Debian is of Kubernetes 1.20, a version before policy/v1: there the chart goes
without its PodDisruptionBudget.
"""

import base64
import os
import pathlib
import re
import subprocess
import tempfile
import time
import unittest
import urllib.request

import helm_python
import yaml

import manifests
from api_server import PATIENCE, ApiServer, free_ports, is_there
from test_upgrade import newer

BINARIES = os.environ.get("WEIR_BINARIES")
REQUIRED = "WEIR_REQUIRE" in os.environ
SPACE = "weir"
OLD = {"server": {"podDisruptionBudget": {"enabled": False}}}


@unittest.skipUnless(is_there() or REQUIRED, "there is no kube-apiserver and etcd")
class Cluster(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        place = pathlib.Path(folder)
        (place / "server").mkdir()
        cls.api = cls.enterClassContext(ApiServer(place / "server"))
        # Both versions of the chart, without the bound that the old server is below.
        cls.charts = []
        for number, version in enumerate(("0.1.0", "7.8.9")):
            (place / str(number)).mkdir()
            chart = newer(place / str(number), version)
            text = (chart / "Chart.yaml").read_text()
            (chart / "Chart.yaml").write_text(re.sub(r"(?m)^kubeVersion: .*\n", "", text))
            cls.charts.append(chart)

    def setUp(self):
        self.helm = self.enterContext(
            helm_python.Config(kubeconfig_content=self.api.kubeconfig(), namespace=SPACE)
        )

    def tokens(self):
        data = self.api.get(f"/api/v1/namespaces/{SPACE}/secrets/weir-tokens")["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def stateful_set(self):
        return self.api.get(f"/apis/apps/v1/namespaces/{SPACE}/statefulsets/weir")

    def may(self, account, verb, resource, group=""):
        """Whether RBAC admits it, asked on behalf of the account."""
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"verb": verb, "resource": resource, "group": group}},
        }
        status, answer = self.api.ask(
            "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review,
            user=f"system:serviceaccount:{SPACE}:{account}",
        )  # fmt: skip
        self.assertEqual(status, 201, answer)
        return answer["status"]["allowed"]

    def test_an_upgrade_keeps_tokens_and_volume(self):
        old, new = self.charts
        self.addCleanup(self.helm.uninstall, "weir", ignore_not_found=True)
        self.helm.install(os.fspath(old), "weir", OLD, create_namespace=True)
        tokens, before = self.tokens(), self.stateful_set()
        self.assertEqual(tokens["tokens"].split()[1], tokens["agent-token"])

        # As the controller of StatefulSets makes the claim, from the template.
        (claim,) = before["spec"]["volumeClaimTemplates"]
        claim["metadata"] = {"name": "data-weir-0", "labels": claim["metadata"]["labels"]}
        claims = f"/api/v1/namespaces/{SPACE}/persistentvolumeclaims"
        status, made = self.api.ask("POST", claims, claim)
        self.assertEqual(status, 201, made)

        # Somebody lets a second token for agents in by hand.
        text = tokens["tokens"] + "agent another-token-of-many-letters\n"
        status, answer = self.api.ask(
            "PATCH", f"/api/v1/namespaces/{SPACE}/secrets/weir-tokens",
            {"data": {"tokens": base64.b64encode(text.encode()).decode()}},
            kind="application/merge-patch+json",
        )  # fmt: skip
        self.assertEqual(status, 200, answer)

        values = {**OLD, "agent": {"interval": "1s"}}
        self.helm.upgrade(os.fspath(new), "weir", values)
        after = self.stateful_set()
        self.assertEqual(self.tokens(), {**tokens, "tokens": text})
        self.assertEqual(after["metadata"]["uid"], before["metadata"]["uid"])
        self.assertGreater(after["metadata"]["generation"], before["metadata"]["generation"])
        (container,) = after["spec"]["template"]["spec"]["containers"]
        self.assertEqual(container["image"], "weir:7.8.9")
        self.assertEqual(self.api.get(f"{claims}/data-weir-0")["metadata"]["uid"], made["metadata"]["uid"])

        # A larger volume is refused, and possible in the way that the chart's README tells.
        larger = {"server": {**OLD["server"], "persistence": {"size": "100Gi"}}}
        with self.assertRaises(helm_python.HelmError) as refused:
            self.helm.upgrade(os.fspath(new), "weir", larger)
        self.assertIn("forbidden", str(refused.exception).lower())
        # `kubectl delete --cascade=orphan`, but that it is a controller that lets pods be orphans.
        status, answer = self.api.ask(
            "DELETE", f"/apis/apps/v1/namespaces/{SPACE}/statefulsets/weir",
            {"propagationPolicy": "Background", "kind": "DeleteOptions", "apiVersion": "v1"},
        )  # fmt: skip
        self.assertEqual(status, 200, answer)
        self.helm.upgrade(os.fspath(new), "weir", larger)
        (claim,) = self.stateful_set()["spec"]["volumeClaimTemplates"]
        self.assertEqual(claim["spec"]["resources"]["requests"]["storage"], "100Gi")
        self.assertEqual(self.tokens(), {**tokens, "tokens": text})

        # The rights, as the API server's own RBAC has them.
        self.assertTrue(self.may("weir", "watch", "pods"))
        self.assertTrue(self.may("weir", "list", "jobs", "batch"))
        for verb, resource, group in (
            ("get", "secrets", ""),
            ("list", "secrets", ""),
            ("list", "configmaps", ""),
            ("get", "pods", ""),
            ("delete", "pods", ""),
            ("create", "pods", ""),
            ("list", "deployments", "apps"),
        ):
            self.assertFalse(self.may("weir", verb, resource, group), (verb, resource))
        self.assertFalse(self.may("weir-agent", "list", "pods"))

        self.helm.uninstall("weir")
        self.assertEqual(self.api.get(f"{claims}/data-weir-0")["metadata"]["uid"], made["metadata"]["uid"])

    def following(self, account):
        """What the server tells of following the cluster as a service account: kinds listed, and not; its log."""
        status, answer = self.api.ask(
            "POST", f"/api/v1/namespaces/{SPACE}/serviceaccounts/{account}/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
        )  # fmt: skip
        self.assertEqual(status, 201, answer)
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "kubeconfig").write_text(self.api.kubeconfig(answer["status"]["token"]))
        (port,) = free_ports(1)
        with open(folder / "log", "wb") as log:
            server = subprocess.Popen(
                [f"{BINARIES}/weir", "serve", "--data", folder / "data", "--listen", f"127.0.0.1:{port}",
                 "--kubeconfig", folder / "kubeconfig"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            pattern = r'(?m)^weir_names_(lists|failures)_total\{kind="([^"]+)"\} (\d+)$'
            end = time.monotonic() + PATIENCE
            while True:
                told = {"lists": {}, "failures": {}}
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                        for what, kind, count in re.findall(pattern, answer.read().decode()):
                            told[what][kind] = int(count)
                except OSError:
                    pass
                lists, failures = told["lists"], told["failures"]
                if lists and all(lists[kind] or failures[kind] for kind in lists):
                    break
                self.assertLess(time.monotonic(), end, f"{told} {(folder / 'log').read_text()}")
                time.sleep(0.2)
        finally:
            server.terminate()
            server.wait(PATIENCE)
        listed = {kind for kind in lists if lists[kind]}
        return listed, set(lists) - listed, (folder / "log").read_text()

    @unittest.skipUnless(BINARIES or REQUIRED, "WEIR_BINARIES names no folder of programs")
    def test_the_servers_rights_suffice_and_the_agents_are_none(self):
        self.addCleanup(self.helm.uninstall, "weir", ignore_not_found=True)
        self.helm.install(os.fspath(self.charts[0]), "weir", OLD, create_namespace=True)
        listed, failed, log = self.following("weir")
        # This API server has no discovery.k8s.io/v1 yet; the rest is there.
        self.assertEqual(len(listed), 5, log)
        self.assertEqual(len(failed), 1, log)
        self.assertNotIn("forbidden", log.lower())
        # What it says where rights are missing, so that the line above means something.
        listed, _, log = self.following("weir-agent")
        self.assertEqual(listed, set())
        self.assertIn("forbidden", log.lower())

    def test_the_plain_manifests_are_taken(self):
        for o in yaml.safe_load_all(manifests.PLACE.read_text()):
            if o["kind"] == "PodDisruptionBudget":
                continue
            if o["kind"] == "DaemonSet":
                # They are for 1.30 and newer.
                (container,) = o["spec"]["template"]["spec"]["containers"]
                del container["securityContext"]["appArmorProfile"]
            # In a namespace that there is.
            if "namespace" in o["metadata"]:
                o["metadata"]["namespace"] = "default"
            group, _, version = o["apiVersion"].rpartition("/")
            kind = o["kind"].lower()
            plural = kind[:-1] + "ies" if kind.endswith("y") else kind + "s"
            path = f"/apis/{group}/{version}" if group else f"/api/{version}"
            if "namespace" in o["metadata"]:
                path += "/namespaces/default"
            path += f"/{plural}/{o['metadata']['name']}?fieldManager=test&force=true&dryRun=All"
            with self.subTest(path):
                status, answer = self.api.ask("PATCH", path, o, kind="application/apply-patch+yaml")
                self.assertIn(status, (200, 201), answer)


if __name__ == "__main__":
    unittest.main()
