// Bundles the command line and the dashboard's page, with the licences of the packages whose code the bundles hold.

import { readFileSync } from "node:fs"
import { cp, mkdir, writeFile } from "node:fs/promises"
import { build } from "esbuild"
import { noticesOf } from "./notices.mjs"

const { version } = JSON.parse(readFileSync("package.json", "utf8"))

// Few files, so that the command line starts at once: loading hundreds of modules takes longer than what it does, and so does
// reading what a command does not need.
const buildCommandLine = () =>
  build({
    entryPoints: { recovery: "src/cli/main.ts" },
    outdir: "dist",
    outExtension: { ".js": ".mjs" },
    chunkNames: "recovery-[name]-[hash]",
    splitting: true,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    minify: true,
    legalComments: "none",
    metafile: true,
    define: { VERSION: JSON.stringify(version) },
    // Native, or of the program that uses it.
    external: ["better-sqlite3", "fs-native-extensions", "jiti", "pg"],
    // Some of what is bundled is CommonJS.
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' }
  })

/** The page's script and styles become one file each, beside its other files. */
const buildPage = async () => {
  const [from, to] = ["src/dashboard/page", "dist/dashboard/page"]
  await mkdir(to, { recursive: true })
  const built = await build({
    entryPoints: ["main.ts", "page.css"].map((name) => ({ in: `${from}/${name}`, out: "page" })),
    outdir: to,
    bundle: true,
    format: "esm",
    target: ["chrome123", "firefox120", "safari17.5"],
    minify: true,
    legalComments: "none",
    metafile: true
  })
  await Promise.all(["index.html", "icon.svg"].map((name) => cp(`${from}/${name}`, `${to}/${name}`)))
  return built
}

const built = await Promise.all([buildCommandLine(), buildPage()])
await writeFile("dist/THIRD-PARTY-NOTICES.txt", noticesOf(built.map(({ metafile }) => metafile)))
