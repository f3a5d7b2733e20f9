/** The health of the measurement itself (`/api/v1/completeness`). */
import { ask } from "./client.ts";
import type { Range } from "../state/time.ts";

export interface Agent {
  agent: string;
  node: string | null;
  /** Unix seconds of its first and last interval in the range. */
  first: number | null;
  last: number | null;
  /** Nothing was heard of it for longer than its intervals explain. */
  silent: boolean;
  intervals: number;
  losses: Record<string, number>;
  sampling_max: number | null;
}

export interface Stored {
  table: string;
  tier: string | null;
  /** In files. */
  rows: number | null;
  /** Not in files yet. */
  rows_in_memory: number | null;
  bytes: number | null;
  files: number | null;
  oldest: number | null;
  newest: number | null;
  retention: string | number | null;
}

export interface Completeness {
  start: number;
  end: number;
  ratio: number | null;
  agents: Agent[];
  losses: Record<string, number>;
  storage: Stored[];
  notes: string[];
}

export async function completeness(range: Range, signal: AbortSignal): Promise<Completeness> {
  return (await ask<Completeness>("/api/v1/completeness", { start: range.start, end: range.end }, signal))
    .data;
}
