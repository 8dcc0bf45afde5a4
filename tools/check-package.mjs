// Packs the package as it would be published and holds it against publint and "are the types wrong", its bounds, the
// compiler and the runtimes. Needs a build. With --install it also installs the package from the registry, as a new user does.
import { execFileSync, spawnSync } from "node:child_process"
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { doors, modulePaths } from "./exports.mjs"

/** What a user's disk holds after an installation. Raise a bound only for what is worth its size to each user. */
const bounds = { bytes: 4_950_000, files: 640 }

const folder = mkdtempSync(join(tmpdir(), "effect-recovery-pack-"))
const run = (command, args, options = {}) =>
  execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], ...options })

const { devDependencies, name, peerDependencies } = JSON.parse(readFileSync("package.json", "utf8"))
const paths = [...doors, ...modulePaths()]
const specifiers = paths.map(({ path }) => name + path.slice(1))
const tsc = resolve("node_modules/typescript/bin/tsc")

const pack = () => {
  const options = ["pack", "--json", "--ignore-scripts", "--loglevel", "error", "--pack-destination", folder]
  const [packed] = JSON.parse(run("npm", options))
  return { ...packed, tarball: join(folder, packed.filename) }
}

const checkFiles = ({ files, unpackedSize }) => {
  const foreign = files.filter(
    ({ path }) => !/^(dist\/|package\.json$|[A-Z]+(\.md)?$)/.test(path) || path.endsWith(".map")
  )
  if (foreign.length > 0) throw new Error(`the package holds ${foreign.map(({ path }) => path).join(", ")}`)
  const notices = "dist/THIRD-PARTY-NOTICES.txt"
  if (!files.some(({ path }) => path === notices)) throw new Error(`the package lacks ${notices}`)
  if (unpackedSize > bounds.bytes) throw new Error(`the package has ${unpackedSize} bytes, more than ${bounds.bytes}`)
  if (files.length > bounds.files) throw new Error(`the package has ${files.length} files, more than ${bounds.files}`)
}

/** A program beside which the package is installed, with the packages of this repository as its others. */
const makeConsumer = (tarball) => {
  const consumer = join(folder, "consumer")
  const modules = join(consumer, "node_modules")
  mkdirSync(join(modules, name), { recursive: true })
  for (const entry of readdirSync("node_modules")) {
    if (!entry.startsWith(".")) symlinkSync(resolve("node_modules", entry), join(modules, entry), "junction")
  }
  run("tar", ["-xzf", tarball, "--strip-components", "1", "-C", join(modules, name)])
  for (const file of readdirSync("tools/consumer")) copyFileSync(join("tools/consumer", file), join(consumer, file))
  return consumer
}

/** What users compile against, without skipping a line of it: what is stripped must not be named elsewhere. */
const checkDeclarations = (consumer) => {
  const options = ["--noEmit", "--strict", "--skipLibCheck", "false", "--target", "es2022", "--module", "nodenext"]
  const files = paths.map(({ types }) => join(consumer, "node_modules", name, types))
  run("node", [tsc, ...options, "--types", "node", "--exactOptionalPropertyTypes", ...files])
}

/** Each door is found, with its types, under each way in which TypeScript resolves packages. */
const checkResolution = (consumer) => {
  const source = specifiers.map((door, i) => `export * as Door${i} from "${door}"`).join("\n")
  for (const extension of ["mts", "cts"]) writeFileSync(join(consumer, `doors.${extension}`), source)
  const options = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--types", "node"]
  const ways = [
    ["node16", "doors.mts"],
    // CommonJS that requires ES modules.
    ["nodenext", "doors.mts", "doors.cts"],
    ["esnext", "--moduleResolution", "bundler", "doors.mts"]
  ]
  for (const [module, ...rest] of ways) run("node", [tsc, ...options, "--module", module, ...rest], { cwd: consumer })
}

/** The templates compile against the package as their users do. */
const checkTemplates = (consumer) => {
  cpSync("templates", join(consumer, "templates"), { recursive: true })
  for (const template of readdirSync("templates")) run("node", [tsc, "-p", join(consumer, "templates", template)])
}

const hasRuntime = (command) => spawnSync(command, ["--version"]).status === 0

const checkRuntimes = (consumer) => {
  run(process.execPath, ["app.mjs", ...specifiers], { cwd: consumer })
  const required = (...flags) => run(process.execPath, ["--no-warnings", ...flags, "app.cjs"], { cwd: consumer }).trim()
  // As docs/reference/runtimes.md says.
  const copies = [required(), required("--conditions=import")].join()
  if (copies !== "two,one") throw new Error(`CommonJS loads ${copies} copies of Effect, and not two,one`)
  const runtimes = [[process.execPath], ["bun"], ["deno", "run", "--allow-all", "--node-modules-dir=manual"]]
  for (const [command, ...args] of runtimes) {
    if (!hasRuntime(command)) {
      console.log(`No ${command} on this machine: the package is not tested with it.`)
      continue
    }
    run(command, [...args, "app.mjs", name, `${name}/rules`, `${name}/testing`], { cwd: consumer })
    // A program that does not end by itself fails, too.
    run(command, [...args, "doors.mjs"], { cwd: consumer, timeout: 300_000 })
  }
}

/** A fresh installation, with no peer and with all of them, says nothing that a user would have to look into. */
const checkInstall = (tarball) => {
  const versions = { ...devDependencies, ...peerDependencies }
  const all = Object.keys(peerDependencies).map((peer) => `${peer}@${versions[peer]}`)
  for (const [i, peers] of [[`effect@${versions.effect}`], all].entries()) {
    const fresh = join(folder, `fresh-${i}`)
    mkdirSync(fresh)
    writeFileSync(join(fresh, "package.json"), JSON.stringify({ name: "fresh", private: true }))
    const args = ["install", "--ignore-scripts", "--no-audit", "--no-fund", tarball, ...peers]
    const { status, stderr } = spawnSync("npm", args, { cwd: fresh, encoding: "utf8" })
    if (status !== 0 || /peer|ERESOLVE/i.test(stderr)) throw new Error(`npm install ${peers.join(" ")}: ${stderr}`)
  }
}

try {
  const packed = pack()
  const { filename, files, size, tarball, unpackedSize } = packed
  checkFiles(packed)
  process.stdout.write(run(join("node_modules", ".bin", "publint"), [tarball, "--strict"]))
  // ESM only: Node 20.19 and later can require it.
  process.stdout.write(run(join("node_modules", ".bin", "attw"), [tarball, "--profile", "esm-only"]))
  const consumer = makeConsumer(tarball)
  checkRuntimes(consumer)
  checkResolution(consumer)
  checkTemplates(consumer)
  checkDeclarations(consumer)
  if (process.argv.includes("--install")) checkInstall(tarball)
  const [packedSize, onDisk] = [size, unpackedSize].map((bytes) => `${(bytes / 1_000_000).toFixed(2)} MB`)
  console.log(`${filename}: ${files.length} files, ${packedSize} packed, ${onDisk} on disk`)
} catch (error) {
  console.error(error.stdout || error.message)
  process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
