/** The view of samples that agents send: each chart has the API's numbers. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { again } from "../harness/api.mjs";
import { DAY, demo } from "../harness/demo.mjs";
import { HOUR, history } from "../harness/history.mjs";
import { shows } from "../harness/numbers.mjs";
import { open } from "../harness/pages.mjs";

/** Compares the legend of each chart with the highest value of each line of its question; how many charts there are. */
async function isTrue(server, page, asked) {
  const cards = page.locator(".performance section.card");
  const count = await cards.count();
  for (let i = 0; i < count; i++) {
    const card = cards.nth(i);
    const name = await card.getAttribute("aria-label");
    const expression = await card.getByRole("link", { name: "Explore" }).getAttribute("title");
    const request = asked.find((one) => new URL(one.url()).searchParams.get("query") === expression);
    assert.ok(request, `${name} asked for ${expression}`);
    const { data } = await again(server, request);
    const legend = await card
      .locator(".legend li")
      .evaluateAll((all) =>
        all.map((one) => [...one.querySelectorAll("span")].map((span) => span.innerText)),
      );
    assert.ok(data.result.length > 0 && legend.length > 0, `${name} has lines`);
    assert.equal(legend.length, Math.min(8, data.result.length), `lines of ${name}`);
    // Lines are named by values of labels, in an order of the panel's own.
    const is = (title, metric) =>
      Object.values(metric)
        .reduce((rest, value) => rest.replace(value, ""), title)
        .trim() === "";
    const highest = ({ values }) =>
      Math.max(...values.map(([, value]) => Number(value)).filter((value) => Number.isFinite(value)));
    for (const [title, text] of legend) {
      const one = title === "all" ? data.result : data.result.filter(({ metric }) => is(title, metric));
      assert.ok(one.length > 0, `a series for ${title} of ${name}`);
      if (one.length === 1) shows(text, highest(one[0]), `${title} of ${name}`);
    }
    assert.doesNotMatch(await card.getByRole("img").getAttribute("aria-label"), /no data/, name);
  }
  return count;
}

test("each chart of a history has the API's numbers", async () => {
  const { page, settled, asked, end } = await open(history, `/performance?${HOUR}`);
  await settled();
  const count = await isTrue(history, page, asked);
  assert.ok(count >= 15, `${count} charts`);
  // Two nodes received 5000 bytes every ten seconds.
  const throughput = page.getByRole("region", { name: "Throughput" });
  for (const line of await throughput.locator(".legend .number").allInnerTexts())
    shows(line, 8 * 500, "throughput");
  await end();
});

test("each chart of the demo has the API's numbers, and what was not sent is said", async () => {
  const { page, settled, asked, end } = await open(demo, `/performance?${DAY}`);
  await settled();
  const count = await isTrue(demo, page, asked);
  assert.ok(count >= 8, `${count} charts`);
  assert.match(
    await page
      .locator(".missing")
      .allInnerTexts()
      .then((all) => all.join()),
    /weir_nic_bw_in_allowance_exceeded_total/,
  );
  assert.match(
    await page.getByRole("region", { name: "Packets dropped by the kernel" }).innerText(),
    /NETFILTER_DROP/,
  );
  await end();
});

test("a node and a workload narrow the charts, and a chart opens in Explore", async () => {
  const { page, settled, asked, says, end } = await open(demo, `/performance?${DAY}`);
  await settled();
  const node = page.getByRole("combobox", { name: /^Node/ });
  assert.deepEqual(await node.locator("option").allTextContents(), [
    "all nodes",
    "node-a1",
    "node-a2",
    "node-b1",
  ]);
  await node.selectOption("node-b1");
  await says("node", "node-b1");
  await settled();
  const names = await page
    .getByRole("region", { name: "Throughput" })
    .locator(".legend-name")
    .allInnerTexts();
  assert.deepEqual(names.sort(), ["node-b1 received", "node-b1 sent"]);
  const workload = page.getByRole("combobox", { name: /^Workload/ });
  const name = await workload.locator("option").last().textContent();
  await workload.selectOption(name);
  await says("workload", name);
  await settled();
  await isTrue(demo, page, asked);
  const link = page.getByRole("region", { name: "Bytes sent" }).getByRole("link", { name: "Explore" });
  const expression = await link.getAttribute("title");
  await link.click();
  await says("q", expression);
  await settled();
  assert.ok((await page.locator(".legend li").count()) > 0);
  await end();
});
