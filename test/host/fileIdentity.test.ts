import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "vitest"
import { isSameFile } from "../../src/host/fileIdentity.js"

const sources = fs
  .readdirSync("src", { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => path.join("src", file))

describe("the identity of files", () => {
  it("is exact where inode numbers are larger than a double can tell apart", () => {
    const [a, b] = [2n ** 63n + 1n, 2n ** 63n + 2n]
    assert.strictEqual(Number(a), Number(b))
    assert.isFalse(isSameFile({ dev: 1n, ino: a }, { dev: 1n, ino: b }))
    assert.isFalse(isSameFile({ dev: a, ino: 1n }, { dev: b, ino: 1n }))
    assert.isTrue(isSameFile({ dev: a, ino: b }, { dev: a, ino: b }))
  })

  it("is read in two modules only, which take nothing but exact numbers", () => {
    const reading = sources.filter((file) => /\.(ino|dev)\b/.test(fs.readFileSync(file, "utf8")))
    assert.deepStrictEqual(reading.sort(), ["src/files/internal/system/stats.ts", "src/host/fileIdentity.ts"])
  })
})
