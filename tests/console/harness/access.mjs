// What stands in the way of people who do not see, or do not use a mouse, by the rules of axe-core.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const AXE = readFileSync(
  createRequire(`${process.env.CONSOLE_TESTS}/`).resolve("axe-core/axe.min.js"),
  "utf8",
);

/** Fails by any finding that is serious or critical. */
export async function isAccessible(page, what) {
  // The policy of contents admits no script of ours: it is evaluated, as a debugger would.
  await page.evaluate(AXE);
  const found = await page.evaluate(async () =>
    (await window.axe.run()).violations
      .filter((one) => ["serious", "critical"].includes(one.impact))
      .map(
        (one) =>
          `${one.id}: ${one.nodes.map((n) => `${n.html.slice(0, 160)} ${n.failureSummary}`).join(" | ")}`,
      ),
  );
  assert.deepEqual(found, [], what);
}
