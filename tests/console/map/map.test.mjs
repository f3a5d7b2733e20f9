/** The map on generated answers: what it shows, what is in the link, keys, and access. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { large, shop } from "./generate.mjs";
import { serve } from "./stand-in.mjs";

const need = createRequire(`${process.env.CONSOLE_TESTS}/`);
const { chromium } = need("playwright-core");
const AXE = need.resolve("axe-core/axe.min.js");
const ORDERS = "workload:shop/orders/Deployment";
const PRODUCTS = "workload:shop/products/Deployment";
const EDGE = `edge=${encodeURIComponent(`${ORDERS}→${PRODUCTS}`)}`;

let browser;
let small;
let big;
before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
  });
  small = await serve();
  big = await serve(large());
});
after(async () => {
  await browser.close();
  small.end();
  big.end();
});

/** A page that fails the test by any error of its own. */
async function on(server, query, options = {}) {
  const { width = 1400, height = 900, scheme = "light" } = options;
  const page = await browser.newPage({
    viewport: { width, height },
    colorScheme: scheme,
    reducedMotion: "reduce",
  });
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await page.goto(`${server.url}/map?${query}`);
  await page.locator("canvas, .map-list").first().waitFor();
  return {
    page,
    param: (name) => new URL(page.url()).searchParams.get(name),
    /** Waits until the link says so: the page writes it after it has drawn. */
    is: (name, value) =>
      page
        .waitForFunction(
          ([name, value]) => new URL(window.location.href).searchParams.get(name) === value,
          [name, value],
          { timeout: 10_000 },
        )
        .catch(() => assert.equal(new URL(page.url()).searchParams.get(name), value, name)),
    end: async () => {
      assert.deepEqual(errors, []);
      await page.close();
    },
  };
}

const exact = (title) => Number(title.replace(/[^\d.]/g, ""));

test("the list and the summary have every node and edge of the answer", async () => {
  const { page, end } = await on(small, "show=list");
  const { nodes, edges } = shop();
  assert.equal(await page.locator('[data-list="edges"] tr').count(), edges.length);
  assert.equal(await page.locator('[data-list="nodes"] tr').count(), nodes.length);
  await page.getByRole("button", { name: "Map", exact: true }).click();
  const said = await page.locator("canvas").getAttribute("aria-label");
  assert.match(said, new RegExp(`${nodes.length} nodes, ${edges.length} connections`));
  assert.match(said, /worst shop\/orders → shop\/products with 3\.4\d %/);
  await end();
});

test("the incident is first among what is high, and its panel names the pod", async () => {
  const { page, is, end } = await on(small, "");
  await page.locator(".edge-list.hot button").first().click();
  await is("edge", `${ORDERS}→${PRODUCTS}`);
  const wanted = shop().edges.find((edge) => edge.source === ORDERS && edge.target === PRODUCTS);
  for (const measure of ["bytes", "tx_packets", "retransmits", "timeouts"]) {
    const title = await page.locator(`[data-measure="${measure}"]`).getAttribute("title");
    assert.equal(exact(title), wanted[measure], measure);
  }
  const verdict = /^▲ Packets were lost from client to server, at server pod products-6d9f7c-m5vtb on node-3/;
  assert.match(await page.locator(".finding").innerText(), verdict);
  assert.equal(await page.locator(".pod-table tbody tr").count(), 6);
  await page.keyboard.press("Escape");
  await is("edge", null);
  await end();
});

test("a click on an edge and on a card of the picture opens it", async () => {
  const { page, is, param, end } = await on(small, `${EDGE}`);
  await page.locator(".map-panel .link").first().click();
  await is("node", ORDERS);
  await page.getByRole("button", { name: "Close" }).click();
  const canvas = page.locator("canvas");
  const box = await canvas.boundingBox();
  // Somewhere along a scan of the picture there is a card, and somewhere an edge.
  const seen = { node: false, edge: false };
  for (let i = 1; i < 30 && !(seen.node && seen.edge); i++) {
    await page.mouse.click(box.x + box.width * 0.6, box.y + (box.height * i) / 30);
    await page.waitForTimeout(30);
    if (param("node")) seen.node = true;
    if (param("edge")) seen.edge = true;
  }
  assert.deepEqual(seen, { node: true, edge: true });
  await end();
});

test("focus, hops, pods, namespaces, colour and search are in the link and come back from it", async () => {
  const { page, is, end } = await on(small, `node=${encodeURIComponent(ORDERS)}`);
  await page.getByRole("button", { name: "Neighbours alone" }).click();
  await is("focus", ORDERS);
  const summary = () => page.locator("canvas").getAttribute("aria-label");
  const near = new Set(
    shop()
      .edges.filter((e) => [e.source, e.target].includes(ORDERS))
      .flatMap((e) => [e.source, e.target]),
  );
  await page.waitForFunction(
    (text) => document.querySelector("canvas").ariaLabel.includes(text),
    `${near.size} nodes`,
  );
  await page.getByLabel("One hop more").click();
  await is("hops", "2");
  await page.getByLabel("Colour by").selectOption("rtt");
  await is("colour", "rtt");
  await page.getByLabel("Find workloads").fill("post");
  await is("find", "post");
  await page.getByRole("button", { name: "Show everything" }).click();
  await page.getByRole("button", { name: "Namespaces" }).click();
  await page.getByLabel("monitoring").uncheck();
  await is("hide", "monitoring");
  const all = shop();
  await page.waitForFunction(
    (text) => document.querySelector("canvas").ariaLabel.includes(text),
    `${all.nodes.length - 1} nodes`,
  );
  const before = await summary();
  const again = await on(small, new URL(page.url()).search.slice(1));
  assert.equal(await again.page.locator("canvas").getAttribute("aria-label"), before);
  await again.end();
  await page.goto(`${small.url}/map?node=${encodeURIComponent(PRODUCTS)}`);
  await page.getByRole("button", { name: "Show pods" }).click();
  await is("expand", "shop/products");
  await page.waitForFunction(
    (text) => document.querySelector("canvas").ariaLabel.includes(text),
    `${all.nodes.length + 2} nodes`,
  );
  await end();
});

test("arrow keys walk along connections, Enter opens, Escape closes", async () => {
  const { page, is, end } = await on(small, "");
  await page.locator("canvas").focus();
  const said = page.locator(".map-place [role=status]");
  await page.keyboard.press("ArrowRight");
  const first = await said.innerText();
  assert.match(first, /sent .*, received .*, client of/);
  await page.keyboard.press("ArrowRight");
  await page.waitForFunction(
    (first) => document.querySelector(".map-place [role=status]").innerText !== first,
    first,
  );
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => new URL(window.location.href).searchParams.get("node") !== null);
  await page.locator("canvas").focus();
  await page.keyboard.press("Escape");
  await is("node", null);
  await end();
});

test("the picture of one answer is the same each time, to the pixel", async () => {
  const shot = async () => {
    const { page, end } = await on(small, "");
    await page.waitForTimeout(800);
    const png = await page.locator("canvas").screenshot();
    await end();
    return png;
  };
  assert.ok((await shot()).equals(await shot()));
});

test("a map of 500 workloads and 5,000 edges is drawn, all of it or what can be read", async () => {
  const { page, end } = await on(big, "");
  const said = await page.locator("canvas").getAttribute("aria-label");
  assert.match(said, /500 nodes, 5000 connections, 3\d\d drawn/);
  await end();
  const all = await on(big, "share=0");
  assert.match(await all.page.locator("canvas").getAttribute("aria-label"), /5000 drawn/);
  await all.end();
});

for (const [scheme, width, query] of [
  ["light", 1400, ""],
  ["dark", 1400, EDGE],
  ["light", 390, ""],
  ["dark", 390, "show=map"],
]) {
  test(`nothing serious stands in the way of access: ${scheme}, ${width} pixels, ${query === "" ? "plain" : query.slice(0, 8)}`, async () => {
    const { page, end } = await on(small, query, { scheme, width });
    await page.waitForTimeout(500);
    // The policy of contents admits no script of ours: it is evaluated, as a debugger would.
    await page.evaluate(readFileSync(AXE, "utf8"));
    const found = await page.evaluate(async () =>
      (await window.axe.run()).violations
        .filter((v) => ["serious", "critical"].includes(v.impact))
        .map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 140)).join(" | ")}`),
    );
    assert.deepEqual(found, []);
    if (width === 390) {
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(wide <= 0, `the page is ${wide} pixels too wide`);
      if (query === "") assert.ok(await page.locator(".map-list").isVisible(), "the list comes first");
    }
    await end();
  });
}
