// Starts the real `wharf`, for tests of what it serves.
//
// xtask says where things are: WHARF_BINARY is the program under test, WHARF_TEST_FOLDER a folder that
// is kept between runs, so that nothing is compiled twice.

import { spawn } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const PROJECT = fileURLToPath(new URL("../..", import.meta.url));

const LISTEN_MS_MAX = 30_000;
const END_MS_MAX = 20_000;
const FIRST_LINE = "listening on ";

/** A value that xtask gives in the environment. */
export function given(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; run \`cargo xtask test --only browser\``);
  return value;
}

export const inTestFolder = (...names) => path.join(given("WHARF_TEST_FOLDER"), ...names);

/** An empty folder of that name in the test folder, with these files in it. */
export function freshFolder(name, files = {}) {
  const folder = inTestFolder(name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    writeFileSync(path.join(folder, file), text);
  }
  return folder;
}

// Each has a process group of its own, so that the builds it started end with it.
const running = new Set();
const killGroup = (child) => {
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // It is gone already.
  }
};
process.on("exit", () => running.forEach(killGroup));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => process.exit(1));

function start(words, cwd) {
  const environment = {
    ...process.env,
    WHARF_STORE_DIR: inTestFolder("store"),
    WHARF_CACHE_DIR: inTestFolder("cache"),
    CARGO_TARGET_DIR: inTestFolder("cargo"),
    NO_COLOR: "1",
  };
  const stdio = ["ignore", "ignore", "pipe"];
  const child = spawn(given("WHARF_BINARY"), words, { cwd, env: environment, detached: true, stdio });
  running.add(child);
  const lines = [];
  const reader = createInterface({ input: child.stderr });
  reader.on("line", (line) => lines.push(line));
  // Once the output is read to its end, so that the last lines are there.
  const ended = new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      running.delete(child);
      resolve(code ?? signal);
    });
  });
  ended.catch(() => {});
  return { child, lines, reader, ended };
}

/** Runs `wharf WORDS` to its end, which must be a success. */
export async function wharf(words, cwd = PROJECT) {
  const { lines, ended } = start(words, cwd);
  const code = await ended;
  if (code !== 0) throw new Error(`\`wharf ${words.join(" ")}\` ended with ${code}:\n${lines.join("\n")}`);
}

/** `promise`, or an error once `milliseconds` are over. */
async function within(milliseconds, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took over ${milliseconds / 1000} s`)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Starts `wharf up WORDS` on a free port. */
export async function up(words, cwd = PROJECT) {
  const { child, lines, reader, ended } = start(["up", ...words, "--addr", "127.0.0.1:0"], cwd);
  const first = await within(
    LISTEN_MS_MAX,
    "listening",
    Promise.race([new Promise((resolve) => reader.once("line", resolve)), ended]),
  );
  if (!String(first).startsWith(FIRST_LINE)) throw new Error(`no address: ${[first, ...lines].join("\n")}`);
  return {
    url: String(first).slice(FIRST_LINE.length),
    /** What it has written to standard error so far. */
    lines,
    /** Asks it to end and answers with its exit code. */
    async stop() {
      child.kill("SIGTERM");
      try {
        return await within(END_MS_MAX, "ending", ended);
      } finally {
        killGroup(child);
      }
    },
  };
}
