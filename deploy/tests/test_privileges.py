"""Neither part may do more than it needs."""

import base64
import re
import unittest

from chart import DEPLOY, ROOT, only, pod, render, value_sets

# What the server may watch, by the name that its source has for it.
KINDS = {
    "Pod": ("", "pods"),
    "Service": ("", "services"),
    "Node": ("", "nodes"),
    "EndpointSlice": ("discovery.k8s.io", "endpointslices"),
    "ReplicaSet": ("apps", "replicasets"),
    "Job": ("batch", "jobs"),
}
WATCHER = ROOT / "ingest" / "src" / "names" / "kubernetes.rs"


def watched():
    """What the server asks the Kubernetes API for."""
    kinds = re.findall(r"Api::<(?:PartialObjectMeta<)?(\w+)>", WATCHER.read_text())
    return {KINDS[kind] for kind in kinds}


class Privileges(unittest.TestCase):
    def test_the_server_lists_and_watches_and_nothing_else(self):
        for name, values in value_sets().items():
            objects = render(values)
            roles = [o for o in objects if o["kind"] in ("Role", "ClusterRole")]
            watches = values.get("server", {}).get("enabled", True) and values.get("server", {}).get(
                "kubernetes", True
            )
            with self.subTest(name):
                if not watches:
                    self.assertEqual(roles, [])
                    continue
                (role,) = roles
                granted = set()
                for rule in role["rules"]:
                    self.assertEqual(sorted(rule["verbs"]), ["list", "watch"])
                    self.assertEqual(set(rule), {"apiGroups", "resources", "verbs"})
                    granted |= {(g, r) for g in rule["apiGroups"] for r in rule["resources"]}
                self.assertEqual(granted, watched())
                (subject,) = only(objects, "ClusterRoleBinding")["subjects"]
                spec, _ = pod(only(objects, "StatefulSet"))
                self.assertEqual(subject["name"], spec["serviceAccountName"])

    def test_the_servers_pod_is_confined(self):
        for name, values in value_sets().items():
            objects = render(values)
            if not values.get("server", {}).get("enabled", True):
                continue
            with self.subTest(name):
                spec, container = pod(only(objects, "StatefulSet"))
                kubernetes = values.get("server", {}).get("kubernetes", True)
                self.assertEqual(spec["automountServiceAccountToken"], kubernetes)
                self.assertIs(spec["securityContext"]["runAsNonRoot"], True)
                self.assertEqual(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault")
                for field in ("hostNetwork", "hostPID", "hostIPC"):
                    self.assertNotIn(field, spec)
                self.assertEqual(
                    container["securityContext"],
                    {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                )
                self.assertNotIn("--insecure", container["args"])

    def test_agents_have_the_capabilities_of_the_unit_and_one_token(self):
        unit = (DEPLOY / "systemd" / "weir-agent.service").read_text()
        bounding = re.search(r"^CapabilityBoundingSet=(.+)$", unit, re.M)[1].split()
        for name, values in value_sets().items():
            objects = render(values)
            if not values.get("agent", {}).get("enabled", True):
                continue
            with self.subTest(name):
                spec, container = pod(only(objects, "DaemonSet"))
                self.assertIs(spec["automountServiceAccountToken"], False)
                account = spec["serviceAccountName"]
                self.assertIs(
                    only(objects, "ServiceAccount", account)["automountServiceAccountToken"], False
                )
                bound = [
                    subject["name"]
                    for o in objects
                    if o["kind"].endswith("RoleBinding")
                    for subject in o["subjects"]
                ]
                self.assertNotIn(account, bound)
                context = container["securityContext"]
                self.assertIs(context["privileged"], False)
                self.assertIs(context["readOnlyRootFilesystem"], True)
                self.assertEqual(context["capabilities"]["drop"], ["ALL"])
                self.assertEqual(
                    sorted(f"CAP_{c}" for c in context["capabilities"]["add"]), sorted(bounding)
                )
                (secret,) = (v["secret"] for v in spec["volumes"] if "secret" in v)
                keys = {item["key"] for item in secret["items"]}
                self.assertLessEqual(keys, {"agent-token", "metrics-token"})
                writable = [m["name"] for m in container["volumeMounts"] if not m.get("readOnly")]
                self.assertLessEqual(set(writable), {"spool"})

    def test_the_chart_makes_the_token_file_that_the_server_reads(self):
        data = {k: base64.b64decode(v).decode() for k, v in only(render({}), "Secret")["data"].items()}
        lines = dict(line.split(" ") for line in data["tokens"].splitlines())
        self.assertEqual(sorted(lines), ["admin", "agent", "reader"])
        for role, token in lines.items():
            self.assertEqual(data[f"{role}-token"], token)
            self.assertGreaterEqual(len(token), 32)
        self.assertEqual(len({*lines.values(), data["metrics-token"]}), 4)
        # Not those of everybody else.
        self.assertNotEqual(only(render({}), "Secret")["data"]["tokens"], data["tokens"])

    def test_no_secret_is_made_beside_one_that_is_there(self):
        objects = render({"auth": {"existingSecret": "mine"}})
        self.assertEqual([o for o in objects if o["kind"] == "Secret"], [])
        for kind in ("StatefulSet", "DaemonSet"):
            spec, _ = pod(only(objects, kind))
            names = [v["secret"]["secretName"] for v in spec["volumes"] if "secret" in v]
            self.assertEqual(names, ["mine"])


if __name__ == "__main__":
    unittest.main()
