/** Names of the two ends of a row. */
import type { Cell } from "../api/flows.ts";

/** `namespace/workload`, or what is known of the end. */
export function endName(label: (name: string) => Cell, prefix: "" | "peer_"): string {
  const of = (name: string) => label(`${prefix}${name}`);
  const workload = of("workload");
  const namespace = of("namespace");
  if (workload !== null) return namespace === null ? String(workload) : `${namespace}/${workload}`;
  if (prefix !== "") {
    const service = label("peer_cloud_service");
    if (service !== null) return [service, label("peer_region")].filter((one) => one !== null).join(" ");
    for (const name of ["peer_domain", "peer_network", "peer_address", "peer_country", "peer_scope"]) {
      const value = label(name);
      if (value !== null) return String(value);
    }
  }
  return namespace === null ? "anything" : `${namespace}/?`;
}
