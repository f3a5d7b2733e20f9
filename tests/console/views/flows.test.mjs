/** The flow table: rows, totals, filters, exports and details, against the API and what was sent. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { again, instant, send, sql } from "../harness/api.mjs";
import { DAY, LATE, UNLUCKY, demo } from "../harness/demo.mjs";
import { API, END, HOUR, MINUTES, S3, VISITORS, history } from "../harness/history.mjs";
import { close, exact, shows } from "../harness/numbers.mjs";
import { open } from "../harness/pages.mjs";

const FLOWS = "/api/v1/flows";

/** The table of the page: labels as text, measures as exact numbers; and other and total. */
async function table(page) {
  return page.locator(".flow-table table").evaluate((element) => {
    const cells = (row) => ({
      labels: [...row.querySelectorAll('th[scope="row"], td:not(.number, .spark-cell)')].map(
        (cell) => cell.innerText,
      ),
      measures: [...row.querySelectorAll("td.number")].map((cell) => [
        cell.dataset.column,
        cell.title,
        cell.innerText,
      ]),
    });
    const sum = (kind) => {
      const row = element.querySelector(`[data-sum="${kind}"]`);
      return row === null ? null : cells(row);
    };
    return {
      rows: [...element.querySelectorAll("tbody tr")].map(cells),
      other: sum("other"),
      total: sum("total"),
    };
  });
}

/** The page shows an answer of the API, each cell of it. */
async function isShown(page, data, what) {
  const shown = await table(page);
  const labels = data.columns.flatMap(({ kind }, i) => (kind === "label" ? [i] : []));
  const measures = data.columns.flatMap(({ kind }, i) => (kind === "measure" ? [i] : []));
  const same = (row, cells, where) => {
    assert.equal(row.measures.length, measures.length, where);
    for (const [j, i] of measures.entries()) {
      const [name, title, text] = row.measures[j];
      assert.equal(name, data.columns[i].name);
      close(exact(title), cells[i], `${where}, ${name}`);
      shows(text, cells[i], `${where}, ${name}`);
    }
  };
  assert.equal(shown.rows.length, data.rows.length, what);
  for (const [r, cells] of data.rows.entries()) {
    assert.deepEqual(
      shown.rows[r].labels,
      labels.map((i) => cells[i] ?? "–"),
      `${what}, labels of row ${r}`,
    );
    same(shown.rows[r], cells, `${what}, row ${r}`);
  }
  same(shown.total, data.total, `${what}, total`);
  if (data.other === null) assert.equal(shown.other, null, what);
  else same(shown.other, data.other, `${what}, other`);
}

for (const [view, label, sent] of [
  ["cluster", "Cluster", API.bytes],
  ["cloud", "Cloud services", S3.bytes],
  ["external", "External", VISITORS.bytes],
  ["all", "All", API.bytes + S3.bytes + VISITORS.bytes],
]) {
  test(`the view ${view} has the API's rows and total, and what was sent`, async () => {
    const start = await open(history, `/flows?${HOUR}${view === "cluster" ? "&view=all" : ""}`);
    const { page, settled, answered } = start;
    await settled();
    const button = page
      .getByRole("group", { name: "Peers" })
      .getByRole("button", { name: label, exact: true });
    const response = await (view === "all"
      ? (async () => {
          await button.click();
          return start.answered(FLOWS, () => button.click().then(() => page.reload()));
        })()
      : answered(FLOWS, () => button.click()));
    await start.says("view", view === "cluster" ? null : view);
    const { params, data } = await again(history, response.request());
    assert.equal(params.view[0], view);
    await isShown(page, data, view);
    const bytes = data.columns.findIndex(({ name }) => name === "bytes");
    assert.equal(data.total[bytes], MINUTES * sent);
    assert.equal(
      await page.locator(".spark-cell svg, .spark-cell canvas").count(),
      data.rows.length + 1,
      "lines",
    );
    await start.end();
  });
}

test("rows beyond the limit are summed up, and their number is said", async () => {
  const { page, answered, end } = await open(demo, `/flows?${DAY}&limit=25`);
  const by = "pod,peer_pod,peer_port,peer_address";
  const response = await answered(FLOWS, () => page.goto(`${demo.url}/flows?${DAY}&limit=25&by=${by}`));
  const { data } = await again(demo, response.request());
  assert.ok(data.groups > 25 && data.other !== null, `${data.groups} groups`);
  await isShown(page, data, by);
  assert.match(
    await page.locator('[data-sum="other"] th').innerText(),
    new RegExp(`^other \\(${data.groups - 25} groups\\)$`),
  );
  assert.match(
    await page.locator('[data-sum="total"] th').innerText(),
    new RegExp(`^total \\(${data.groups} groups?\\)$`),
  );
  await end();
});

test("a click on a column's name sorts by it, another one the other way round", async () => {
  const { page, settled, answered, says, param, end } = await open(demo, `/flows?${LATE}`);
  await settled();
  const head = page.getByRole("columnheader", { name: "Client retransmits", exact: true });
  for (const [order, sort] of [
    ["-retransmits", "descending"],
    ["retransmits", "ascending"],
  ]) {
    const response = await answered(FLOWS, () => head.getByRole("button").click());
    await says("order", order);
    assert.equal(await page.locator("th[aria-sort]").count(), 1);
    assert.equal(await page.locator("th[aria-sort]").getAttribute("aria-sort"), sort);
    const { data } = await again(demo, response.request());
    await isShown(page, data, order);
    const column = data.columns.findIndex(({ name }) => name === "retransmits");
    const values = data.rows.map((row) => row[column]);
    const sorted = values.toSorted((a, b) => (sort === "descending" ? b - a : a - b));
    assert.deepEqual(values, sorted);
  }
  await page.goBack();
  await settled();
  assert.equal(param("order"), "-retransmits");
  await end();
});

test("a filter is added by keyboard alone with completion, negated and taken out", async () => {
  const { page, settled, answered, focused, says, end } = await open(history, `/flows?${HOUR}&view=all`);
  await settled();
  await page.getByRole("button", { name: "+ Filter" }).focus();
  await page.keyboard.press("Enter");
  assert.match(await focused(), /^input Value/);
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.type("peer w");
  assert.equal(await page.locator(".filter-form select").first().inputValue(), "peer_workload");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.type("ap");
  const offered = page.getByRole("listbox", { name: "Value" }).getByRole("option");
  await offered.filter({ hasText: /^api$/ }).waitFor();
  assert.deepEqual(await offered.allInnerTexts(), ["api"]);
  await page.keyboard.press("ArrowDown");
  assert.equal(await offered.first().getAttribute("aria-selected"), "true");
  await page.keyboard.press("Enter");
  assert.equal(await page.getByRole("combobox", { name: "Value" }).inputValue(), "api");
  let response = await answered(FLOWS, () => page.keyboard.press("Enter"));
  await says("f", 'peer_workload="api"');
  let { params, data } = await again(history, response.request());
  assert.deepEqual(params["match[]"], ['{peer_workload="api"}']);
  await isShown(page, data, "filtered");
  const bytes = () => data.total[data.columns.findIndex(({ name }) => name === "bytes")];
  assert.equal(bytes(), MINUTES * API.bytes);
  assert.match(await focused(), /^button \+ Filter/, "the focus is back at the button");

  response = await answered(FLOWS, () => page.getByRole("button", { name: /^Negate filter/ }).press("Enter"));
  await says("f", 'peer_workload!="api"');
  ({ params, data } = await again(history, response.request()));
  await isShown(page, data, "negated");
  assert.equal(bytes(), MINUTES * (S3.bytes + VISITORS.bytes));
  assert.match(await focused(), /^button Negate filter/, "the focus stays");

  await answered(FLOWS, () => page.getByRole("button", { name: /^Remove filter/ }).press("Enter"));
  await says("f", null);
  assert.match(await focused(), /^button \+ Filter/, "the focus goes to what stays");
  await end();
});

test("labels of groups and columns are chosen, moved and taken out", async () => {
  const { page, settled, answered, says, end } = await open(demo, `/flows?${LATE}`);
  await settled();
  await page.getByRole("button", { name: /^Group by/ }).click();
  const panel = page.getByRole("dialog", { name: "Group by" });
  await panel.getByRole("searchbox").fill("peer pod");
  await answered(FLOWS, () => panel.getByRole("button", { name: "+ peer pod" }).click());
  await says("by", "namespace,workload,peer_namespace,peer_workload,peer_pod");
  await answered(FLOWS, () => panel.getByRole("button", { name: "Take namespace out" }).click());
  await answered(FLOWS, () => panel.getByRole("button", { name: "Move peer pod up" }).click());
  await says("by", "workload,peer_namespace,peer_pod,peer_workload");
  await page.keyboard.press("Escape");
  assert.equal(await panel.count(), 0);
  await page.getByRole("button", { name: /^Columns/ }).click();
  const columns = page.getByRole("dialog", { name: "Columns" });
  const response = await answered(FLOWS, () =>
    columns.getByRole("button", { name: "Take Bytes out" }).click(),
  );
  await says(
    "cols",
    "retransmit_ratio,server_retransmit_ratio,retransmits,server_retransmits,timeouts,server_timeouts," +
      "lost_tx,lost_rx,drops,server_drops,connect_failures,rtt_p95",
  );
  const { params, data } = await again(demo, response.request());
  assert.equal(params.order[0], "-retransmit_ratio", "what is not shown does not sort");
  await isShown(page, data, "chosen");
  assert.ok((await table(page)).rows.some((row) => row.labels.includes(UNLUCKY)));
  await end();
});

test("the exported file is what the API gives", async () => {
  const { page, settled, end } = await open(demo, `/flows?${DAY}&limit=25&by=pod,peer_pod,peer_port`);
  const asked = page.waitForRequest((one) => one.url().includes("format=csv"));
  await settled();
  for (const format of ["CSV", "Parquet"]) {
    const file = page.waitForEvent("download");
    await page.getByRole("button", { name: "Export" }).click();
    await page.getByRole("dialog", { name: "Export" }).getByRole("button", { name: format }).click();
    const download = await file;
    assert.match(download.suggestedFilename(), new RegExp(`^flows-cluster-.*\\.${format.toLowerCase()}$`));
    const content = readFileSync(await download.path());
    if (format === "CSV") {
      const url = new URL((await asked).url());
      assert.equal(url.searchParams.get("limit"), "10000");
      const response = await send(demo, `${FLOWS}`, Object.fromEntries(url.searchParams));
      assert.equal(content.toString(), await response.text());
      const lines = content.toString().trim().split("\n");
      assert.match(lines[0], /^pod,peer_pod,peer_port,bytes,/);
      assert.ok(lines.length > 26, `${lines.length} lines: all groups, not those that are shown`);
    } else {
      assert.equal(content.subarray(0, 4).toString(), "PAR1");
      assert.equal(content.subarray(-4).toString(), "PAR1");
    }
    await page.getByRole("dialog", { name: "Export" }).waitFor({ state: "detached" });
  }
  await end();
});

test("what is copied gives the shown numbers when it is asked elsewhere", async () => {
  const { page, settled, answered, end } = await open(history, `/flows?${HOUR}&order=-retransmits`);
  const response = await answered(FLOWS, () => page.reload());
  await settled();
  const { data } = await again(history, response.request());
  const copied = async (name) => {
    await page.evaluate(() => navigator.clipboard.writeText(""));
    await page.getByRole("button", { name, exact: true }).click();
    const text = await page.waitForFunction(() => navigator.clipboard.readText());
    return text.jsonValue();
  };
  const statement = await copied("Copy as SQL");
  const { columns, rows } = await sql(history, statement);
  // SQL has no function for quantiles, and the other end's rows are not in the statement.
  const names = data.columns.map(({ name }) => name);
  const without = names.filter((name) => !/^(rtt_p|server_|lost_)/.test(name));
  assert.deepEqual(
    columns.map(({ name }) => name),
    without,
  );
  assert.equal(rows.length, data.rows.length);
  for (const [i, row] of rows.entries()) {
    for (const [j, cell] of row.entries()) {
      const shown = data.rows[i][names.indexOf(without[j])];
      if (typeof cell === "number") close(cell, shown, `${without[j]} of row ${i}`);
      else assert.equal(cell, shown);
    }
  }
  const samples = await instant(history, await copied("Copy as PromQL"), END);
  const column = data.columns.findIndex(({ name }) => name === "retransmits");
  const label = data.columns.findIndex(({ name }) => name === "peer_workload");
  assert.equal(samples.length, data.rows.length);
  for (const row of data.rows) {
    const sample = samples.find(({ metric }) => (metric.peer_workload ?? null) === row[label]);
    close(sample.value, row[column], `${row[label]}`);
  }
  assert.equal(data.rows[0][column], MINUTES * API.retransmits);
  await end();
});

test("a row's details have both ends' numbers, and Escape gives the focus back", async () => {
  const { page, settled, focused, says, param, end } = await open(history, `/flows?${HOUR}`);
  await settled();
  const first = page.locator('[data-row="0"]');
  await first.focus();
  await page.keyboard.press("Enter");
  const details = page.getByRole("complementary", { name: /shop\/web.*shop\/api/ });
  await details.waitFor();
  await settled();
  assert.match(await focused(), /^h2 shop\/web → shop\/api/);
  const line = async (name) => {
    const cells = details.getByRole("row", { name }).locator("td");
    return (await cells.evaluateAll((all) => all.map((cell) => cell.title))).map(exact);
  };
  const minutes = (...values) => values.map((value) => MINUTES * value);
  const { tx_packets, lost_tx, retransmits, timeouts, drops } = API;
  assert.deepEqual(
    await line("client → server"),
    minutes(tx_packets, tx_packets - lost_tx, lost_tx, retransmits, timeouts, drops),
  );
  const { server_tx_packets, lost_rx, server_retransmits, server_timeouts, server_drops } = API;
  const arrived = server_tx_packets - lost_rx;
  assert.deepEqual(
    await line("server → client"),
    minutes(server_tx_packets, arrived, lost_rx, server_retransmits, server_timeouts, server_drops),
  );
  assert.ok(param("row") !== null);
  const bytes = await details
    .getByRole("img", { name: /^Traffic|^Bytes|^Throughput/ })
    .first()
    .getAttribute("aria-label");
  assert.doesNotMatch(bytes, /no data/);
  await page.keyboard.press("Escape");
  await says("row", null);
  assert.match(await focused(), /^a shop/, "the row that was left");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await details.waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Close details" }).click();
  await says("row", null);
  await end();
});
