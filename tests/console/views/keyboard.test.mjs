/** The page without a mouse: everything is reached, what has the focus is seen, and it is never lost. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DAY, demo } from "../harness/demo.mjs";
import { open, settled } from "../harness/pages.mjs";

/** In the page: what Tab has to reach, and what it reached. Numbers stand for elements, in the order of the document. */
function reachable() {
  const all = [];
  const walk = (root) => {
    for (const element of root.querySelectorAll("*")) {
      if (element.shadowRoot) walk(element.shadowRoot);
      const can = element.matches(
        'a[href], button:not(:disabled), select, input, textarea, summary, [tabindex], [contenteditable="true"]',
      );
      if (!can || element.tabIndex < 0 || !element.checkVisibility({ visibilityProperty: true })) continue;
      all.push(element);
    }
  };
  walk(document);
  window.reachable = all;
  return all.map((element) =>
    `${element.tagName.toLowerCase()} ${element.ariaLabel ?? element.textContent}`.slice(0, 60),
  );
}

/** In the page: the number of what has the focus, and whether that is seen. */
function reached() {
  let element = document.activeElement;
  while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
  const outlined = (one) => {
    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(one);
    return (outlineStyle !== "none" && parseFloat(outlineWidth) >= 1) || boxShadow !== "none";
  };
  let seen = false;
  for (let one = element; one && !seen; one = one.parentElement) seen = outlined(one);
  const box = element?.getBoundingClientRect();
  return { at: window.reachable.indexOf(element), seen, inside: box !== undefined && box.width > 0 };
}

for (const [name, path] of [
  ["overview", `/?${DAY}&f=${encodeURIComponent('either_workload="orders"')}`],
  ["map", `/map?${DAY}`],
  ["map as a list", `/map?${DAY}&show=list`],
  [
    "flows",
    `/flows?${DAY}&row=${encodeURIComponent('namespace="shop"')}&row=${encodeURIComponent('workload="orders"')}`,
  ],
  ["metrics", `/performance?${DAY}`],
  ["explore", `/explore?${DAY}&q=flow_tx_bytes_total&show=table`],
  ["sankey", `/explore?${DAY}&lang=sankey`],
]) {
  test(`Tab reaches all of ${name}, and shows where it is`, async () => {
    const { page, end } = await open(demo, path);
    await settled(page);
    if (name === "explore") await page.locator(".cm-content").waitFor();
    const wanted = await page.evaluate(reachable);
    assert.ok(wanted.length > 15, `${wanted.length} of them`);
    await page.evaluate(() => document.activeElement?.blur());
    const found = new Set();
    for (let i = 0; i <= wanted.length; i++) {
      await page.keyboard.press("Tab");
      const { at, seen, inside } = await page.evaluate(reached);
      if (at === -1) continue;
      assert.ok(seen, `the focus is seen on ${wanted[at]}`);
      assert.ok(inside, `${wanted[at]} has a place`);
      found.add(at);
    }
    const missed = wanted.filter((_, i) => !found.has(i));
    assert.deepEqual(missed, []);
    await end();
  });
}

test("the first Tab offers to skip to the content", async () => {
  const { page, focused, end } = await open(demo, `/flows?${DAY}`);
  await settled(page);
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "a Skip to content");
  assert.ok(await page.getByRole("link", { name: "Skip to content" }).isVisible());
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  assert.match(await focused(), /^button \+ Filter/);
  await end();
});

test("panels open by Enter, close by Escape, and give the focus back", async () => {
  const { page, focused, end } = await open(demo, `/flows?${DAY}`);
  await settled(page);
  for (const [name, dialog] of [
    [/^Last|^\d\d/, "Time range"],
    [/^Group by/, "Group by"],
    [/^Columns/, "Columns"],
    [/^Export/, "Export"],
    [/^\+ Filter/, "New filter"],
  ]) {
    const opener =
      dialog === "Time range" ? page.locator(".time-choice > button") : page.getByRole("button", { name });
    await opener.focus();
    const before = await focused();
    await page.keyboard.press("Enter");
    const panel = page.getByRole("dialog", { name: dialog });
    await panel.waitFor();
    await page.keyboard.press("Tab");
    // The list of a field closes first, then the panel.
    for (let i = 0; i < 2 && (await panel.count()) > 0; i++) await page.keyboard.press("Escape");
    assert.equal(await panel.count(), 0, `${dialog} closes`);
    assert.equal(await focused(), before);
  }
  await end();
});

test("rows of the flow table are walked by arrows", async () => {
  const { page, says, end } = await open(demo, `/flows?${DAY}`);
  await settled(page);
  const at = () => page.evaluate(() => Number(document.activeElement?.getAttribute("data-row")));
  await page.locator('[data-row="0"]').focus();
  const rows = await page.locator("[data-row]").count();
  for (const [key, wanted] of [
    ["ArrowDown", 1],
    ["ArrowDown", 2],
    ["ArrowUp", 1],
    ["End", rows - 1],
    ["ArrowDown", rows - 1],
    ["Home", 0],
    ["PageDown", Math.min(10, rows - 1)],
    ["PageUp", 0],
  ]) {
    await page.keyboard.press(key);
    assert.equal(await at(), wanted, key);
  }
  // Of all rows one is a stop of Tab.
  assert.equal(await page.locator('[data-row][tabindex="0"]').count(), 1);
  await page.keyboard.press("Enter");
  await page.getByRole("complementary").waitFor();
  await page.keyboard.press("Escape");
  await says("row", null);
  assert.equal(await at(), 0);
  await end();
});
