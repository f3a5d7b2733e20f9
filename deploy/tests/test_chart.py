"""The chart renders, for every set of values and version of Kubernetes, to what Kubernetes takes."""

import unittest

import helm_python
import jsonschema
import kubernetes_validate

from chart import CHART, DEPLOY, only, pod, render, value_sets

# The oldest with a schema, both sides of the change of AppArmor's field, and the newest.
VERSIONS = ["1.25.0", "1.29.0", "1.30.0", kubernetes_validate.latest_version()]


def strict(**properties):
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(properties),
        "properties": properties,
    }


# What the chart uses of ServiceMonitor (monitoring.coreos.com/v1), whose schema does not come with Kubernetes.
TEXT = {"type": "string", "minLength": 1}
SERVICE_MONITOR = strict(
    apiVersion={"const": "monitoring.coreos.com/v1"},
    kind={"const": "ServiceMonitor"},
    metadata={"type": "object"},
    spec=strict(
        selector=strict(matchLabels={"type": "object", "minProperties": 1}),
        endpoints={
            "type": "array",
            "minItems": 1,
            "items": strict(
                port=TEXT,
                path=TEXT,
                interval={"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"},
                authorization=strict(
                    type={"const": "Bearer"}, credentials=strict(name=TEXT, key=TEXT)
                ),
            ),
        },
    ),
)


class Chart(unittest.TestCase):
    def test_lint_is_clean(self):
        for name, values in value_sets().items():
            with self.subTest(name):
                report = helm_python.lint(CHART, values, strict=True)
                self.assertEqual(report["total_charts_linted"], 1)
                self.assertEqual(report["errors"], [])
                # A chart without an icon is told of as a remark; a warning or an error is neither.
                worse = [m for m in report["messages"] if m["severity"] > 1]
                self.assertEqual(worse, [])

    def test_objects_are_valid(self):
        for name, values in value_sets().items():
            for version in VERSIONS:
                objects = render(values, kube_version=f"v{version}")
                self.assertGreater(len(objects), 1)
                for o in objects:
                    with self.subTest(f"{name}, {version}, {o['kind']} {o['metadata']['name']}"):
                        if o["kind"] == "ServiceMonitor":
                            jsonschema.validate(o, SERVICE_MONITOR)
                        else:
                            kubernetes_validate.validate(o, version, strict=True)

    def test_the_validator_refuses_what_is_wrong(self):
        stateful_set = only(render({}), "StatefulSet")
        stateful_set["spec"]["replikas"] = 1
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(stateful_set, VERSIONS[-1], strict=True)

    def test_names_are_unique_and_fit(self):
        long = "a-release-with-a-name-that-is-as-long-as-helm-lets-it"
        for name, values in value_sets().items():
            with self.subTest(name):
                objects = render(values, name=long)
                keys = [(o["kind"], o["metadata"]["name"]) for o in objects]
                self.assertEqual(len(keys), len(set(keys)))
                for kind, key in keys:
                    # A pod of a StatefulSet has a suffix, and its name is a label.
                    most = 52 if kind == "StatefulSet" else 63
                    if not kind.startswith("ClusterRole"):
                        self.assertLessEqual(len(key), most, kind)

    def test_selectors_find_their_pods(self):
        objects = render(value_sets()["everything"])
        labels = [
            o["spec"]["template"]["metadata"]["labels"]
            for o in objects
            if o["kind"] in ("StatefulSet", "DaemonSet")
        ]
        for o in objects:
            if o["kind"] == "Service":
                selector = o["spec"]["selector"]
            elif o["kind"] in ("NetworkPolicy",):
                selector = o["spec"]["podSelector"]["matchLabels"]
            elif o["kind"] in ("PodDisruptionBudget", "StatefulSet", "DaemonSet"):
                selector = o["spec"]["selector"]["matchLabels"]
            else:
                continue
            with self.subTest(o["kind"]):
                found = [l for l in labels if selector.items() <= l.items()]
                self.assertEqual(len(found), 1)
        # ServiceMonitors ask for services: each for one, and not for the headless one beside it.
        services = [o["metadata"]["labels"] for o in objects if o["kind"] == "Service"]
        for o in objects:
            if o["kind"] == "ServiceMonitor":
                selector = o["spec"]["selector"]["matchLabels"]
                self.assertEqual(len([l for l in services if selector.items() <= l.items()]), 1)

    def test_references_lead_somewhere(self):
        for name, values in value_sets().items():
            objects = render(values)
            made = {(o["kind"], o["metadata"]["name"]) for o in objects}
            own = {o["metadata"]["name"] for o in objects}
            for o in objects:
                if o["kind"] not in ("StatefulSet", "DaemonSet"):
                    continue
                with self.subTest(f"{name}, {o['kind']}"):
                    spec, container = pod(o)
                    self.assertIn(("ServiceAccount", spec["serviceAccountName"]), made)
                    volumes = {v["name"] for v in spec["volumes"]}
                    volumes |= {
                        c["metadata"]["name"] for c in o["spec"].get("volumeClaimTemplates", [])
                    }
                    self.assertEqual(volumes, {m["name"] for m in container["volumeMounts"]})
                    for volume in spec["volumes"]:
                        secret = volume.get("secret", {}).get("secretName")
                        if secret in own:
                            keys = {item["key"] for item in volume["secret"]["items"]}
                            self.assertLessEqual(keys, set(only(objects, "Secret")["data"]))

    def test_dashboards_are_those_of_the_folder(self):
        found = only(render(value_sets()["everything"]), "ConfigMap", "weir-dashboards")
        self.assertEqual(found["metadata"]["namespace"], "monitoring")
        self.assertEqual(found["metadata"]["labels"]["grafana_dashboard"], "weir")
        self.assertEqual(found["metadata"]["annotations"], {"grafana_folder": "Weir"})
        folder = DEPLOY / "grafana" / "dashboards"
        self.assertEqual(found["data"], {p.name: p.read_text() for p in folder.glob("*.json")})
        # Kubernetes takes a mebibyte.
        self.assertLess(sum(len(text) for text in found["data"].values()), 1 << 20)
        default = only(
            render({"grafana": {"dashboards": {"enabled": True}}}), "ConfigMap", "weir-dashboards"
        )
        self.assertEqual(default["metadata"]["namespace"], "weir")
        self.assertEqual(default["metadata"]["labels"]["grafana_dashboard"], "1")

    def test_values_that_cannot_work_are_refused(self):
        cases = {
            "agent.serverUrl": {"server": {"enabled": False}},
            "auth.existingSecret": {
                "server": {"enabled": False},
                "agent": {"serverUrl": "http://x"},
            },
            "server.ingress.hosts": {"server": {"ingress": {"enabled": True}}},
        }
        for text, values in cases.items():
            with self.subTest(text):
                with self.assertRaises(helm_python.HelmError) as raised:
                    render(values)
                self.assertIn(text, str(raised.exception))



if __name__ == "__main__":
    unittest.main()
