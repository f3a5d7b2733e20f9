/** What is shown when there is nothing, nobody, no end or no admission. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { isAccessible } from "../harness/access.mjs";
import { sql } from "../harness/api.mjs";
import { PATIENCE, open, settled } from "../harness/pages.mjs";
import { start } from "../harness/server.mjs";

const AWAY = [
  /ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET|ERR_INCOMPLETE_CHUNKED_ENCODING/,
];
const READER = "3f9c77ab01d2e4c5";
const ENDLESS =
  "SELECT sum(a.value * b.value % 7) FROM generate_series(1, 10000000) a, generate_series(1, 10000000) b";

test("an empty store says what to do, in each view", async () => {
  const server = await start();
  try {
    for (const [path, said] of [
      ["/", /No traffic in either period.*weir-agent --server http:/s],
      ["/map", /No flows in this time range.*weir-agent --server http:/s],
      ["/flows", /No flows in this range.*weir-agent --server http:/s],
      ["/flows?view=external", /No flows in this range/],
      ["/performance", /No agent sent metrics/],
      ["/explore", /Write an expression/],
      ["/explore?q=flow_tx_bytes_total", /No series in this range/],
      ["/explore?q=flow_tx_bytes_total&show=table", /No series at/],
      ["/explore?lang=sql&q=SELECT%20*%20FROM%20flows", /No rows/],
      ["/explore?lang=sankey", /No flows in this range/],
    ]) {
      const { page, shot, end } = await open(server, path);
      await settled(page);
      assert.match(await page.locator("main").innerText(), said, path);
      assert.equal(await page.getByRole("alert").count(), 0, path);
      if (!path.includes("?")) await isAccessible(page, path);
      if (!path.includes("?")) await shot(`empty-${path.slice(1) || "overview"}`);
      await end();
    }
  } finally {
    await server.end();
  }
});

test("a server that goes away is missed, and what was shown stays until it is back", async () => {
  const port = Number(process.env.WEIR_FREE_PORT);
  let server = await start({ port });
  const { data } = server;
  const pages = [];
  for (const path of ["/", "/map", "/flows", "/performance", "/explore?q=vector(42)&show=table"]) {
    const one = await open(server, path, { expected: AWAY });
    await one.settled();
    pages.push(one);
  }
  await server.kill();
  for (const { page, shot } of pages) {
    await page.getByRole("button", { name: "Refresh now" }).click();
    await page.waitForTimeout(1100);
    await page.getByRole("button", { name: "Refresh now" }).click();
    const alert = page.getByRole("alert").first();
    await alert.waitFor();
    assert.match(
      await alert.innerText(),
      new RegExp(`No answer\\. the server at 127\\.0\\.0\\.1:${port} does not answer`),
    );
    await isAccessible(page, page.url());
    await shot(`away-${new URL(page.url()).pathname.slice(1) || "overview"}`);
  }
  const last = await pages.at(-1).page.locator("main").innerText();
  assert.match(last, /42/, "what was shown stays");
  assert.match(last, /What is shown is the answer before/);
  server = await start({ port, data });
  try {
    for (const { page, end } of pages) {
      await page.getByRole("button", { name: "Try again" }).first().click();
      await page.getByRole("button", { name: "Refresh now" }).click();
      await page.waitForTimeout(1100);
      await page.getByRole("button", { name: "Refresh now" }).click();
      await page
        .waitForFunction(() => document.querySelector(".failure") === null)
        .catch(async () => assert.fail(`${page.url()}: ${await page.locator(".failure").allInnerTexts()}`));
      await end();
    }
  } finally {
    await server.end();
  }
});

/** Waits until a server has computed for a fifth of a second; a tick is a hundredth of one (proc_pid_stat(5)). */
async function computes(server) {
  const before = server.spent();
  for (const end = Date.now() + PATIENCE; Date.now() < end; await after(50))
    if (server.spent() - before >= 20) return;
  assert.fail("the server does not compute");
}

/** Waits until a server computes no more. */
async function rests(server) {
  for (const end = Date.now() + PATIENCE; Date.now() < end;) {
    const before = server.spent();
    await after(400);
    if (server.spent() - before <= 2) return;
  }
  assert.fail("the server goes on computing");
}

const after = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

test("a query that does not end is cancelled, by its button or by leaving, and the server rests", async () => {
  const server = await start();
  try {
    const { page, shot, end } = await open(server, "/explore?lang=sql");
    const run = async () => {
      await page.locator(".cm-content").click();
      await page.keyboard.press("Control+a");
      await page.keyboard.press("Backspace");
      await page.keyboard.insertText(ENDLESS);
      const asked = page.waitForRequest(
        (request) => request.url().endsWith("/api/v1/sql") && request.postData().includes("10000000"),
      );
      await page.keyboard.press("Control+Enter");
      await asked;
      await computes(server);
      // Meanwhile it answers others.
      assert.deepEqual((await sql(server, "SELECT 1 AS one")).rows, [[1]]);
    };
    await run();
    await page.getByRole("button", { name: "Cancel" }).click();
    assert.match(await page.getByRole("alert").innerText(), /the query was cancelled/);
    await shot("cancelled");
    await rests(server);

    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByRole("button", { name: "Cancel" }).waitFor();
    await page.waitForTimeout(300);
    await page.getByRole("link", { name: "Overview", exact: true }).click();
    await settled(page);
    await rests(server);
    assert.deepEqual((await sql(server, "SELECT 1 AS one")).rows, [[1]]);
    await end();
  } finally {
    await server.end();
  }
});

test("a server behind tokens asks for one, refuses a wrong one, and takes a right one for all that follows", async () => {
  const tokens = `${process.env.TMPDIR ?? "/tmp"}/weir-console-tokens-${process.pid}`;
  writeFileSync(tokens, `agent ${"s".repeat(32)}\nreader ${READER}\n`, { mode: 0o600 });
  const server = await start({ options: ["--token-file", tokens] });
  try {
    const expected = [/401 \(Unauthorized\)/];
    const { page, asked, shot, end } = await open(server, "/flows", { expected });
    const dialog = page.getByRole("dialog", { name: "This server asks for a token" });
    await dialog.waitFor();
    await isAccessible(page, "the dialog");
    await shot("token");
    await page.keyboard.type("guessed");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() =>
      /wrong|unknown|not/.test(document.querySelector(".token-said").textContent),
    );
    assert.ok(await dialog.isVisible());
    await dialog.getByLabel("Token").fill(READER);
    await dialog.getByRole("button", { name: "Use token" }).click();
    await dialog.waitFor({ state: "hidden" });
    await settled(page);
    assert.match(await page.locator("main").innerText(), /No flows in this range/);
    // The token is in no link, and is kept for this tab alone.
    for (const request of asked) assert.doesNotMatch(request.url(), /3f9c|guessed/);
    await page.getByRole("link", { name: "Metrics" }).click();
    await settled(page);
    await page.reload();
    await settled(page);
    assert.match(await page.locator("main").innerText(), /No agent sent metrics/);
    assert.equal(await dialog.isVisible(), false);
    await page.getByRole("link", { name: "Explore" }).click();
    await page.locator(".cm-content").waitFor();
    await end();
  } finally {
    await server.end();
  }
});
