/**
 * Rows of one conversation, seen from each of its ends.
 *
 * A row of the table is local end to peer. What its client measured has these labels; what its server measured is
 * the same conversation the other way round, so labels of both ends change places. Labels that only one side knows
 * (the service that was dialled, a domain) have no counterpart: then there is no other side to ask.
 */
import type { FlowView } from "../api/flows.ts";
import { cases, eachByteOnce, type Case } from "../promql/build.ts";
import { ENDS } from "../state/labels.ts";
import type { Filter } from "../state/filters.ts";

const LOCAL = new Set<string>(ENDS);

/** The filter on the same conversation seen from its other end; null if that does not know the label. */
function turned(filter: Filter): Filter | null {
  const { field } = filter;
  if (field.startsWith("either_") || field === "cluster" || field === "protocol" || field === "crossing") {
    return filter;
  }
  if (LOCAL.has(field)) return { ...filter, field: `peer_${field}` };
  if (field.startsWith("peer_") && LOCAL.has(field.slice("peer_".length))) {
    return { ...filter, field: field.slice("peer_".length) };
  }
  return field === "peer_scope" ? filter : null;
}

export interface Sides {
  /** Rows whose local end is the row's local end. */
  near: readonly Case[];
  /** Rows that its peer measured; null where nobody did, or where they cannot be told. */
  far: readonly Case[] | null;
}

export function sides(view: FlowView, filters: readonly Filter[]): Sides {
  if (view !== "cluster") {
    const scoped: Filter[] = view === "all" ? [] : [{ field: "peer_scope", operator: "=", value: view }];
    const all = [...filters, ...scoped];
    return { near: view === "all" ? eachByteOnce(all) : cases(all), far: null };
  }
  const inside: Filter = { field: "peer_scope", operator: "!~", value: "cloud|external" };
  const near = cases([...filters, inside, { field: "role", operator: "!=", value: "server" }]);
  const other = filters.map(turned);
  if (other.some((one) => one === null)) return { near, far: null };
  const seen = other.flatMap((one) => one ?? []);
  return { near, far: cases([...seen, inside, { field: "role", operator: "=", value: "server" }]) };
}
