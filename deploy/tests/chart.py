"""The chart as Helm renders it."""

import pathlib

import helm_python
import yaml

DEPLOY = pathlib.Path(__file__).resolve().parent.parent
ROOT = DEPLOY.parent
CHART = DEPLOY / "helm" / "weir"


def value_sets():
    """The values that every check is made with, by name; the first is what somebody gets who sets nothing."""
    sets = {"defaults": {}}
    for path in sorted((CHART / "ci").glob("*-values.yaml")):
        sets[path.name.removesuffix("-values.yaml")] = yaml.safe_load(path.read_text())
    return sets


def render_texts(values, chart=CHART, kube_version=None, name="weir", namespace="weir"):
    """File of the chart to its text, as `helm template` gives it."""
    options = {"name": name, "namespace": namespace}
    if kube_version:
        options["kube_version"] = kube_version
    with helm_python.Chart.load(chart) as loaded:
        # The method of the library does not pass the version of Kubernetes on.
        text = helm_python._native.call_string(
            "helm_render", loaded._raw(), helm_python.json.dumps(values), helm_python.json.dumps(options)
        )
    return helm_python.json.loads(text)


def render(values, **options):
    """The objects, in the order of the files."""
    texts = render_texts(values, **options)
    objects = []
    for name, text in sorted(texts.items()):
        if name.endswith(".yaml"):
            objects += [document for document in yaml.load_all(text, Strict) if document]
    return objects


def only(objects, kind, name=None):
    """The one object of a kind (and name)."""
    found = [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} objects of kind {kind}"
    return found[0]


def pod(workload):
    """The pod of a workload and its only container."""
    spec = workload["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    return spec, container


class Strict(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML readers take either."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"twice: {twice}", node.start_mark)
        return super().construct_mapping(node, deep)
