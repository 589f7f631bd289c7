// Static files of an app whose pages are all made by one script.

import assert from "node:assert/strict";
import { after, before, describe } from "node:test";

import { chromiumTests } from "./chromium.mjs";
import { freshFolder, up } from "./wharf.mjs";

const FILES = {
  "wharf.toml": `manifest = 1
name = "pages"
version = "0.1.0"

[[trigger.http]]
route = "/..."
files = "public"
fallback = "index.html"
`,
  "public/index.html": `<!doctype html>
<link rel="icon" href="data:,">
<a href="/settings/profile">profile</a>
<h1></h1>
<script type="module" src="/pages.js"></script>
`,
  "public/pages.js": `const draw = () => { document.querySelector("h1").textContent = "at " + location.pathname; };
document.querySelector("a").addEventListener("click", (event) => {
  event.preventDefault();
  history.pushState(null, "", event.target.href);
  draw();
});
addEventListener("popstate", draw);
draw();
`,
};

describe("static files", () => {
  let server;
  before(async () => { server = await up([freshFolder("pages", FILES)]); });
  after(async () => server && assert.equal(await server.stop(), 0, "it ends with 0 when asked to"));
  const test = chromiumTests();

  const heading = (page, text) => page.locator("h1", { hasText: new RegExp(`^${text}$`) }).waitFor();

  test("a single-page app's own paths can be loaded, reloaded and left", async (page) => {
    await page.goto(server.url);
    await heading(page, "at /");
    await page.click("a");
    await heading(page, "at /settings/profile");
    const answer = await page.reload();
    assert.equal(answer.status(), 200);
    await heading(page, "at /settings/profile");
    await page.goBack();
    await heading(page, "at /");
    await page.goto(`${server.url}/another/deep/link?with=query`);
    await heading(page, "at /another/deep/link");
  });

  test("a missing script is no page", async (page, errors) => {
    await page.goto(server.url);
    const { status, type } = await page.evaluate(async () => {
      const answer = await fetch("/missing.js");
      return { status: answer.status, type: answer.headers.get("content-type") };
    });
    assert.equal(status, 404);
    assert.doesNotMatch(type ?? "", /html/);
    assert.match(errors.splice(0).join(), /404/);
  });
});
