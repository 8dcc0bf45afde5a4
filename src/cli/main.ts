#!/usr/bin/env node
import * as module from "node:module"

declare const VERSION: string

// Since Node 22 compiled code is cached. Compiling takes most of the time before the first output.
if ("enableCompileCache" in module && typeof module.enableCompileCache === "function") module.enableCompileCache()

const [given = "--help", ...more] = process.argv.slice(2)

/** Replaces the parser's own help, which is 300 columns wide. Needs no parser, so it starts at once. */
const printOverview = async () => {
  const [{ overview }, { screenOf }] = await Promise.all([import("./render/overview.js"), import("./render/screen.js")])
  // The reader may close its end early, as `head` does.
  process.stdout.on("error", () => {}).write(`${overview(screenOf(process.stdout))}\n`)
}

if (more.length === 0 && ["-h", "--help", "help"].includes(given)) await printOverview()
else if (more.length === 0 && given === "--version") process.stdout.write(`${VERSION}\n`)
else await import("./run.js")
