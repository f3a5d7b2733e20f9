/** The overview: its numbers are the API's, and those of what was sent. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { again, ask, number, sql } from "../harness/api.mjs";
import { DAY, LATE, RANGE, demo } from "../harness/demo.mjs";
import { API, END, HOUR, MINUTES, S3, START, VISITORS, history } from "../harness/history.mjs";
import { close, exact, rounded, shows } from "../harness/numbers.mjs";
import { open } from "../harness/pages.mjs";

const title = (page, selector) => page.locator(selector).getAttribute("title");

test("the number of each card is that of what was sent", async () => {
  const { page, settled, end } = await open(history, `/?${HOUR}`);
  await settled();
  const headline = async (key) => exact(await title(page, `[data-headline="${key}"]`));
  const bytes = MINUTES * (API.bytes + S3.bytes + VISITORS.bytes);
  close(await headline("traffic"), (8 * bytes) / 3600, "traffic");
  const packets = API.tx_packets + API.server_tx_packets + S3.tx_packets + VISITORS.tx_packets;
  close(await headline("retransmits"), (API.retransmits + API.server_retransmits) / packets, "retransmits");
  close(await headline("timeouts"), MINUTES * (API.timeouts + API.server_timeouts), "timeouts");
  close(await headline("failures"), MINUTES * API.connect_failures, "failures");
  close(await headline("connects"), MINUTES * (API.connects + S3.connects), "connects");
  const p95 = "histogram_quantile(0.95, sum by (le) (increase(flow_rtt_seconds_bucket[1h])))";
  close(await headline("rtt"), await number(history, p95, END), "rtt");
  // What is read without a pointer is the same, rounded.
  for (const key of ["traffic", "retransmits", "rtt", "timeouts", "failures", "connects"]) {
    shows(await page.locator(`[data-headline="${key}"]`).innerText(), await headline(key), key);
  }
  await end();
});

test("a chart draws what the API answers", async () => {
  const { page, settled, asked, end } = await open(demo, `/?${DAY}`);
  await settled();
  const requests = asked.filter((request) => request.url().includes("/api/v1/query_range"));
  // Six cards, one of them with three lines, and one question for all headlines.
  assert.equal(requests.length, 9);
  const own = requests.filter((one) => !one.url().includes("label_replace"));
  for (const [key, name] of [
    ["retransmits", "Retransmit rate"],
    ["timeouts", "Timeouts"],
  ]) {
    const request = own.find((one) => decodeURIComponent(one.url()).includes(`flow_${key}_total`));
    const { data } = await again(demo, request);
    const values = data.result[0].values.filter(([at]) => at > RANGE.start).map(([, value]) => Number(value));
    const known = values.filter(Number.isFinite);
    assert.ok(known.length > 10, `${name} has values`);
    const said = await page.getByRole("img", { name: new RegExp(`^${name}\\.`) }).getAttribute("aria-label");
    const [, last, highest] = /; [^:]+: last (.+), highest (.+)$/.exec(said);
    shows(last, known.at(-1), `${name}, last: ${said}`);
    shows(highest, Math.max(...known), `${name}, highest: ${said}`);
  }
  // It is drawn: of the canvas more than a few pixels have the colour of the line.
  const inked = await page.locator(".measure canvas").evaluateAll((all) =>
    all.map((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.filter((_, i) => i % 4 === 3 && data[i] > 0).length;
    }),
  );
  assert.equal(inked.length, 6);
  for (const pixels of inked) assert.ok(pixels > 2000, `${inked}`);
  await end();
});

test("what changed most is the API's comparison, and leads to the flow table", async () => {
  const { page, settled, answered, says, end } = await open(demo, `/?${LATE}`);
  await settled();
  const region = page.getByRole("region", { name: "What changed most" });
  const response = await answered("/api/v1/compare", () =>
    region.getByRole("combobox").selectOption("retransmits"),
  );
  await says("movers", "retransmits");
  const { data } = await again(demo, response.request());
  assert.ok(data.rows.length >= 5, "rows");
  const rows = page.locator(".movers tbody tr");
  assert.equal(await rows.count(), data.rows.length);
  for (const [i, row] of data.rows.entries()) {
    const cells = await rows.nth(i).locator("td.number").allInnerTexts();
    shows(cells[0], row.before[0], `before of row ${i}`);
    shows(cells[1], row.now[0], `now of row ${i}`);
    shows(cells[2], row.change[0], `change of row ${i}`);
    const [namespace, workload] = row.labels;
    assert.equal(await rows.nth(i).locator("th").innerText(), `${namespace}/${workload}`);
  }
  // The incident is what changed most.
  assert.match(await rows.first().innerText(), /products|orders/);
  await rows.first().locator("a").click();
  await page.waitForURL("**/flows?*");
  await settled();
  assert.equal(await page.locator("[data-row]").count(), 1);
  await end();
});

test("the health of the measurement is the API's", async () => {
  const { page, settled, end } = await open(demo, `/?${DAY}`);
  await settled();
  const health = await ask(demo, "/api/v1/completeness", RANGE);
  assert.equal(health.agents.length, 3);
  const silent = health.agents.filter((agent) => agent.silent).length;
  assert.equal(await page.locator('[data-fact="agents"]').innerText(), `${3 - silent} of 3`);
  shows(await page.locator('[data-fact="ratio"]').innerText(), health.ratio, "complete");
  const tables = page.locator(".health tbody tr");
  assert.equal(await tables.count(), health.storage.length);
  for (const { table, rows, rows_in_memory } of health.storage) {
    const cells = tables.filter({ has: page.getByText(table, { exact: true }) }).locator("td");
    shows(await cells.first().innerText(), rows + rows_in_memory, `rows of ${table}`);
    const title = `${rows.toLocaleString("en")} in files, ${rows_in_memory.toLocaleString("en")} in memory`;
    assert.equal(await cells.first().getAttribute("title"), title);
    // The demo keeps for 30 days, as a server does unless told otherwise.
    assert.equal(await cells.last().innerText(), "30 d");
  }
  const { rows } = await sql(demo, "SELECT count(*) FROM flows");
  const flows = tables.filter({ has: page.getByText("flows", { exact: true }) }).locator("td");
  shows(await flows.first().innerText(), rows[0][0], "rows of flows");
  await end();
});

test("a filter narrows every number", async () => {
  const filter = encodeURIComponent('either_workload="api"');
  const { page, settled, end } = await open(history, `/?${HOUR}&f=${filter}`);
  await settled();
  const headline = async (key) => exact(await title(page, `[data-headline="${key}"]`));
  close(await headline("traffic"), (8 * MINUTES * API.bytes) / 3600, "traffic");
  close(await headline("connects"), MINUTES * API.connects, "connects");
  assert.ok(rounded(await page.locator('[data-headline="timeouts"]').innerText()).value === 240);
  assert.match(await page.locator(".movers").innerText(), /shop\/web/);
  assert.ok(START < END);
  await end();
});
