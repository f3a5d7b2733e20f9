/** The service map on the API's own answers; `map/map.test.mjs` has the picture itself, on generated ones. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { again, ask } from "../harness/api.mjs";
import { DAY, UNLUCKY, demo } from "../harness/demo.mjs";
import { API, END, HOUR, MINUTES, START, history } from "../harness/history.mjs";
import { close, exact, shows } from "../harness/numbers.mjs";
import { open } from "../harness/pages.mjs";

const MAP = "/api/v1/service-map";

/** A node as the page names it. */
function named({ kind, namespace, label, region }) {
  const own = kind === "cloud" && region !== null ? `${label} ${region}` : label;
  return namespace === null || kind === "namespace" ? own : `${namespace}/${own}`;
}

test("nodes and edges are the API's, in the list and in the summary of the picture", async () => {
  const { page, settled, asked, end } = await open(demo, `/map?${DAY}&show=list&share=0`);
  await settled();
  const { data } = await again(
    demo,
    asked.find((request) => request.url().includes(MAP)),
  );
  const names = new Map(data.nodes.map((node) => [node.id, named(node)]));
  const rows = (list) =>
    page
      .locator(`[data-list="${list}"] tr`)
      .evaluateAll((all) => all.map((row) => [...row.cells].map((cell) => cell.innerText.trim())));
  const edges = await rows("edges");
  assert.equal(edges.length, data.edges.length);
  for (const edge of data.edges) {
    const name = `${names.get(edge.source)} → ${names.get(edge.target)}`;
    const row = edges.find(([text]) => text === name);
    assert.ok(row, name);
    shows(row[2], edge.bytes, `bytes of ${name}`);
  }
  const nodes = await rows("nodes");
  assert.deepEqual(nodes.map(([name]) => name).sort(), [...names.values()].sort());
  for (const node of data.nodes) {
    const row = nodes.find(([name]) => name === named(node));
    shows(row[2], node.tx_bytes, `sent by ${row[0]}`);
    shows(row[3], node.rx_bytes, `received by ${row[0]}`);
  }
  await page.getByRole("button", { name: "Map", exact: true }).click();
  const said = await page.locator("canvas").getAttribute("aria-label");
  assert.match(
    said,
    new RegExp(`: ${data.nodes.length} nodes, ${data.edges.length} connections, ${data.edges.length} drawn`),
  );
  await end();
});

test("an edge has the numbers of what was sent, from both ends", async () => {
  const { page, settled, says, focused, end } = await open(history, `/map?${HOUR}`);
  await settled();
  await page.getByRole("button", { name: /shop\/web.*shop\/api/ }).click();
  await says("edge", "workload:shop/web/Deployment→workload:shop/api/Deployment");
  await settled();
  const title = (measure) => page.locator(`[data-measure="${measure}"]`).getAttribute("title");
  for (const measure of [
    "bytes",
    "tx_packets",
    "server_tx_packets",
    "retransmits",
    "server_retransmits",
    "lost_tx",
    "lost_rx",
    "timeouts",
    "server_timeouts",
    "connects",
    "connect_failures",
  ]) {
    assert.equal(exact(await title(measure)), MINUTES * API[measure], measure);
  }
  const { edges } = await ask(history, MAP, { start: START, end: END });
  const edge = edges.find(({ target }) => target.includes("/api/"));
  close(exact(await title("rtt_p95")), edge.rtt_p95, "RTT p95");
  assert.match(await page.locator(".map-panel").innerText(), /cross-zone 100 %/);
  assert.equal(await page.locator(".pod-table tbody tr").count(), 1);
  // What leads on has the same rows.
  await page.keyboard.press("Escape");
  await says("edge", null);
  assert.match(await focused(), /^canvas Service map/);
  await end();
});

test("the pod that loses packets is named, two clicks from the map", async () => {
  const { page, settled, end } = await open(demo, `/map?${DAY}`);
  await settled();
  await page.locator(".edge-list.hot button").first().click();
  await settled();
  const verdict = page.locator(".finding");
  // When it was, and why, is asked for once it is known that something was: which kernel dropped them, and for what.
  await verdict.filter({ hasText: /^▲ Packets were lost in both directions from [\d: -]+ to [\d: -]+,/ }).waitFor();
  await verdict.filter({ hasText: /The kernel of node-b1 dropped \d+ of its packets .*NETFILTER_DROP/ }).waitFor();
  assert.match(await verdict.innerText(), new RegExp(`, at server pod ${UNLUCKY} on node-b1:`));
  await end();
});

test("a click on a card and on a line of the picture opens them", async () => {
  const { page, settled, param, end } = await open(demo, `/map?${DAY}&share=0`);
  await settled();
  const canvas = page.locator("canvas");
  const place = await canvas.boundingBox();
  const seen = { node: false, edge: false };
  for (let column = 1; column < 10 && !(seen.node && seen.edge); column++) {
    for (let row = 1; row < 24 && !(seen.node && seen.edge); row++) {
      const at = { x: (place.width * column) / 10, y: (place.height * row) / 24 };
      // What is under the pointer says so before it is clicked.
      await canvas.hover({ position: at });
      if (!(await canvas.evaluate((element) => element.classList.contains("pointing")))) continue;
      const before = page.url();
      await canvas.click({ position: at });
      await page
        .waitForFunction((url) => window.location.href !== url, before, { timeout: 2000 })
        .catch(() => {});
      if (param("node") !== null) seen.node = true;
      if (param("edge") !== null) seen.edge = true;
    }
  }
  assert.deepEqual(seen, { node: true, edge: true });
  await end();
});

test("a workload is found, opened and shown pod by pod, and the link says all of it", async () => {
  const { page, settled, answered, says, focused, end } = await open(demo, `/map?${DAY}&share=0&show=list`);
  await settled();
  await page.getByLabel("Find workloads").fill("produ");
  await says("find", "produ");
  const nodes = page.locator('[data-list="nodes"] tr');
  await page.waitForFunction(() => document.querySelectorAll('[data-list="nodes"] tr').length === 1);
  await nodes.getByRole("button", { name: "shop/products" }).click();
  await says("node", "workload:shop/products/Deployment");
  const response = await answered(MAP, () => page.getByRole("button", { name: "Show pods" }).click());
  await says("expand", "shop/products");
  assert.match(await focused(), /^div Map as a list/, "the panel of the workload is gone, the focus is not");
  const { params, data } = await again(demo, response.request());
  assert.deepEqual(params.expand, ["shop/products"]);
  const pods = data.nodes.filter(({ kind }) => kind === "pod");
  assert.equal(pods.length, 3);
  await page.getByLabel("Find workloads").fill("");
  await says("find", null);
  for (const pod of pods)
    assert.equal(await nodes.getByRole("button", { name: named(pod), exact: true }).count(), 1);
  await end();
});

test("a map of 500 workloads and 5,000 connections is drawn from the API's answer", async () => {
  const { page, settled, end } = await open({ url: process.env.WEIR_LARGE_URL }, "/map?from=now-15m&share=0");
  await settled();
  const canvas = page.locator("canvas");
  await canvas.waitFor();
  assert.match(await canvas.getAttribute("aria-label"), /500 nodes, 5000 connections, 5000 drawn/);
  await page.goto(page.url().replace("&share=0", ""));
  await settled();
  assert.match(await canvas.getAttribute("aria-label"), /500 nodes, 5000 connections, [1-9]\d\d drawn/);
  await page.getByRole("button", { name: "List", exact: true }).click();
  assert.equal(await page.locator('[data-list="nodes"] tr').count(), 500);
  await end();
});

test("on a phone what is chosen is over the list, and the list is where it was afterwards", async () => {
  const { page, settled, says, focused, end } = await open(demo, `/map?${DAY}`, {
    width: 390,
    height: 844,
    phone: true,
  });
  await settled();
  const chosen = page.locator('[data-list="edges"] button').last();
  const name = await chosen.innerText();
  await chosen.tap();
  await settled();
  const heading = page.getByRole("complementary").getByRole("heading", { level: 2 });
  assert.ok((await heading.boundingBox()).y < 60, "the panel is on the screen");
  await page.getByRole("button", { name: "Close" }).tap();
  await says("edge", null);
  assert.equal(await focused(), `button ${name}`);
  const { y } = await chosen.boundingBox();
  assert.ok(y > 0 && y < 844, `the row is on the screen: ${y}`);
  await end();
});
