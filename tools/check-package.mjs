// Packs the package as it would be published and holds it against publint and
// "are the types wrong". Needs a build.
import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"

const folder = mkdtempSync(join(tmpdir(), "effect-recovery-pack-"))
const run = (command, args) => execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] })

/** What users compile against, without skipping a line of it: what is stripped must not be named elsewhere. */
const checkDeclarations = (tarball) => {
  run("tar", ["-xzf", tarball, "-C", folder])
  const root = join(folder, "package")
  symlinkSync(resolve("node_modules"), join(root, "node_modules"))
  const options = ["--noEmit", "--strict", "--skipLibCheck", "false", "--target", "es2022", "--module", "nodenext"]
  const types = ["--types", "node", "--exactOptionalPropertyTypes"]
  const { exports } = JSON.parse(readFileSync("package.json", "utf8"))
  const files = Object.values(exports).flatMap(({ types }) => (types === undefined ? [] : [join(root, types)]))
  run("node", [join("node_modules", "typescript", "bin", "tsc"), ...options, ...types, ...files])
}

try {
  const pack = ["pack", "--json", "--ignore-scripts", "--loglevel", "error", "--pack-destination", folder]
  const [{ filename, files, size }] = JSON.parse(run("npm", pack))
  const tarball = join(folder, filename)
  const leaked = files.filter(({ path }) => /^(test|bench|tools|examples)\//.test(path))
  if (leaked.length > 0) throw new Error(`the package holds ${leaked.map(({ path }) => path).join(", ")}`)
  const notices = "dist/THIRD-PARTY-NOTICES.txt"
  if (!files.some(({ path }) => path === notices)) throw new Error(`the package lacks ${notices}`)
  process.stdout.write(run(join("node_modules", ".bin", "publint"), [tarball, "--strict"]))
  // ESM only: Node 20.19 and later can require it.
  process.stdout.write(run(join("node_modules", ".bin", "attw"), [tarball, "--profile", "esm-only"]))
  checkDeclarations(tarball)
  console.log(`${filename}: ${files.length} files, ${(size / 1024).toFixed(0)} kB`)
} catch (error) {
  console.error(error.stdout ?? error.message)
  process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
