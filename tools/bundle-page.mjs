// Bundles the page's script and styles into one file each, beside its other files.
import { cp, mkdir } from "node:fs/promises"
import { build } from "esbuild"

const from = "src/dashboard/page"
const to = "dist/dashboard/page"

await mkdir(to, { recursive: true })
await build({
  entryPoints: ["main.ts", "page.css"].map((name) => ({ in: `${from}/${name}`, out: "page" })),
  outdir: to,
  bundle: true,
  format: "esm",
  target: ["chrome123", "firefox120", "safari17.5"],
  minify: true,
  legalComments: "none"
})
await Promise.all(["index.html", "icon.svg"].map((name) => cp(`${from}/${name}`, `${to}/${name}`)))
