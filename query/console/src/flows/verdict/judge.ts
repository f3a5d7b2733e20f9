/** What the numbers of a conversation show, and no more than that. */
import { lossOf } from "../loss.ts";

/** From the end whose agent counts first (`near`), or from the other one. */
export type Way = "out" | "back";

export type Judgement =
  /** Sent, not arrived, and sent again. */
  | { kind: "lost"; ways: Way[]; high: boolean }
  /** Sent again; whether it was lost is not known, or not to be seen. */
  | { kind: "retransmitted"; ways: Way[]; high: boolean; ratio: number }
  | { kind: "failed"; count: number; reason: "refused" | "timed out" | "unreachable" | null }
  | { kind: "slow"; rtt: number };

/** As on the map: below these there is nothing to say of an end. */
const RETRANSMITS = { least: 5, raised: 0.001, high: 0.01 };
const FAILURES = 2;
/** Seconds from which on the 95th percentile of round trips is slow within a cluster, and to a peer outside. */
const SLOW = { inside: 0.05, outside: 0.3 };

/** `of` gives a measure over all of the conversation; null is unknown. The worst comes first; none: nothing stands out. */
export function judge(of: (measure: string) => number | null, outside: boolean): Judgement[] {
  const found: Judgement[] = [];
  const ways = (
    [
      ["out", "tx_packets", "retransmits", "lost_tx"],
      ["back", "server_tx_packets", "server_retransmits", "lost_rx"],
    ] as const
  ).flatMap(([way, sent, again, lost]) => {
    const count = of(again) ?? 0;
    const ratio = count / Math.max(1, of(sent) ?? 0);
    if (count < RETRANSMITS.least || ratio < RETRANSMITS.raised) return [];
    return [{ way, ratio, lost: lossOf(of(lost), count) === "lost" }];
  });
  if (ways.length > 0) {
    const lost = ways.filter((one) => one.lost);
    const ratio = Math.max(...ways.map((one) => one.ratio));
    const high = ratio >= RETRANSMITS.high;
    if (lost.length > 0) found.push({ kind: "lost", ways: lost.map((one) => one.way), high });
    else found.push({ kind: "retransmitted", ways: ways.map((one) => one.way), high, ratio });
  }
  const failures = of("connect_failures") ?? 0;
  if (failures >= FAILURES) {
    const reasons = [
      ["refused", of("connect_refused") ?? 0],
      ["timed out", of("connect_timed_out") ?? 0],
      ["unreachable", of("connect_unreachable") ?? 0],
    ] as const;
    const most = reasons.find(([, count]) => count > failures / 2);
    found.push({ kind: "failed", count: failures, reason: most?.[0] ?? null });
  }
  const rtt = of("rtt_p95");
  if (found.length === 0 && rtt !== null && rtt >= (outside ? SLOW.outside : SLOW.inside)) {
    found.push({ kind: "slow", rtt });
  }
  return found;
}

/**
 * First and last of the points that have at least a tenth of what the worst has, as indices: stray ones far from
 * an incident do not stretch it. Null if there is none.
 */
export function span(values: readonly (number | null)[]): [number, number] | null {
  const most = Math.max(0, ...values.map((value) => value ?? 0));
  if (most <= 0) return null;
  const bad = (value: number | null) => value !== null && value >= most / 10;
  return [values.findIndex(bad), values.findLastIndex(bad)];
}
