/** Labels of flow rows (docs/metrics.md). */

/** What both ends have; the far end's is `peer_` and this. */
export const ENDS = [
  "namespace",
  "workload",
  "workload_kind",
  "pod",
  "container",
  "node",
  "zone",
  "region",
  "address",
  "port",
] as const;

/** Of the far end alone. */
export const PEER = [
  "peer_service",
  "peer_service_address",
  "peer_service_port",
  "peer_scope",
  "peer_cloud_service",
  "peer_domain",
  "peer_asn",
  "peer_country",
  "peer_network",
] as const;

/** Of the flow. */
export const FLOW = ["crossing", "protocol", "role", "cluster"] as const;

/** All of them, in the order in which they are offered. */
export const LABELS: readonly string[] = [...ENDS, ...ENDS.map((end) => `peer_${end}`), ...PEER, ...FLOW];

const WORDS: Record<string, string> = {
  peer_asn: "peer AS number",
  workload_kind: "kind",
  peer_workload_kind: "peer kind",
};

/** A label as people say it. */
export function labelName(label: string): string {
  if (label.startsWith("either_")) return `either ${labelName(label.slice("either_".length))}`;
  return WORDS[label] ?? label.replaceAll("_", " ");
}
