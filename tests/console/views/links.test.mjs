/** What the page shows is in its link: whoever opens it sees the same, and the back button goes back. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DAY, END, START, demo } from "../harness/demo.mjs";
import { open, settled } from "../harness/pages.mjs";

/** Everything that a page shows: text, what is in fields, what is pressed, and what pictures say. */
function shown(page) {
  return page.evaluate(() => {
    const of = (selector, value) => [...document.querySelectorAll(selector)].map(value);
    return {
      title: document.title,
      text: document.body.innerText,
      fields: of("select, input", (field) => (field.type === "checkbox" ? field.checked : field.value)),
      pressed: of('[aria-pressed="true"], [aria-current], [aria-sort]', (element) => element.textContent),
      pictures: of("[role=img], canvas", (element) => element.ariaLabel),
    };
  });
}

const button = (page, name, exact = true) => page.getByRole("button", { name, exact });

/** What is done in each view before its link is taken. */
const JOURNEYS = {
  overview: {
    path: `/?${DAY}`,
    async act({ page, answered }) {
      await answered("/api/v1/compare", () =>
        page
          .getByRole("region", { name: "What changed most" })
          .getByRole("combobox")
          .selectOption("retransmits"),
      );
      await addFilter(page, "either_workload", "products");
    },
  },
  map: {
    path: `/map?${DAY}`,
    async act({ page, answered }) {
      await page.getByLabel("Colour by").selectOption("rtt");
      await page.locator(".edge-list.hot button").first().click();
      await settled(page);
      await page.locator(".map-panel h2 button").first().click();
      await button(page, "Neighbours alone").click();
      await answered("/api/v1/service-map", () => button(page, "Show pods").click());
      await page.getByLabel("Find workloads").fill("prod");
      await button(page, "List").click();
    },
  },
  flows: {
    path: `/flows?${DAY}`,
    async act({ page, answered }) {
      const flows = "/api/v1/flows";
      await answered(flows, () => page.getByRole("button", { name: "All", exact: true }).click());
      await answered(flows, () =>
        page.getByRole("columnheader", { name: "RTT p95" }).getByRole("button").click(),
      );
      await page.getByLabel("Rows shown").selectOption("25");
      await settled(page);
      await addFilter(page, "either_namespace", "shop");
      await page.locator('[data-row="1"]').click();
    },
  },
  performance: {
    path: `/performance?${DAY}`,
    async act({ page }) {
      await page.getByRole("combobox", { name: /^Node/ }).selectOption("node-a2");
    },
  },
  promql: {
    path: `/explore?${DAY}`,
    async act({ page }) {
      await page.getByLabel("Examples").selectOption({ label: "Bytes sent by workload" });
      await settled(page);
      await page.getByLabel("Step").selectOption("30s");
    },
  },
  sql: {
    path: `/explore?${DAY}`,
    async act({ page }) {
      await button(page, "SQL").click();
      await page.getByLabel("Examples").selectOption({ label: "Retransmits a minute, by workload" });
      await settled(page);
      await page.getByRole("group", { name: "Result as" }).getByRole("button", { name: "Chart" }).click();
    },
  },
  sankey: {
    path: `/explore?${DAY}`,
    async act({ page }) {
      await button(page, "Sankey").click();
      await settled(page);
      await button(page, "+ Dimension").click();
      await settled(page);
      await page.getByLabel("Width").selectOption("connects");
    },
  },
};

async function addFilter(page, field, value) {
  await button(page, "+ Filter").click();
  await page.locator(".filter-form select").first().selectOption(field);
  await page.getByRole("combobox", { name: "Value" }).fill(value);
  await page.getByRole("combobox", { name: "Value" }).press("Enter");
  await settled(page);
}

for (const [name, { path, act }] of Object.entries(JOURNEYS)) {
  test(`a link to what was made of ${name} shows the same, and back leads to where it began`, async () => {
    const here = await open(demo, path);
    await here.settled();
    const before = await shown(here.page);
    await act(here);
    await here.settled();
    await editorIs(here.page);
    // What has the pointer or the focus is not part of the state.
    await here.page.mouse.move(0, 0);
    const wanted = await shown(here.page);
    assert.notDeepEqual(wanted, before, "something was done");
    const there = await open(demo, here.link());
    await there.settled();
    await editorIs(there.page);
    assert.deepEqual(await shown(there.page), wanted);
    await there.end();
    for (let steps = 0; here.link() !== path && steps < 20; steps++) await here.page.goBack();
    assert.equal(here.link(), path);
    await here.settled();
    await editorIs(here.page);
    assert.deepEqual(await shown(here.page), before);
    await here.end();
  });
}

/** The editor's chunk comes after the page. */
async function editorIs(page) {
  if (new URL(page.url()).pathname !== "/explore") return;
  await page.waitForFunction(() => document.querySelector(".editor, .sankey, .empty") !== null);
  await page.waitForFunction(() => document.querySelector(".editor textarea") === null);
}

test("the time range goes along from view to view, and so do filters", async () => {
  const {
    page,
    says,
    settled: is,
    end,
  } = await open(demo, `/?${DAY}&f=${encodeURIComponent('either_workload="orders"')}`);
  await is();
  for (const [view, path] of [
    ["Map", "/map"],
    ["Flows", "/flows"],
    ["Metrics", "/performance"],
    ["Explore", "/explore"],
    ["Overview", "/"],
  ]) {
    await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: view }).click();
    await page.waitForURL((url) => url.pathname === path);
    await says("from", new URLSearchParams(DAY).get("from"));
    await says("f", 'either_workload="orders"');
    assert.match(await page.title(), new RegExp(`^${view} · Weir$`));
    assert.equal(await page.locator('nav [aria-current="page"]').innerText(), view);
    await is();
  }
  await end();
});

test("the time range is chosen, written, moved and pinned", async () => {
  const { page, says, param, settled: is, end } = await open(demo, "/flows");
  await is();
  const choice = page.locator(".time-choice > button");
  assert.equal(await choice.innerText(), "Last hour");
  await choice.click();
  await button(page, "Last 15 minutes").click();
  await says("from", "now-15m");
  assert.equal(await choice.innerText(), "Last 15 minutes");

  await choice.click();
  const dialog = page.getByRole("dialog", { name: "Time range" });
  await dialog.getByLabel("From").fill("yesterday");
  await dialog.getByRole("button", { name: "Apply" }).click();
  assert.match(await dialog.getByRole("alert").innerText(), /“yesterday” is no time/);
  await dialog.getByLabel("From").fill("now-1h30m");
  await dialog.getByLabel("To").fill("now-30m");
  await dialog.getByRole("button", { name: "Apply" }).click();
  await says("from", "now-1h30m");
  await says("to", "now-30m");

  await choice.click();
  await dialog.getByRole("button", { name: "Pin" }).click();
  await page.waitForFunction(() => new URL(location.href).searchParams.get("from")?.endsWith("Z"));
  const [from, to] = [Date.parse(param("from")), Date.parse(param("to"))];
  assert.equal(to - from, 3_600_000);
  const pinned = param("from");
  await button(page, "Earlier").click();
  await says("to", pinned);
  assert.equal(Date.parse(param("from")), from - 3_600_000);
  await button(page, "Later").click();
  await page.waitForFunction(
    (at) => Date.parse(new URL(location.href).searchParams.get("from")) === at,
    from,
  );
  await end();
});

test("what is drawn over a chart becomes the time range", async () => {
  const { page, param, settled: is, end } = await open(demo, `/?${DAY}`);
  await is();
  const over = page.locator(".measure .u-over").first();
  const box = await over.boundingBox();
  await page.mouse.move(box.x + box.width * 0.25, box.y + 20);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.75, box.y + 30, { steps: 5 });
  await page.mouse.up();
  const half = (END - START) / 2;
  await page.waitForFunction((length) => {
    const { searchParams } = new URL(location.href);
    const drawn = (Date.parse(searchParams.get("to")) - Date.parse(searchParams.get("from"))) / 1000;
    return Math.abs(drawn - length) < length * 0.1;
  }, half);
  assert.ok(Math.abs(Date.parse(param("from")) / 1000 - (START + half / 2)) < half * 0.1);
  await end();
});

for (const [path, said] of [
  ["/flows?from=abc&to=now", /time range of this link cannot be read: “abc” is no time/],
  ["/?from=now&to=now-1h", /the range ends before it starts/],
  [`/flows?${DAY}&view=none&limit=7&order=nothing&cols=what&row=x`, null],
  [`/flows?${DAY}&by=nothing`, /The server answered 400.*nothing/s],
  [`/flows?${DAY}&f=nonsense&f=${encodeURIComponent('nothing="x"')}`, /The server answered 400.*nothing/s],
  [`/map?${DAY}&hops=99&share=abc&edge=x&focus=none&colour=none&expand=none&show=none`, null],
  [`/performance?${DAY}&node=none&workload=none`, /No samples for this selection/],
  [`/explore?${DAY}&lang=none&step=abc&show=none`, /Write an expression/],
  [`/explore?${DAY}&q=up%7B`, /The server answered 400/],
  [`/explore?${DAY}&lang=sankey&dims=none&measure=none`, null],
]) {
  test(`a link that is wrong is no reason to fail: ${decodeURIComponent(path.replace(DAY, ""))}`, async () => {
    const { page, settled: is, end } = await open(demo, path, { expected: [/400 \(Bad Request\)/] });
    await is();
    if (said === null) assert.equal(await page.getByRole("alert").count(), 0);
    else assert.match(await page.locator("main").innerText(), said);
    await end();
  });
}

test("there is no page at other paths", async () => {
  const response = await fetch(`${demo.url}/nothing`);
  assert.equal(response.status, 404);
});
