// The page's script as one file, beside its other files: a browser knows no TypeScript.
import { cp, mkdir } from "node:fs/promises"
import { build } from "esbuild"

const from = "src/dashboard/page"
const to = "dist/dashboard/page"

await mkdir(to, { recursive: true })
await build({
  entryPoints: [`${from}/main.ts`],
  outfile: `${to}/page.js`,
  bundle: true,
  format: "esm",
  target: ["chrome123", "firefox120", "safari17.5"],
  minify: true,
  legalComments: "none"
})
await Promise.all(["index.html", "page.css", "icon.svg"].map((name) => cp(`${from}/${name}`, `${to}/${name}`)))
