// Pictures that a page draws, as none lies in git.

import { existsSync, renameSync, writeFileSync } from "node:fs";

import { inTestFolder } from "./wharf.mjs";

/** A file as playwright takes it; `color(x, y)` is `[red, green, blue]`. A JPEG has its best quality. */
export async function picture(page, name, width, height, color) {
  const samples = [];
  for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) samples.push(...color(x, y), 255);
  const mimeType = name.endsWith(".png") ? "image/png" : "image/jpeg";
  const base64 = await page.evaluate(async ({ samples, width, height, mimeType }) => {
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width, height });
    canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(samples), width, height), 0, 0);
    return canvas.toDataURL(mimeType, 1).split(",")[1];
  }, { samples, width, height, mimeType });
  return { name, mimeType, buffer: Buffer.from(base64, "base64") };
}

/** What a loaded `<img>` shows: its sides, and `[red, green, blue, alpha]` at a place. */
export async function shown(page, selector) {
  const { width, height, samples } = await page.evaluate((selector) => {
    const image = document.querySelector(selector);
    const canvas = document.createElement("canvas");
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return { width, height, samples: [...context.getImageData(0, 0, width, height).data] };
  }, selector);
  return { width, height, at: (x, y) => samples.slice(4 * (y * width + x), 4 * (y * width + x) + 4) };
}

/** The path of a JPEG of 6000 x 4000 pixels with smooth parts, edges and grain; drawn once. */
export async function photograph(page) {
  const file = inTestFolder("photograph.jpg");
  if (existsSync(file)) return file;
  const base64 = await page.evaluate(async () => {
    let seed = 1;
    const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
    const canvas = new OffscreenCanvas(6000, 4000);
    const context = canvas.getContext("2d");
    const sky = context.createLinearGradient(0, 0, 0, 4000);
    [["#204060"], ["#d08050"], ["#182018"]].forEach(([color], i) => sky.addColorStop(i / 2, color));
    context.fillStyle = sky;
    context.fillRect(0, 0, 6000, 4000);
    for (let i = 0; i < 800; i += 1) {
      context.fillStyle = `hsl(${360 * random()} 60% 50% / 0.5)`;
      context.fillRect(6000 * random(), 4000 * random(), 400 * random(), 400 * random());
    }
    const grain = new ImageData(512, 512);
    for (let i = 0; i < grain.data.length; i += 4) grain.data.set([255 * random(), 255 * random(), 255 * random(), 24], i);
    const tile = new OffscreenCanvas(512, 512);
    tile.getContext("2d").putImageData(grain, 0, 0);
    context.fillStyle = context.createPattern(tile, "repeat");
    context.fillRect(0, 0, 6000, 4000);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
    const reader = new FileReader();
    await new Promise((resolve) => { reader.onload = resolve; reader.readAsDataURL(blob); });
    return reader.result.split(",")[1];
  });
  // In one step, so that a run which is stopped leaves no half of it.
  writeFileSync(`${file}.part`, Buffer.from(base64, "base64"));
  renameSync(`${file}.part`, file);
  return file;
}
