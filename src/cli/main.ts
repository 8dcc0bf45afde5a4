#!/usr/bin/env node
import * as module from "node:module"

// Since Node 22 compiled code is cached. Compiling takes most of the time before the first output.
if ("enableCompileCache" in module && typeof module.enableCompileCache === "function") module.enableCompileCache()

await import("./run.js")
