/** Tables of SQL and their columns, as the server has them, for completion. */
import { sql } from "../../api/prometheus.ts";

const TABLES = ["flows", "flows_5m", "flows_1h", "edges", "samples", "agent_loss", "names"];

/** Columns by table; a table that does not answer is offered without. */
export async function columns(signal: AbortSignal): Promise<Record<string, string[]>> {
  const all = TABLES.map(async (table): Promise<[string, string[]]> => {
    try {
      const answer = await sql(`SELECT * FROM ${table} LIMIT 0`, signal);
      return [table, answer.columns.map((column) => column.name)];
    } catch {
      return [table, []];
    }
  });
  return Object.fromEntries(await Promise.all(all));
}
