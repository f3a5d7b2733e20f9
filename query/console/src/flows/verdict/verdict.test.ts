import { describe, expect, it } from "vitest";
import { lossOf, lossText } from "../loss.ts";
import { judge, span } from "./judge.ts";

const of = (counts: Record<string, number>) => (measure: string) => counts[measure] ?? null;

describe("a difference between both ends", () => {
  it("is a loss only where the sender sent again", () => {
    expect(lossOf(19, 34)).toBe("lost");
    expect(lossOf(300, 0)).toBe("unbacked");
    expect(lossOf(300, null)).toBe("unbacked");
    expect(lossOf(1, 15)).toBe("unbacked");
    expect(lossOf(-3, 0)).toBe("noise");
    expect(lossOf(0, 0)).toBe("none");
    expect(lossOf(null, 5)).toBe("unknown");
    expect([-3, 0, 19, null].map(lossText)).toEqual(["≈ 0", "0", "19", "–"]);
  });
});

describe("a verdict", () => {
  it("tells the directions that lost packets", () => {
    const out = { tx_packets: 1000, retransmits: 34, lost_tx: 19 };
    const back = { server_tx_packets: 2000, server_retransmits: 113, lost_rx: 131 };
    expect(judge(of({ ...out, ...back }), false)).toEqual([
      { kind: "lost", ways: ["out", "back"], high: true },
    ]);
    expect(judge(of({ ...back, tx_packets: 1000, retransmits: 1, lost_tx: 1 }), false)).toMatchObject([
      { ways: ["back"] },
    ]);
  });

  it("claims no loss where the other end is not measured", () => {
    expect(judge(of({ tx_packets: 1000, retransmits: 6 }), false)).toEqual([
      { kind: "retransmitted", ways: ["out"], high: false, ratio: 0.006 },
    ]);
    expect(judge(of({ tx_packets: 1000, retransmits: 4, rtt_p95: 0.01 }), false)).toEqual([]);
  });

  it("tells refused connections and slow round trips", () => {
    expect(judge(of({ connect_failures: 9, connect_refused: 8 }), false)).toEqual([
      { kind: "failed", count: 9, reason: "refused" },
    ]);
    expect(judge(of({ connect_failures: 4, connect_refused: 2, connect_timed_out: 2 }), false)).toMatchObject(
      [{ reason: null }],
    );
    expect(judge(of({ rtt_p95: 0.08 }), false)).toEqual([{ kind: "slow", rtt: 0.08 }]);
    expect(judge(of({ rtt_p95: 0.08 }), true)).toEqual([]);
  });

  it("lasts from the first to the last bad point", () => {
    expect(span([0, 1, 50, null, 30, 1, 0])).toEqual([2, 4]);
    expect(span([0, null])).toBeNull();
    expect(span([])).toBeNull();
  });
});
