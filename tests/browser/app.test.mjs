// The template `app`, from `wharf new` to a mistake in its source and back.

import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe } from "node:test";

import { chromiumTests } from "./chromium.mjs";
import { inTestFolder, up, wharf } from "./wharf.mjs";

const BUILD_MS_MAX = 120_000;
const NAME = "harbour";
/** The words in the text that the template's page begins with. */
const WORDS = 14;

describe("the template app", () => {
  const folder = inTestFolder(NAME);
  let server;
  before(async () => {
    rmSync(folder, { recursive: true, force: true });
    await wharf(["new", "app", NAME], inTestFolder());
    await wharf(["build"], folder);
    server = await up(["--watch"], folder);
  });
  after(async () => server && assert.equal(await server.stop(), 0, "it ends with 0 when asked to"));
  const test = chromiumTests();

  const words = (page, count, timeout) =>
    page.locator("#words", { hasText: new RegExp(`^${count}$`) }).waitFor({ timeout });

  /** Replaces what must be there once. */
  function edit(file, from, to) {
    const parts = readFileSync(path.join(folder, file), "utf8").split(from);
    assert.equal(parts.length, 2, `\`${from}\` is in ${file} once`);
    writeFileSync(path.join(folder, file), parts.join(to));
  }

  /** Makes a mark on the page that no reload keeps. */
  const mark = (page) => page.evaluate(() => { window.isMarked = true; });
  const isMarked = (page) => page.evaluate(() => window.isMarked === true);

  test("its front end asks its API", async (page) => {
    await page.goto(server.url);
    await page.locator("h1", { hasText: NAME }).waitFor();
    await words(page, WORDS);
    await page.fill("#text", "one two Two");
    await words(page, 3);
    assert.equal(await page.locator("#characters").textContent(), "11");
    assert.deepEqual(await page.locator("#top .word").allTextContents(), ["two", "one"]);
    assert.deepEqual(await page.locator("#top .count").allTextContents(), ["2", "1"]);
    assert.equal(await page.locator("#message").textContent(), "");
  });

  test("a changed file of the front end reloads the page", async (page) => {
    await page.goto(server.url);
    await words(page, WORDS);
    await mark(page);
    edit("public/index.html", `<h1>${NAME}</h1>`, "<h1>Another heading</h1>");
    await page.locator("h1", { hasText: "Another heading" }).waitFor({ timeout: BUILD_MS_MAX });
    assert.equal(await isMarked(page), false);
  });

  test("a failed build is shown on the page, the old version goes on, a good one replaces it", async (page) => {
    // The panel hides its inside from the page, and so from a test.
    await page.context().addInitScript(() => {
      const { attachShadow } = Element.prototype;
      Element.prototype.attachShadow = function attach() { return attachShadow.call(this, { mode: "open" }); };
    });
    await page.goto(server.url);
    await words(page, WORDS);
    await mark(page);

    edit("api/src/lib.rs", "words += 1;", "words += harbour_dues;");
    const panelOf = (page) => page.getByRole("alertdialog", { name: "The build failed" });
    const panel = panelOf(page);
    await panel.waitFor({ timeout: BUILD_MS_MAX });
    const text = await panel.innerText();
    assert.match(text, /cannot find value `harbour_dues` in this scope/);
    assert.match(text, /api\/src\/lib\.rs:\d+:\d+|src\/lib\.rs:\d+:\d+/);
    assert.ok(server.lines.some((line) => line.includes("harbour_dues")), "the terminal shows it too");
    assert.equal(await isMarked(page), true, "the page was not reloaded");

    // Behind the panel the version before still answers.
    await page.keyboard.press("Escape");
    await panel.waitFor({ state: "detached" });
    await page.fill("#text", "still here");
    await words(page, 2);
    // And a page that comes now learns of the failure.
    const another = await page.context().newPage();
    await another.goto(server.url);
    await panelOf(another).waitFor();
    await words(another, WORDS);
    await another.close();

    edit("api/src/lib.rs", "words += harbour_dues;", "words += 1000;");
    await words(page, 1000 * WORDS, BUILD_MS_MAX);
    assert.equal(await isMarked(page), false, "it was reloaded by itself");
    assert.equal(await panel.count(), 0);
  });
});
