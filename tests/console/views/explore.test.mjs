/** Explore: PromQL and SQL are run, completed and shown as the API answers, and the diagram's streams are its sums. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { again, instant, sql } from "../harness/api.mjs";
import { DAY, END as DEMO_END, demo } from "../harness/demo.mjs";
import { API, END, HOUR, MINUTES, history } from "../harness/history.mjs";
import { close, shows } from "../harness/numbers.mjs";
import { open } from "../harness/pages.mjs";

/** Cells of the result: text, and the exact number of those that have one. */
const cells = (page) =>
  page
    .locator(".result tbody tr")
    .evaluateAll((all) => all.map((row) => [...row.cells].map((cell) => [cell.innerText, cell.title])));

async function write(page, text) {
  const editor = page.locator(".editor .cm-content");
  await editor.click();
  await page.keyboard.press("Control+a");
  // Chromium itself styles what is written over a selection, which the policy refuses and the editor undoes.
  await page.keyboard.press("Backspace");
  await page.keyboard.insertText(text);
}

test("an expression is written with completion, run by key, and shown as chart and table", async () => {
  const { page, settled, answered, says, end } = await open(demo, `/explore?${DAY}`);
  await page.locator(".editor .cm-content").click();
  await page.keyboard.type("flow_tx_by");
  const offered = page.locator(".cm-tooltip-autocomplete li");
  await offered.filter({ hasText: "flow_tx_bytes_total" }).waitFor();
  await page.keyboard.press("Escape");
  await write(page, "");
  await page.keyboard.type("weir_node_dr");
  await offered.filter({ hasText: "weir_node_drops_total" }).waitFor();
  await page.keyboard.press("Escape");

  const expression = "sum by (workload) (increase(flow_tx_bytes_total[5m]))";
  await write(page, expression);
  const response = await answered("/api/v1/query_range", () => page.keyboard.press("Control+Enter"));
  await says("q", expression);
  const { data } = await again(demo, response.request());
  const legend = await page
    .locator(".legend li")
    .evaluateAll((all) => all.map((one) => [...one.querySelectorAll("span")].map((span) => span.innerText)));
  assert.equal(legend.length, data.result.length);
  for (const { metric, values } of data.result) {
    const name = metric.workload === undefined ? "value" : `{workload="${metric.workload}"}`;
    const line = legend.find(([text]) => text === name);
    assert.ok(line, `${name} in ${JSON.stringify(legend)}`);
    shows(line[1], Math.max(...values.map(([, value]) => Number(value))), name);
  }

  assert.match(await page.locator(".provenance").innerText(), /^from flows(_5m|_1h)?$/);

  await answered("/api/v1/query", () => page.getByRole("button", { name: "Table" }).click());
  await says("show", "table");
  const samples = await instant(demo, expression, DEMO_END);
  const rows = await cells(page);
  assert.equal(rows.length, samples.length);
  for (const { metric, value } of samples) {
    const row = rows.find(([label]) => label[0] === (metric.workload ?? "–"));
    close(Number(row[1][1]), value, `${metric.workload}`);
    shows(row[1][0], value, `${metric.workload}`);
  }
  await page.getByRole("columnheader", { name: "value" }).getByRole("button").click();
  const sorted = (await cells(page)).map((row) => Number(row[1][1]));
  assert.deepEqual(
    sorted,
    sorted.toSorted((a, b) => b - a),
  );
  await settled();
  await end();
});

test("a statement is run, and its table and chart are the API's", async () => {
  const { page, answered, says, end } = await open(history, `/explore?${HOUR}&lang=sql`);
  const statement =
    'SELECT date_trunc(\'minute\', "end") AS minute, workload, sum(retransmits) AS again FROM flows WHERE "end" > $start AND "end" <= $end GROUP BY 1, 2 ORDER BY 1, 2';
  await write(page, statement);
  await answered("/api/v1/sql", () => page.getByRole("button", { name: "Run" }).click());
  await says("q", statement);
  const asked = statement
    .replace("$start", `to_timestamp(${END - 3600})`)
    .replace("$end", `to_timestamp(${END})`);
  const { rows } = await sql(history, asked);
  // Minutes of web and api; batch was silent for the last ones.
  assert.ok(rows.length > 2 * MINUTES, `${rows.length} rows`);
  const shown = await cells(page);
  assert.equal(shown.length, rows.length);
  for (const [i, row] of rows.entries()) {
    assert.deepEqual(
      shown[i].map(([text]) => text),
      row.map((cell) => (cell === null ? "–" : String(cell))),
      `row ${i}`,
    );
  }
  assert.equal(
    rows.filter(([, workload]) => workload === "web").reduce((sum, [, , again]) => sum + again, 0),
    MINUTES * API.retransmits,
  );
  await page.getByRole("group", { name: "Result as" }).getByRole("button", { name: "Chart" }).click();
  await says("show", "chart");
  const names = page.locator(".legend-name");
  await names.first().waitFor();
  assert.deepEqual((await names.allInnerTexts()).sort(), ["api", "batch", "web"]);
  await end();
});

test("columns of tables are offered in SQL", async () => {
  const { page, end } = await open(history, `/explore?${HOUR}&lang=sql`);
  const ready = page.waitForResponse((response) => response.url().includes("/api/v1/sql"));
  await page.locator(".editor .cm-content").click();
  await ready;
  await page.keyboard.type("SELECT flows.retr");
  const offered = page.locator(".cm-tooltip-autocomplete li");
  await offered.filter({ hasText: "retransmits_syn" }).waitFor();
  await page.keyboard.press("Escape");
  await end();
});

test("what is wrong with a question is said in the server's words", async () => {
  const expected = [/400 \(Bad Request\)/, /422/];
  const { page, end } = await open(history, `/explore?${HOUR}`, { expected });
  await write(page, "sum(rate(flow_tx_bytes_total[5m])");
  await page.keyboard.press("Control+Enter");
  const alert = page.getByRole("alert");
  await alert.waitFor();
  assert.match(await alert.innerText(), /The server answered 400/);
  await page.getByRole("button", { name: "SQL" }).click();
  await write(page, "SELECT nothing FROM nowhere");
  await page.keyboard.press("Control+Enter");
  await alert.waitFor();
  assert.match(await alert.innerText(), /nowhere/);
  // It goes away with the reason.
  await write(page, "SELECT 1 AS one");
  await page.keyboard.press("Control+Enter");
  await page.locator(".result td").waitFor();
  assert.equal(await alert.count(), 0);
  await end();
});

test("the diagram's streams and its table are the API's sums", async () => {
  const { page, settled, asked, says, answered, end } = await open(demo, `/explore?${DAY}&lang=sankey`);
  await settled();
  const compare = async (request) => {
    const { data } = await again(demo, request);
    const measure = data.columns.length - 1;
    const rows = await page
      .locator("details tbody tr")
      .evaluateAll((all) => all.map((row) => [...row.cells].map((cell) => cell.textContent.trim())));
    assert.equal(rows.length, data.rows.length);
    for (const [i, row] of data.rows.entries()) shows(rows[i][measure], row[measure], `row ${i}`);
    // Bars of the first dimension stand to the left, and are sums over its rows.
    const bars = await page
      .locator("svg rect")
      .evaluateAll((all) =>
        all
          .filter((bar) => bar.getAttribute("x") === "1")
          .map((bar) => bar.querySelector("title").textContent),
      );
    const names = new Set(data.rows.map(([first]) => first ?? "–"));
    assert.equal(bars.length, names.size);
    for (const name of names) {
      const of = data.rows.filter(([first]) => (first ?? "–") === name);
      const bar = bars.find((text) => text.startsWith(`${name}: `));
      assert.ok(bar, `${name} in ${bars}`);
      shows(
        /: (.+) \(/.exec(bar)[1],
        of.reduce((sum, row) => sum + row[measure], 0),
        bar,
      );
    }
  };
  await compare(asked.findLast((request) => request.url().includes("/api/v1/flows")));
  const response = await answered("/api/v1/flows", () => page.getByLabel("Width").selectOption("tx_packets"));
  await says("measure", "tx_packets");
  await compare(response.request());
  await end();
});
