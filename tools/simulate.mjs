/**
 * Simulates fleets of workers in one time: `seeds 1 10000` small ones with all faults, `scale` the figures and plots of
 * docs/SCALE.md, `plots` the plots alone, `costs` what statements cost the Postgres of this machine.
 */
import { spawnSync } from "node:child_process"
import { rmSync } from "node:fs"
import { build } from "esbuild"

const file = `.simulate-${process.pid}.mjs`
try {
  await build({
    entryPoints: ["test/simulation/main.ts"],
    outfile: file,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    packages: "external",
    logLevel: "warning",
    alias: { "effect-recovery/pg": "./src/pg.ts", "effect-recovery": "./src/index.ts" }
  })
  const { status } = spawnSync(process.execPath, [file, ...process.argv.slice(2)], { stdio: "inherit" })
  process.exitCode = status ?? 1
} finally {
  rmSync(file, { force: true })
}
