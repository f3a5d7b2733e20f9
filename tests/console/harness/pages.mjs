// Pages of the console in Chromium, each of which fails its test by anything that goes wrong in it unasked.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { after, before } from "node:test";

const need = createRequire(`${process.env.CONSOLE_TESTS}/`);
const { chromium } = need("playwright-core");

/** What a condition of a page may take; a test never waits for anything but a condition. */
export const PATIENCE = 60_000;
const SCREENSHOTS = fileURLToPath(new URL("../screenshots/", import.meta.url));

let browser;
before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
});
after(() => browser?.close());

/**
 * Opens a path of a server in a browser context of its own.
 *
 * `expected` are the messages of the browser's log that belong to the test, as regular expressions; any other error
 * there, of a script, or of the policy of contents, and any request to somebody else, fails the test in `end`.
 */
export async function open(server, path, options = {}) {
  const {
    width = 1400,
    height = 900,
    scheme = "light",
    expected = [],
    motion = "reduce",
    phone = false,
  } = options;
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: scheme,
    reducedMotion: motion,
    hasTouch: phone,
    permissions: ["clipboard-read", "clipboard-write"],
    locale: "en-US",
    timezoneId: "Europe/Berlin",
    acceptDownloads: true,
  });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const wrong = [];
  const asked = [];
  const sizes = [];
  context.on("requestfinished", (request) => sizes.push(request.sizes()));
  page.on("pageerror", (error) => wrong.push(`script: ${error.message}`));
  page.on("console", (message) => {
    if (!["error", "warning"].includes(message.type())) return;
    const text = message.text();
    if (!expected.some((one) => one.test(text))) wrong.push(`${message.type()}: ${text}`);
  });
  context.on("request", (request) => {
    const url = new URL(request.url());
    if (url.pathname.startsWith("/api/")) asked.push(request);
    if (!["data:", "blob:"].includes(url.protocol) && url.origin !== server.url)
      wrong.push(`request to ${url.origin}`);
  });
  // What violated the policy, which the browser's own message does not tell.
  await page.addInitScript(() =>
    document.addEventListener("securitypolicyviolation", (event) =>
      console.error(
        `policy: ${event.violatedDirective} in ${event.composedPath()[0]?.outerHTML?.slice(0, 300)}`,
      ),
    ),
  );
  await page.goto(`${server.url}${path}`);
  return {
    page,
    wrong,
    /** What the page asked the API so far. */
    asked,
    /** Bytes of all answers so far, as they came over the wire. */
    async received() {
      const all = await Promise.all(sizes);
      return all.reduce((sum, one) => sum + one.responseHeadersSize + one.responseBodySize, 0);
    },
    param: (name) => new URL(page.url()).searchParams.get(name),
    params: (name) => new URL(page.url()).searchParams.getAll(name),
    /** Path and query of the link. */
    link: () => page.url().slice(server.url.length),
    /** Waits until the link says so: the page writes it after it has drawn. */
    async says(name, value) {
      const wanted = value === null ? [] : [value].flat();
      await page
        .waitForFunction(
          ([name, wanted]) =>
            JSON.stringify(new URL(window.location.href).searchParams.getAll(name)) ===
            JSON.stringify(wanted),
          [name, wanted],
        )
        .catch(() => assert.deepEqual(new URL(page.url()).searchParams.getAll(name), wanted, name));
    },
    settled: () => settled(page),
    /** Does something and waits for the answer to what the page then asks at a path of the API, and until it is shown. */
    async answered(path, act) {
      const answer = page.waitForResponse((response) => new URL(response.url()).pathname === path);
      // What `act` says of a failure is more than that no answer came.
      answer.catch(() => {});
      await act();
      const response = await answer;
      await settled(page);
      return response;
    },
    /** The element that has the focus, in shadow trees too, in words. */
    focused: () => page.evaluate(inFocus),
    async shot(name) {
      mkdirSync(SCREENSHOTS, { recursive: true });
      await page.screenshot({ path: `${SCREENSHOTS}${name}.png`, fullPage: true, animations: "disabled" });
    },
    async end() {
      assert.deepEqual(wrong, []);
      await context.close();
    },
  };
}

/** Waits until the page waits for nothing. */
export async function settled(page) {
  await page.waitForFunction(() => {
    const main = document.querySelector("main");
    if (main === null || main.querySelector("h1") === null) return false;
    return document.querySelector('[aria-busy="true"], .placeholder') === null;
  });
  // A change of the link begins to ask in the frame after the next one.
  await page.evaluate(
    () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)))),
  );
  await page.waitForFunction(() => document.querySelector('[aria-busy="true"], .placeholder') === null);
}

function inFocus() {
  let element = document.activeElement;
  while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
  if (element === null || element === document.body) return "";
  const name = element.getAttribute("aria-label") ?? element.textContent?.trim() ?? "";
  return `${element.tagName.toLowerCase()} ${name}`.trim();
}
