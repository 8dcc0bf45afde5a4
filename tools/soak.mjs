/**
 * Runs every test that has a campaign, at its full length. `--bounded`: the lengths that fit into CI.
 * Other arguments go to vitest.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"

const [bounded, args] = [process.argv.includes("--bounded"), process.argv.slice(2).filter((arg) => arg !== "--bounded")]
const files = fs
  .readdirSync("test", { recursive: true, encoding: "utf8" })
  .map((file) => path.posix.join("test", file.replaceAll(path.sep, "/")))
  .filter((file) => file.endsWith(".test.ts") && fs.readFileSync(file, "utf8").includes("/support/campaigns.js"))

const { status } = spawnSync(
  process.execPath,
  ["node_modules/vitest/vitest.mjs", "run", ...files, ...(bounded ? [] : ["--testTimeout=3600000"]), ...args],
  { stdio: "inherit", env: { ...process.env, RECOVERY_SOAK: bounded ? "ci" : "full" } }
)
process.exit(status ?? 1)
