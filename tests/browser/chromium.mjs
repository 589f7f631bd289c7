// A Chromium for a file of tests, and a fresh page for each of them.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

import { given, inTestFolder } from "./wharf.mjs";

/** How long a page may take for anything but a build. */
const WAIT_MS_MAX = 20_000;
const TEST_MS_MAX = 180_000;

/**
 * To be called inside `describe`: starts Chromium before its tests and ends it after them. Answers
 * with a function like `test`, whose body gets a page of its own and the list of what went wrong
 * on it: console errors, exceptions, requests without an answer. What is still in that list at the end
 * fails the test; a body that expects errors takes them out. Of a failing test a picture is left.
 */
export function chromiumTests() {
  let browser;
  before(async () => {
    // Without its sandbox, as playwright has it by default: root and most containers cannot have one,
    // and these pages are our own.
    browser = await chromium.launch({ executablePath: given("WHARF_TEST_BROWSER") });
  });
  after(() => browser?.close());

  return (name, body) =>
    test(name, { timeout: TEST_MS_MAX }, async () => {
      const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
      try {
        const page = await context.newPage();
        page.setDefaultTimeout(WAIT_MS_MAX);
        const errors = listen(page);
        try {
          await body(page, errors);
          assert.deepEqual(errors, [], "the page has no errors");
        } catch (error) {
          const onPage = errors.length ? `; on the page: ${errors.join("; ")}` : "";
          throw new Error(`see ${await screenshot(page, name)}${onPage}`, { cause: error });
        }
      } finally {
        await context.close();
      }
    });
}

function listen(page) {
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => errors.push(`exception: ${error}`));
  page.on("requestfailed", (request) => {
    const why = request.failure()?.errorText;
    // A page that goes away ends what it was loading.
    if (why !== "net::ERR_ABORTED") errors.push(`${request.method()} ${request.url()}: ${why}`);
  });
  return errors;
}

async function screenshot(page, name) {
  const folder = inTestFolder("failed");
  mkdirSync(folder, { recursive: true });
  const file = `${folder}/${name.replace(/[^a-z0-9]+/gi, "-")}.png`;
  return page.screenshot({ path: file }).then(() => file, (error) => `none: ${error.message}`);
}
