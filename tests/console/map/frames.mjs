// Frames a second of the map while it is panned and zoomed, out of Chromium's own trace.
//
//   tests/console/map/check frames [WORKLOADS EDGES]        default 500 5000, every edge drawn
//
// A frame is one that the compositor drew (`DrawFrame`) while the input went on, 125 times a second for 4 s. The command
// fails below 30.
import { createRequire } from "node:module";
import { large } from "./generate.mjs";
import { serve } from "./stand-in.mjs";

const { chromium } = createRequire(`${process.env.CONSOLE_TESTS}/`)("playwright-core");
const [workloads, edges] = [Number(process.argv[2] ?? 500), Number(process.argv[3] ?? 5000)];
const LEAST = 30;

const server = await serve(large(workloads, edges));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
});
let worst = Number.POSITIVE_INFINITY;
try {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  await page.goto(`${server.url}/map?share=0`);
  const canvas = page.locator("canvas");
  await canvas.waitFor();
  await page.waitForTimeout(2500);
  const box = await canvas.boundingBox();
  const middle = { x: box.x + box.width / 2, y: box.y + box.height / 2 };
  console.log(`${await canvas.getAttribute("aria-label")}`);

  async function measure(name, act) {
    await page.mouse.move(middle.x, middle.y);
    await browser.startTracing(page, {
      categories: [
        "devtools.timeline",
        "disabled-by-default-devtools.timeline",
        "disabled-by-default-devtools.timeline.frame",
      ],
    });
    await act();
    const trace = JSON.parse((await browser.stopTracing()).toString());
    const inputs = trace.traceEvents.filter(
      (e) => e.name === "EventDispatch" && /pointermove|mousemove|wheel/.test(e.args?.data?.type ?? ""),
    );
    const from = Math.min(...inputs.map((e) => e.ts));
    const to = Math.max(...inputs.map((e) => e.ts));
    const frames = trace.traceEvents
      .filter((e) => e.name === "DrawFrame" && e.ts >= from && e.ts <= to)
      .map((e) => e.ts)
      .sort((a, b) => a - b);
    const gaps = frames
      .slice(1)
      .map((ts, i) => (ts - frames[i]) / 1000)
      .sort((a, b) => a - b);
    const rate = (frames.length - 1) / ((to - from) / 1e6);
    worst = Math.min(worst, rate);
    const p95 = gaps[Math.floor(gaps.length * 0.95)] ?? Number.NaN;
    console.log(
      `${name}: ${rate.toFixed(1)} frames/s over ${((to - from) / 1e6).toFixed(1)} s (${frames.length} frames, 95 % within ${p95.toFixed(0)} ms)`,
    );
  }

  // As a hand does: at its own pace, whether or not the page has shown the last one yet. Playwright's own calls wait for
  // that, so that no more than every other frame would have anything to show.
  const input = await page.context().newCDPSession(page);
  const PACE = 8;
  async function inputs(count, one) {
    const sent = [];
    const begun = performance.now();
    for (let i = 0; i < count; i++) {
      sent.push(input.send("Input.dispatchMouseEvent", { ...middle, ...one(i) }));
      await new Promise((resolve) => setTimeout(resolve, begun + (i + 1) * PACE - performance.now()));
    }
    await Promise.all(sent);
  }
  const pressed = { type: "mouseMoved", button: "left", buttons: 1 };

  await measure("pan", async () => {
    await page.mouse.down();
    await inputs(500, (i) => ({
      ...pressed,
      x: middle.x + 320 * Math.sin(i / 40),
      y: middle.y + 160 * Math.sin(i / 26),
    }));
    await page.mouse.up();
  });
  await measure("zoom", () =>
    inputs(500, (i) => ({ type: "mouseWheel", deltaX: 0, deltaY: i % 160 < 80 ? -20 : 20 })),
  );
} finally {
  await browser.close();
  server.end();
}
console.log(`least ${worst.toFixed(1)} frames/s, wanted ${LEAST}`);
process.exitCode = worst >= LEAST ? 0 : 1;
