/** Names of the two ends of a row. */
import type { Cell } from "../api/flows.ts";
import type { Filter } from "../state/filters.ts";

type Label = (name: string) => Cell;

/** The row's ends by what it is grouped by; the second is null if it is not grouped by any label of the far end. */
export function rowName(label: Label, row: readonly Filter[]): [string, string | null] {
  const own = row.filter((one) => !one.field.startsWith("peer_"));
  const far = row.filter((one) => one.field.startsWith("peer_"));
  if (far.length === 0) return [endName(label, "", own), null];
  return [endName(label, "", own), endName(label, "peer_", far)];
}

/** `namespace/workload`, the pod, or whatever labels the row has of the end. */
function endName(label: Label, prefix: "" | "peer_", row: readonly Filter[]): string {
  const of = (name: string) => label(`${prefix}${name}`);
  const pod = of("pod");
  if (pod !== null) return String(pod);
  const workload = of("workload");
  const namespace = of("namespace");
  if (workload !== null) return namespace === null ? String(workload) : `${namespace}/${workload}`;
  if (prefix !== "") {
    const service = label("peer_cloud_service");
    if (service !== null) return [service, label("peer_region")].filter((one) => one !== null).join(" ");
    for (const name of ["peer_domain", "peer_network", "peer_address"]) {
      const value = label(name);
      if (value !== null) return String(value);
    }
  }
  const known = row.filter((one) => one.value !== "").map((one) => one.value);
  return known.length > 0 ? known.join(" ") : "any";
}
