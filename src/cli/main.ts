#!/usr/bin/env node
import * as module from "node:module"

declare const VERSION: string

// Since Node 22 compiled code is cached. Compiling takes most of the time before the first output.
if ("enableCompileCache" in module && typeof module.enableCompileCache === "function") module.enableCompileCache()

// By default SIGUSR1 opens the debugger. `exec` passes it on, once all of it is loaded.
if (process.argv[2] === "exec") process.on("SIGUSR1", () => {})

const [given = "--help", ...more] = process.argv.slice(2)

/** Prints a text that needs no parser, so it starts at once. */
const print = async (text: string) => {
  const { watchOutput } = await import("./output.js")
  watchOutput(false)
  process.stdout.write(`${text}\n`)
}

/** Replaces the parser's own help, which is 300 columns wide. */
const printOverview = async () => {
  const [{ overview }, { screenOf }] = await Promise.all([import("./render/overview.js"), import("./render/screen.js")])
  await print(overview(screenOf(process.stdout)))
}

if (more.length === 0 && ["-h", "--help", "help"].includes(given)) await printOverview()
else if (more.length === 0 && given === "--version") await print(VERSION)
else await import("./run.js")
