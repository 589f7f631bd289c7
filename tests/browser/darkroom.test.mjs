// examples/darkroom as somebody uses it who drops pictures on its page.

import assert from "node:assert/strict";
import { after, before, describe } from "node:test";
import { writeFileSync } from "node:fs";

import { chromiumTests } from "./chromium.mjs";
import { photograph, picture, shown } from "./pictures.mjs";
import { inTestFolder, up, wharf } from "./wharf.mjs";

const LARGE_MS_MAX = 120_000;

describe("darkroom", () => {
  let server;
  before(async () => {
    await wharf(["build", "examples/darkroom"]);
    server = await up(["examples/darkroom"]);
  });
  after(async () => server && assert.equal(await server.stop(), 0, "it ends with 0 when asked to"));
  const test = chromiumTests();

  /** Opens the page, sets the operation, gives it the file and waits for the result. */
  async function develop(page, file, op = "grayscale", set = async () => {}) {
    await page.goto(server.url);
    await page.locator(`label:has([value="${op}"])`).click();
    await set();
    await page.setInputFiles("#file", file);
    await finish(page);
    return shown(page, "#after");
  }

  /** Waits for an end and fails if it is an error. */
  async function finish(page, timeout) {
    await page.locator("#result:not([hidden]), #error:not([hidden])").waitFor({ timeout });
    assert.equal(await page.locator("#error").isVisible(), false, await page.locator("#error").textContent());
  }

  /** Waits for an error and answers with its text. */
  async function failure(page) {
    await page.locator("#error:not([hidden])").waitFor();
    assert.equal(await page.locator("#result").isVisible(), false);
    return page.locator("#error").innerText();
  }

  const step = (dark, bright) => (x) => (x < 32 ? [dark, dark, dark] : [bright, bright, bright]);

  test("a chosen PNG turns gray by its luma", async (page) => {
    const colors = [
      [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255],
      [0, 0, 0], [10, 200, 30], [123, 45, 67], [254, 1, 128],
    ];
    await page.goto(server.url);
    const gray = await develop(page, await picture(page, "colors.png", 4, 2, (x, y) => colors[4 * y + x]));
    assert.deepEqual([gray.width, gray.height], [4, 2]);
    colors.forEach(([red, green, blue], i) => {
      const luma = Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
      assert.deepEqual(gray.at(i % 4, Math.floor(i / 4)), [luma, luma, luma, 255], `the luma of ${[red, green, blue]}`);
    });
    assert.equal(await page.locator("#format-after").textContent(), "PNG");
    assert.equal(await page.locator("#pixels-after").textContent(), "4 × 2");
  });

  test("a dropped JPEG turns gray, and the time it took is shown", async (page) => {
    await page.goto(server.url);
    const made = await picture(page, "flat.jpg", 48, 32, () => [200, 100, 50]);
    const file = inTestFolder(made.name);
    writeFileSync(file, made.buffer);
    // As by the mouse, from the desktop.
    const devtools = await page.context().newCDPSession(page);
    const data = { items: [], files: [file], dragOperationsMask: 1 };
    for (const type of ["dragEnter", "dragOver", "drop"]) {
      await devtools.send("Input.dispatchDragEvent", { type, x: 300, y: 300, data });
    }
    await finish(page);
    const gray = await shown(page, "#after");
    assert.deepEqual([gray.width, gray.height], [48, 32]);
    for (const [x, y] of [[0, 0], [47, 31], [20, 15]]) {
      const [red, green, blue] = gray.at(x, y);
      assert.ok(Math.abs(red - 124) <= 2 && red === green && green === blue, `${[red, green, blue]} at ${[x, y]}`);
    }
    assert.equal(await page.locator("#format-after").textContent(), "JPEG");
    const time = /^(\d+(\.\d+)?) m?s$/;
    const total = await page.locator("#total").textContent();
    assert.ok(Number(time.exec(total)?.[1]) > 0, total);
    assert.deepEqual(await page.locator("#times dt").allTextContents(), ["Upload", "Decode", "Filter", "Encode", "Network"]);
    for (const text of await page.locator("#times dd").allTextContents()) assert.match(text, time);
  });

  test("a resized picture has the sides asked for", async (page) => {
    await page.goto(server.url);
    const file = await picture(page, "halves.png", 64, 32, step(0, 255));
    const small = await develop(page, file, "resize", () => page.fill("[name=width]", "16"));
    assert.deepEqual([small.width, small.height], [16, 8]);
    assert.deepEqual([small.at(0, 4), small.at(15, 4)], [[0, 0, 0, 255], [255, 255, 255, 255]]);
  });

  test("a blurred edge is as soft as a Gaussian's", async (page) => {
    await page.goto(server.url);
    const file = await picture(page, "edge.png", 64, 16, step(0, 255));
    const soft = await develop(page, file, "blur");
    assert.deepEqual([soft.width, soft.height], [64, 16]);
    const sigma = parseFloat(await page.locator("#sigma-value").textContent());
    assert.ok(sigma > 1 && sigma < 10, `${sigma}`);
    for (let x = 0; x < 64; x += 1) {
      const expected = 255 * normal((x - 31.5) / sigma);
      assert.ok(Math.abs(soft.at(x, 8)[0] - expected) <= 5, `${soft.at(x, 8)[0]}, not ${expected}, at ${x}`);
    }
  });

  test("edges are bright where the picture changes", async (page) => {
    await page.goto(server.url);
    // A step of 10: Sobel's kernel weighs it four times, in the two columns beside it.
    const edges = await develop(page, await picture(page, "step.png", 64, 16, step(100, 110)), "edges");
    assert.deepEqual([edges.width, edges.height], [64, 16]);
    const row = Array.from({ length: 64 }, (_, x) => edges.at(x, 8)[0]);
    assert.deepEqual(row, row.map((_, x) => (x === 31 || x === 32 ? 40 : 0)));
  });

  test("a photograph of 24 megapixels shows its progress", async (page) => {
    await page.goto(server.url);
    const file = await photograph(page);
    await page.evaluate(() => {
      // Every step that was written, and the percentages at which the page could be drawn.
      window.seen = { steps: [], percents: [] };
      const [bar, text] = ["bar", "progress-text"].map((id) => document.getElementById(id));
      const look = (changes) => {
        for (const { addedNodes } of changes) for (const node of addedNodes) window.seen.steps.push(node.textContent);
        if (bar.checkVisibility()) window.seen.percents.push(Number(bar.getAttribute("aria-valuenow")));
      };
      const observer = new MutationObserver(look);
      observer.observe(bar, { attributeFilter: ["aria-valuenow"] });
      observer.observe(text, { childList: true });
    });
    await page.locator('label:has([value="blur"])').click();
    await page.setInputFiles("#file", file);
    await finish(page, LARGE_MS_MAX);
    assert.equal(await page.locator("#pixels-after").textContent(), "6000 × 4000");
    const { width, height } = await page.evaluate(() => {
      const image = document.getElementById("after");
      return { width: image.naturalWidth, height: image.naturalHeight };
    });
    assert.deepEqual([width, height], [6000, 4000]);

    const { steps, percents } = await page.evaluate(() => window.seen);
    assert.deepEqual([...new Set(steps)], ["Uploading", "Decoding", "Filtering", "Encoding", "Fetching"]);
    assert.deepEqual(percents, [...percents].sort((a, b) => a - b), "it never goes back");
    assert.ok(new Set(percents).size >= 5, `only ${percents}`);
  });

  test("a bad file gets an error that says what to do, and the next one works", async (page) => {
    await page.goto(server.url);
    await page.setInputFiles("#file", { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("no picture") });
    assert.match(await failure(page), /This is not a PNG or JPEG\s+“notes.txt” is text\/plain.\s+Choose another picture/);

    await page.setInputFiles("#file", { name: "notes.png", mimeType: "image/png", buffer: Buffer.from("no picture") });
    await page.locator("#error-detail", { hasText: "neither" }).waitFor();
    assert.match(await failure(page), /This is not a PNG or JPEG\s+The input is neither a PNG nor a JPEG.\s+Convert the picture/);

    const whole = await picture(page, "cut.png", 64, 64, (x, y) => [x * y % 256, x, y]);
    await page.setInputFiles("#file", { ...whole, buffer: whole.buffer.subarray(0, whole.buffer.length / 2) });
    await page.locator("#error-title", { hasText: "damaged" }).waitFor();
    assert.match(await failure(page), /The picture is damaged\s+\S.*\./);

    await page.setInputFiles("#file", whole);
    await page.locator("#result").waitFor();
    assert.equal(await page.locator("#error").isVisible(), false);
  });
});

/** The share of a normal distribution below `x`; Abramowitz and Stegun, 7.1.25. */
function normal(x) {
  const z = Math.abs(x) / Math.SQRT2;
  const t = 1 / (1 + 0.47047 * z);
  const tail = (t * (0.3480242 + t * (-0.0958798 + t * 0.7478556)) * Math.exp(-z * z)) / 2;
  return x < 0 ? tail : 1 - tail;
}
