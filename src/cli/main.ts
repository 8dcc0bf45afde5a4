#!/usr/bin/env node
import * as module from "node:module"

// From Node 22 on, what was compiled once is kept: compiling takes most of the time until something is shown.
if ("enableCompileCache" in module && typeof module.enableCompileCache === "function") module.enableCompileCache()

await import("./run.js")
